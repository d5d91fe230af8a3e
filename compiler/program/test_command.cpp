#include "compiler/program/commands.h"
#include "compiler/program/model.h"
#include "compiler/program/terminal.h"
#include "runtime/ascii_image.h"
#include "runtime/evaluate.h"
#include "runtime/image.h"
#include "runtime/progress.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr int64_t picture_columns = 28;

// One image of the set as a gray picture.
Tensor picture_of(const Examples& examples, int64_t which)
{
  const Tensor picture = examples.picture(which);
  const int64_t channels = picture.dims[0], pixels = picture.dims[1] * picture.dims[2];
  Tensor gray(DType::u8, {1, picture.dims[1], picture.dims[2]});
  for (int64_t i = 0; i < pixels; ++i) {
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c)
      sum += picture.get(c * pixels + i);
    gray.set(i, sum / static_cast<double>(channels));
  }
  return gray;
}

void show(const Dataset& dataset, const Evaluation& evaluation, int64_t count)
{
  std::vector<Picture> pictures;
  for (int64_t i = 0; i < std::min<int64_t>(count, static_cast<int64_t>(evaluation.predictions.size())); ++i) {
    const int64_t said = evaluation.predictions[static_cast<size_t>(i)],
                  is = dataset.test.labels[static_cast<size_t>(i)];
    pictures.push_back({picture_of(dataset.test, i),
                        {dataset.class_name(said), said == is ? "right" : "no: " + dataset.class_name(is)}});
  }
  const int columns = terminal_columns();
  print(picture_rows(pictures, picture_columns, columns > 0 ? columns : 120, is_utf8_locale()));
}

// What the same network says that multiplies f32.
std::string beside_f32(ModelOptions options, const Dataset& dataset, const Evaluation& narrow, int64_t batch,
                       int64_t limit)
{
  options.compile.low_precision.reset();
  options.compile.calibration.clear();
  const OpenModel open = open_model(options, false);
  const Block parameters = parameters_of(open, options);
  const ModelThreads threads(open.model(), options.threads);
  const Evaluation wide = evaluate(open.model(), parameters.data(), dataset.test,
                                   scaling_of(picture_format(open).preprocessing), threads, batch, limit);
  int64_t same = 0;
  for (size_t i = 0; i < std::min(wide.predictions.size(), narrow.predictions.size()); ++i)
    same += wide.predictions[i] == narrow.predictions[i];
  return fmt::format("f32: {} right: {:.2f} %; the same answer for {}\n", with_commas(wide.correct),
                     100 * wide.accuracy(), with_commas(same));
}

} // namespace

int test_command(const Arguments& arguments)
{
  Parser parser("cnnc test NETWORK --weights w.safetensors",
                "How many of the test set's images the network gets right.",
                {"cnnc test lenet5.yaml --weights lenet5.safetensors",
                 "cnnc test lenet5.so --show 6             # pictures, and what it says about them",
                 "cnnc test lenet5.yaml --weights lenet5.safetensors --precision bf16    # beside f32"});
  ModelOptions options;
  std::string data;
  int64_t batch = 256, limit = 0, pictures = 0;
  add_model_options(parser, options);
  parser.app.add_option("--data", data, "a known data set or a folder, instead of the file's")->type_name("NAME");
  parser.app.add_option("--batch", batch, "images at a time (256)")->check(CLI::Range(1, 1 << 20));
  parser.app.add_option("--limit", limit, "only the first so many images")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  parser.app.add_option("--show", pictures, "show the first so many images")->check(CLI::Range(0, 1000));
  parser.parse(arguments);

  const OpenModel open = open_model(options, false);
  const std::string source = data.empty() ? open.config.data : data;
  if (source.empty())
    throw Error(open.config.data_location, "which data set? `data:` in the file's `train:`, or --data");
  const Dataset dataset = load_dataset(source, picture_format(open));
  const Block parameters = parameters_of(open, options);
  const ModelThreads threads(open.model(), options.threads);
  const Evaluation evaluation = evaluate(open.model(), parameters.data(), dataset.test,
                                         scaling_of(picture_format(open).preprocessing), threads, batch, limit);
  if (!evaluation.has_classes) {
    print(fmt::format("{}: outputs are {:.5g} from the labels, on average\n", dataset.name, evaluation.deviation));
    return 0;
  }
  if (pictures > 0 && dataset.test.labels.empty())
    throw Error({}, "--show is for pictures of one class each", {}, 2);
  if (pictures > 0)
    show(dataset, evaluation, pictures);
  print(fmt::format("{}: {} of {} right: {:.2f} %\n", dataset.name, with_commas(evaluation.correct),
                    with_commas(static_cast<int64_t>(evaluation.predictions.size())), 100 * evaluation.accuracy()));
  if (options.compile.low_precision)
    print(beside_f32(options, dataset, evaluation, batch, limit));
  return 0;
}

} // namespace cnnc
