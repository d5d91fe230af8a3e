// What lower precision changes on real pictures:
//
//   accuracy NET --calibrate FOLDER PICTURE... [--crops 200] [--weights FILE]
//
//   squeezenet  f32   506 of 720 crops are what their picture is: 70.28 %; same as f32: 100.00 %, outputs differ by 0
//   squeezenet  bf16  504 of 720 crops are what their picture is: 70.00 %; same as f32: 97.50 %, outputs differ by 0.04
//
// What a picture is, f32 says of all of it. The crops are others than those that int8 has its ranges from.
#include "compiler/compile.h"
#include "compiler/program/calibrate.h"
#include "compiler/program/random_crop.h"
#include "runtime/image.h"
#include "runtime/model.h"
#include "runtime/weights.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace cnnc;

namespace {

class Classifier {
public:
  Classifier(const Network& network, const CompileOptions& options, const std::string& weights)
      : compiled(compile(network, options)),
        loaded(load(compiled)),
        parameters(first_parameters(*loaded.model, 1)),
        workspace(workspace_of(*loaded.model, 1, 1, CNN_FORWARD)),
        scores(DType::f32, dims_of(loaded.model->outputs[0], 1))
  {
    if (!weights.empty())
      load_weights(*loaded.model, parameters.data(), weights);
  }

  const cnn_model& model() const { return *loaded.model; }

  // The outputs for one picture, until the next.
  const Tensor& operator()(const Tensor& image)
  {
    const void* in = image.bytes.data();
    void* out = scores.bytes.data();
    check(model(), model().forward(parameters.data(), 1, &in, &out, workspace.data(), nullptr), "run forward");
    return scores;
  }

private:
  Compiled compiled;
  LoadedModel loaded;
  Block parameters, workspace;
  Tensor scores;
};

int64_t best(const Tensor& scores)
{
  const float* begin = scores.data<float>();
  return std::max_element(begin, begin + scores.size()) - begin;
}

struct Sample {
  Tensor image;
  int64_t truth;
};

std::vector<Sample> samples_of(Classifier& f32, const Preprocessing& how, const std::vector<std::string>& pictures,
                               int crops)
{
  std::vector<int64_t> dims = dims_of(f32.model().inputs[0], 1);
  dims.erase(dims.begin());
  std::vector<Sample> samples;
  std::mt19937 random(1);
  for (const std::string& path : pictures) {
    const Tensor picture = read_image(path, Channels::rgb);
    const int64_t truth = best(f32(preprocess(picture, how, dims)));
    for (int i = 0; i < crops; ++i)
      samples.push_back({preprocess(random_crop(picture, random), how, dims), truth});
  }
  return samples;
}

double percent(size_t part, size_t of)
{
  return 100 * static_cast<double>(part) / static_cast<double>(of);
}

void measure(const Network& network, const std::string& weights, const std::vector<std::string>& calibration,
             const std::vector<std::string>& pictures, int crops)
{
  Classifier f32(network, {}, weights);
  const auto stated = network.preprocessing.find(f32.model().inputs[0].name);
  std::vector<int64_t> dims = dims_of(f32.model().inputs[0], 1);
  dims.erase(dims.begin());
  const std::vector<Sample> samples = samples_of(
      f32, stated == network.preprocessing.end() ? default_preprocessing(dims) : stated->second, pictures, crops);
  std::vector<Tensor> reference;
  for (const char* precision : {"f32", "bf16", "int8"}) {
    CompileOptions options;
    if (precision != std::string_view("f32")) {
      options.low_precision = LowPrecision{.type = precision[0] == 'b' ? DType::bf16 : DType::i8};
      options.calibration = calibration;
      calibrate(network, options, weights, 1);
    }
    Classifier classify(network, options, weights);
    size_t right = 0, same = 0;
    double square = 0, square_of_difference = 0;
    for (size_t i = 0; i < samples.size(); ++i) {
      const Tensor& found = classify(samples[i].image);
      if (reference.size() <= i)
        reference.push_back(found);
      right += best(found) == samples[i].truth;
      same += best(found) == best(reference[i]);
      for (int64_t k = 0; k < found.size(); ++k) {
        const double expected = reference[i].get(k), difference = found.get(k) - expected;
        square += expected * expected;
        square_of_difference += difference * difference;
      }
    }
    fmt::print("{}  {:4}  {:5} of {} crops are what their picture is: {:.2f} %; same as f32: {:.2f} %, "
               "outputs differ by {:.3f} (L2, relative)\n",
               network.name, precision, right, samples.size(), percent(right, samples.size()),
               percent(same, samples.size()), std::sqrt(square_of_difference / square));
    std::fflush(stdout);
  }
}

} // namespace

int main(int argc, char** argv)
{
  CLI::App app("What lower precision changes on real pictures: top-1 of random crops, f32, bf16 and int8.");
  std::string path, weights;
  std::vector<std::string> calibration, pictures;
  int crops = 200;
  app.add_option("network", path, "a .yaml or .onnx file that classifies pictures")->required();
  app.add_option("pictures", pictures, "files")->required();
  app.add_option("--calibrate", calibration,
                 "pictures from which int8 takes its ranges: files or a folder (those above)");
  app.add_option("--weights", weights, "parameters, where they are not in the network's file");
  app.add_option("--crops", crops, "of each picture")->check(CLI::Range(1, 100000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    const Network network = read_network(path);
    measure(network, weights, calibration.empty() ? pictures : calibration, pictures, crops);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
