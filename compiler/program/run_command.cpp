#include "compiler/program/commands.h"
#include "compiler/program/model.h"
#include "compiler/program/run_input.h"
#include "compiler/program/terminal.h"
#include "runtime/files.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

// "image=x.npy" or "x.npy", for the inputs in their order.
std::vector<Tensor> read_inputs(const cnn_model& model, const std::vector<std::string>& given)
{
  std::vector<std::string> paths(static_cast<size_t>(model.input_count));
  std::vector<std::string> names;
  for (int32_t i = 0; i < model.input_count; ++i)
    names.push_back(model.inputs[i].name);
  for (const std::string& text : given) {
    const size_t equals = text.find('=');
    auto name = names.end();
    if (equals != text.npos && !std::filesystem::exists(text)) {
      name = std::find(names.begin(), names.end(), text.substr(0, equals));
      if (name == names.end())
        throw Error({}, fmt::format("no input '{}' (inputs: {})", text.substr(0, equals), fmt::join(names, ", ")), {},
                    2);
      paths[static_cast<size_t>(name - names.begin())] = text.substr(equals + 1);
      continue;
    }
    const auto free = std::find(paths.begin(), paths.end(), "");
    if (free == paths.end())
      throw Error({}, fmt::format("{} inputs are given, the network has {}", given.size(), names.size()), {}, 2);
    *free = text;
  }
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (paths[i].empty())
      throw Error({}, fmt::format("the input '{}' is missing: --input {}=FILE", names[i], names[i]), {}, 2);
    inputs.push_back(read_input(paths[i], model.inputs[i]));
    if (has_images(model.inputs[i]) && inputs[i].dims[0] != inputs[0].dims[0])
      throw Error({},
                  fmt::format("{} has {} images, {} has {}", paths[0], inputs[0].dims[0], paths[i], inputs[i].dims[0]));
  }
  return inputs;
}

std::vector<Tensor> forward(const cnn_model& model, const Block& parameters, const std::vector<Tensor>& inputs,
                            int64_t at_once, const ModelThreads& threads)
{
  const int64_t count = has_images(model.inputs[0]) ? inputs[0].dims[0] : 1;
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
          "forward");
  }
  return outputs;
}

} // namespace

int run_command(const Arguments& arguments)
{
  Parser parser("cnnc run NETWORK --input FILE [--output FILE]", "What a network says about pictures or arrays.",
                {"cnnc run lenet5.so --input shoe.png --top 3",
                 "cnnc run lenet5.yaml --weights w.safetensors --input x.npy --output y.npy",
                 "cnnc run sobel.yaml --input photo.jpg --output edges.png"});
  ModelOptions options;
  std::vector<std::string> inputs;
  std::string output_path;
  int64_t top = 3, batch = 64;
  add_model_options(parser, options);
  CLI::App& app = parser.app;
  app.add_option("--input", inputs, "a .npy array, a picture or idx images; NAME=FILE where there are several inputs")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("FILE");
  app.add_option("--output", output_path, ".npy, or .png for a picture; without it the answer is shown")
      ->type_name("FILE");
  app.add_option("--top", top, "how many classes to show (3)")->check(CLI::Range(1, 1000000));
  app.add_option("--batch", batch, "images at a time (64)")->check(CLI::Range(1, 1 << 20));
  app.add_option("--seed", options.seed, "of first values, where no weights are given");
  parser.parse(arguments);

  for (const std::string& input : inputs)
    for (const std::string& path :
         {options.path, input.substr(input.find('=') == input.npos ? 0 : input.find('=') + 1)})
      if (!output_path.empty() && same_file(output_path, path))
        throw Error({}, fmt::format("'{}' is the input: writing there would lose it", output_path), {}, 2);
  const OpenModel open = open_model(options, false);
  const cnn_model& model = open.model();
  const std::vector<Tensor> tensors = read_inputs(model, inputs);
  const Block parameters = parameters_of(open, options);
  const ModelThreads threads(model, options.threads);
  const std::vector<Tensor> outputs = forward(model, parameters, tensors, batch, threads);
  for (size_t o = 0; o < outputs.size(); ++o) {
    const char* name = model.outputs[o].name;
    if (output_path.empty()) {
      print(describe_output(name, outputs[o], top));
      continue;
    }
    // The first output is the one that was meant; further ones stand beside it under their names.
    std::filesystem::path path = output_path;
    if (o > 0)
      path.replace_filename(fmt::format("{}.{}{}", path.stem().string(), name, path.extension().string()));
    write_output(path.string(), outputs[o]);
  }
  return 0;
}

} // namespace cnnc
