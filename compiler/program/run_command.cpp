#include "compiler/program/commands.h"
#include "compiler/program/model.h"
#include "compiler/program/run_input.h"
#include "compiler/program/run_output.h"
#include "compiler/program/terminal.h"
#include "runtime/dataset.h"
#include "runtime/files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fmt/format.h>
#include <optional>

namespace cnnc {

namespace {

struct Flags {
  ModelOptions model;
  std::vector<std::string> inputs, outputs, images;
  std::string labels;
  int64_t top = 5, batch = 64;
  bool json = false;
  // Instead of what the file says of pictures.
  std::optional<int64_t> resize;
  std::optional<double> scale;
  std::vector<double> mean, std;
  std::string order;
};

// "104,117,123". Throws Error.
std::vector<double> numbers_of(const char* option, const std::string& text, double least)
{
  std::vector<double> numbers;
  for (size_t at = 0; !text.empty() && at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    double number = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, number);
    if (error != std::errc() || stop != text.data() + end || !(number >= least && number <= 1e9))
      throw Error({}, fmt::format("{} {}: numbers with commas between are wanted, from {}", option, text, least), {},
                  2);
    numbers.push_back(number);
    at = end + 1;
  }
  return numbers;
}

void parse(const Arguments& arguments, Flags& flags)
{
  std::string mean, deviation;
  Parser parser("cnnc run NETWORK --input FILE | --image FILE ...", "What a network says about pictures or arrays.",
                {"cnnc run squeezenet.so --image coffee.png --labels ilsvrc2012.txt --top 5",
                 "cnnc run lenet5.yaml --weights w.safetensors --input x.npy --output y.npy",
                 "cnnc run unet.so --input image=x.npy --input mask=m.npy --output mask=y.npy --output edges=z.png",
                 "cnnc run sobel.yaml --image photo.jpg --output edges.png",
                 "cnnc run lenet5.so --input x.npy --json | jq '.outputs[0].top'"});
  add_model_options(parser, flags.model);
  CLI::App& app = parser.app;
  const auto add_list = [&](const char* name, std::vector<std::string>& list, const char* text, const char* type) {
    app.add_option(name, list, text)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name(type);
  };
  add_list("--input", flags.inputs, "a .npy array, idx images or a picture; the name where there are several inputs",
           "[NAME=]FILE");
  add_list("--image", flags.images, "a picture, as the input that takes pictures; several make a batch", "FILE");
  add_list("--output", flags.outputs, ".npy, or .png for a picture; without it the answer is shown", "[NAME=]FILE");
  app.add_option("--labels", flags.labels, "names of the classes, one a line")->type_name("FILE");
  app.add_option("--top", flags.top, "how many classes to show (5)")->check(CLI::Range(1, 1000000));
  app.add_flag("--json", flags.json, "the answer as JSON");
  app.add_option("--batch", flags.batch, "images at a time (64)")->check(CLI::Range(1, 1 << 20));
  app.add_option("--seed", flags.model.seed, "of first values, where no weights are given");
  app.add_option("--resize", flags.resize, "pictures: pixels of the shorter side before the middle is cut out")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--order", flags.order, "pictures: channels as rgb, bgr or gray")
      ->check(CLI::IsMember({"rgb", "bgr", "gray"}));
  app.add_option("--scale", flags.scale, "pictures: (pixel * scale - mean) / std; these replace what the file says");
  app.add_option("--mean", mean, "pictures: one number, or one a channel")->type_name("A,B,C");
  app.add_option("--std", deviation, "pictures: likewise")->type_name("A,B,C");
  parser.parse(arguments);
  if (flags.inputs.empty() && flags.images.empty())
    throw Error({}, "which picture or array? --input FILE or --image FILE", {}, 2);
  flags.mean = numbers_of("--mean", mean, -1e9);
  flags.std = numbers_of("--std", deviation, 1e-9);
}

struct Named {
  std::string name, path; // the name may be ""
};

// "image=x.npy", "x.npy", and a file whose name has an equals sign.
Named split(const std::string& text, bool is_file)
{
  const size_t equals = text.find('=');
  if (equals == text.npos || (is_file && std::filesystem::exists(text)))
    return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<std::string> names_of(const cnn_tensor* tensors, int32_t count)
{
  std::vector<std::string> names;
  for (int32_t i = 0; i < count; ++i)
    names.push_back(tensors[i].name);
  return names;
}

size_t find_name(const std::vector<std::string>& names, const std::string& name, const char* what)
{
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end())
    throw Error({}, fmt::format("no {} '{}' ({}s: {})", what, name, what, fmt::join(names, ", ")), {}, 2);
  return static_cast<size_t>(at - names.begin());
}

bool takes_images(const cnn_tensor& input)
{
  std::vector<int64_t> dims = dims_of(input, 1);
  if (has_images(input) || dims.size() == 4)
    dims.erase(dims.begin());
  return takes_pictures(dims);
}

// Files of each input, in the network's order: one, or several pictures.
std::vector<std::vector<std::string>> files_of_inputs(const cnn_model& model, const Flags& flags)
{
  const std::vector<std::string> names = names_of(model.inputs, model.input_count);
  std::vector<std::vector<std::string>> files(names.size());
  if (!flags.images.empty()) {
    int32_t which = 0;
    while (which < model.input_count && !takes_images(model.inputs[which]))
      ++which;
    if (which == model.input_count)
      throw Error({},
                  fmt::format("{}: no input takes pictures: they have 1 or 3 channels, rows and columns", model.name));
    files[static_cast<size_t>(which)] = flags.images;
  }
  for (const std::string& text : flags.inputs) {
    const Named given = split(text, true);
    const auto free = std::find_if(files.begin(), files.end(), [](const auto& list) { return list.empty(); });
    if (given.name.empty() && free == files.end())
      throw Error({},
                  fmt::format("{} inputs are given, the network has {}",
                              flags.inputs.size() + (flags.images.empty() ? 0 : 1), names.size()),
                  {}, 2);
    auto& list = given.name.empty() ? *free : files[find_name(names, given.name, "input")];
    if (!list.empty())
      throw Error({}, fmt::format("the input '{}' is given twice", given.name), {}, 2);
    list = {given.path};
  }
  for (size_t i = 0; i < files.size(); ++i)
    if (files[i].empty())
      throw Error({}, fmt::format("the input '{}' is missing: --input {}=FILE", names[i], names[i]), {}, 2);
  return files;
}

Preprocessing preprocessing_of(const OpenModel& open, const cnn_tensor& input, const Flags& flags)
{
  std::vector<int64_t> dims = dims_of(input, 1);
  if (has_images(input) || dims.size() == 4)
    dims.erase(dims.begin());
  const auto stated = open.preprocessing.find(input.name);
  Preprocessing p = stated == open.preprocessing.end() ? default_preprocessing(dims) : stated->second;
  if (flags.resize)
    p.resize = *flags.resize;
  if (flags.scale)
    p.scale = *flags.scale;
  if (!flags.mean.empty())
    p.mean = flags.mean;
  if (!flags.std.empty())
    p.std = flags.std;
  for (const ChannelOrder order : {ChannelOrder::rgb, ChannelOrder::bgr, ChannelOrder::gray})
    if (flags.order == to_string(order))
      p.order = order;
  return p;
}

std::vector<Tensor> read_inputs(const OpenModel& open, const Flags& flags)
{
  const cnn_model& model = open.model();
  const std::vector<std::vector<std::string>> files = files_of_inputs(model, flags);
  std::vector<Tensor> inputs;
  std::string counted; // the file that told the number of images
  int64_t count = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const cnn_tensor& input = model.inputs[i];
    const Preprocessing preprocessing = preprocessing_of(open, input, flags);
    Tensor all;
    for (const std::string& file : files[i]) {
      Tensor tensor = read_input(file, input, preprocessing);
      if (all.dims.empty()) {
        all = std::move(tensor);
        continue;
      }
      if (!has_images(input))
        throw Error({}, fmt::format("the input '{}' takes one picture, {} are given", input.name, files[i].size()));
      all.dims[0] += tensor.dims[0];
      all.bytes.insert(all.bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
    }
    inputs.push_back(std::move(all));
    if (!has_images(input))
      continue;
    const int64_t here = inputs[i].dims[0] / -input.dims[0];
    if (count != 0 && here != count)
      throw Error({}, fmt::format("{} has {} images, {} has {}", counted, count, files[i][0], here));
    count = here;
    counted = files[i][0];
  }
  return inputs;
}

std::vector<Tensor> forward(const cnn_model& model, const Block& parameters, const std::vector<Tensor>& inputs,
                            int64_t at_once, const ModelThreads& threads)
{
  int64_t count = 1;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (has_images(model.inputs[i]))
      count = inputs[i].dims[0] / -model.inputs[i].dims[0];
  std::vector<Tensor> outputs;
  for (int32_t o = 0; o < model.output_count; ++o)
    outputs.emplace_back(dtype_of(model.outputs[o]), dims_of(model.outputs[o], count));
  const Block workspace = workspace_of(model, std::min(at_once, count), threads.count(), CNN_FORWARD);
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t batch = std::min(at_once, count - begin);
    std::vector<const void*> in;
    std::vector<void*> out;
    // Bytes before image `begin`.
    const auto at = [&](const cnn_tensor& tensor) {
      return has_images(tensor) ? elements_of(tensor, 1) * bytes_of(dtype_of(tensor)) * begin : 0;
    };
    for (size_t i = 0; i < inputs.size(); ++i)
      in.push_back(inputs[i].bytes.data() + at(model.inputs[i]));
    for (size_t o = 0; o < outputs.size(); ++o)
      out.push_back(outputs[o].bytes.data() + at(model.outputs[o]));
    check(model, model.forward(parameters.data(), batch, in.data(), out.data(), workspace.data(), threads.get()),
          "run forward");
  }
  return outputs;
}

// The path of each output, "" where it is not asked for.
std::vector<std::string> paths_of_outputs(const cnn_model& model, const std::vector<std::string>& given)
{
  const std::vector<std::string> names = names_of(model.outputs, model.output_count);
  std::vector<std::string> paths(names.size());
  for (const std::string& text : given) {
    Named output = split(text, false);
    // A path with an equals sign, where the name may be left out.
    if (names.size() == 1 && output.name != names[0])
      output = {"", text};
    if (output.name.empty() && names.size() > 1)
      throw Error({}, fmt::format("which output? --output NAME={} (outputs: {})", output.path, fmt::join(names, ", ")),
                  {}, 2);
    std::string& path = paths[output.name.empty() ? 0 : find_name(names, output.name, "output")];
    if (!path.empty())
      throw Error({}, fmt::format("two files are given for one output: {} and {}", path, output.path), {}, 2);
    path = output.path;
  }
  return paths;
}

void check_outputs(const std::vector<std::string>& outputs, const Flags& flags)
{
  std::vector<std::string> read{flags.model.path, flags.model.weights, flags.labels};
  for (const std::string& input : flags.inputs)
    read.push_back(split(input, true).path);
  read.insert(read.end(), flags.images.begin(), flags.images.end());
  for (const std::string& output : outputs)
    for (const std::string& input : read)
      if (!output.empty() && !input.empty() && same_file(output, input))
        throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output), {}, 2);
}

std::vector<std::string> class_names_for(const OpenModel& open, const Tensor& output, const std::string& name,
                                         const std::string& labels)
{
  if (!labels.empty())
    return read_labels(labels, name, output);
  const std::vector<std::string> known = known_class_names(open.config.data);
  return has_classes(output) && output.dims[1] == static_cast<int64_t>(known.size()) ? known
                                                                                     : std::vector<std::string>();
}

} // namespace

int run_command(const Arguments& arguments)
{
  Flags flags;
  parse(arguments, flags);
  const OpenModel open = open_model(flags.model, false);
  const cnn_model& model = open.model();
  const std::vector<std::string> paths = paths_of_outputs(model, flags.outputs);
  check_outputs(paths, flags);
  const std::vector<Tensor> inputs = read_inputs(open, flags);
  const Block parameters = parameters_of(open, flags.model);
  const ModelThreads threads(model, flags.model.threads);
  const std::vector<Tensor> outputs = forward(model, parameters, inputs, flags.batch, threads);

  nlohmann::ordered_json json{{"network", model.name}, {"outputs", nlohmann::ordered_json::array()}};
  for (size_t o = 0; o < outputs.size(); ++o) {
    const std::string name = model.outputs[o].name;
    if (!paths[o].empty())
      write_output(paths[o], outputs[o]);
    if (!flags.outputs.empty() && !flags.json)
      continue;
    // Labels are for the output that has classes; where one has none, this is no reason to refuse the others.
    const bool is_labelled = outputs.size() == 1 || has_classes(outputs[o]);
    const ShowOptions show{flags.top, class_names_for(open, outputs[o], name, is_labelled ? flags.labels : "")};
    if (flags.json)
      json["outputs"].push_back(json_of_output(name, outputs[o], show));
    else
      print(describe_output(name, outputs[o], show));
  }
  if (flags.json)
    print(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  return 0;
}

} // namespace cnnc
