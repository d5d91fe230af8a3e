#include "compiler/program/run_output.h"
#include "ir/location.h"
#include "runtime/files.h"
#include "runtime/image.h"
#include "runtime/npy.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <numeric>

namespace cnnc {

namespace {

constexpr int64_t printed_numbers = 256, printed_images = 100;
constexpr int64_t json_numbers = 100000;
constexpr int64_t labels_limit = 16 << 20;

std::string shape_text(const std::vector<int64_t>& dims)
{
  return fmt::format("[{}]", fmt::join(dims, ","));
}

Tensor to_picture(const std::string& path, const Tensor& output)
{
  std::vector<int64_t> dims = output.dims;
  if (dims.size() == 3)
    dims.insert(dims.begin() + 1, 1);
  if (dims.size() != 4 || dims[0] != 1)
    throw Error({}, fmt::format("{}: an output of shape {} is no picture: a .npy file can hold it", path,
                                shape_text(output.dims)));
  const int64_t channels = dims[1], height = dims[2], width = dims[3];
  double low = 0, high = 1;
  for (int64_t i = 0; i < output.size(); ++i)
    if (std::isfinite(output.get(i))) {
      low = std::min(low, output.get(i));
      high = std::max(high, output.get(i));
    }
  const auto pixel = [&](int64_t i) {
    const double value = output.get(i);
    return std::isfinite(value) ? std::round((value - low) / (high - low) * 255) : 0;
  };
  if (channels == 3) {
    Tensor picture(DType::u8, {3, height, width});
    for (int64_t i = 0; i < picture.size(); ++i)
      picture.set(i, pixel(i));
    return picture;
  }
  Tensor picture(DType::u8, {1, height, channels * width});
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        picture.set(y * channels * width + c * width + x, pixel((c * height + y) * width + x));
  return picture;
}

int64_t classes_in(const Tensor& output)
{
  return output.dims[1];
}

// The classes of image i, the largest number first; among equals the first class.
std::vector<int64_t> top_classes(const Tensor& output, int64_t i, int64_t top)
{
  const int64_t classes = classes_in(output);
  std::vector<int64_t> order(static_cast<size_t>(classes));
  std::iota(order.begin(), order.end(), 0);
  const int64_t shown = std::min(top, classes);
  const auto value = [&](int64_t c) {
    const double v = output.get(i * classes + c);
    return std::isnan(v) ? -std::numeric_limits<double>::infinity() : v;
  };
  std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](int64_t a, int64_t b) {
    const double x = value(a), y = value(b);
    return x != y ? x > y : a < b;
  });
  order.resize(static_cast<size_t>(shown));
  return order;
}

struct Statistics {
  double low = std::numeric_limits<double>::infinity(), high = -low, mean = 0;
};
Statistics statistics_of(const Tensor& output)
{
  Statistics result;
  for (int64_t i = 0; i < output.size(); ++i) {
    const double value = output.get(i);
    result.low = std::min(result.low, value);
    result.high = std::max(result.high, value);
    result.mean += value / static_cast<double>(output.size());
  }
  return result;
}

std::string describe_classes(const std::string& name, const Tensor& output, const ShowOptions& options)
{
  const int64_t n = output.dims[0];
  std::string text;
  for (int64_t i = 0; i < std::min(n, printed_images); ++i) {
    text += n > 1 ? fmt::format("{} {}:", name, i) : fmt::format("{}:", name);
    for (const int64_t c : top_classes(output, i, options.top)) {
      const double value = output.get(i * classes_in(output) + c);
      const std::string label =
          options.class_names.empty() ? std::to_string(c) : options.class_names[static_cast<size_t>(c)];
      // One image has room for a line a class: names may be long.
      text += n > 1 || options.class_names.empty() ? fmt::format("  {} ({:.4g})", label, value)
                                                   : fmt::format("\n  {:>10.4g}  {}", value, label);
    }
    text += "\n";
  }
  if (n > printed_images)
    text += fmt::format("... and {} more images (--output keeps all)\n", n - printed_images);
  return text;
}

} // namespace

bool has_classes(const Tensor& output)
{
  return output.dims.size() >= 2 && output.dims[1] > 1 &&
         std::all_of(output.dims.begin() + 2, output.dims.end(), [](int64_t d) { return d == 1; });
}

std::vector<std::string> read_labels(const std::string& path, const std::string& output_name, const Tensor& output)
{
  const std::string bytes = read_file(path, labels_limit);
  std::vector<std::string> names;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    std::string name = bytes.substr(at, end - at);
    if (name.ends_with('\r'))
      name.pop_back();
    // Whatever a terminal would obey is not a name.
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    names.push_back(std::move(name));
    at = end + 1;
  }
  while (!names.empty() && names.back().empty())
    names.pop_back();
  if (!has_classes(output))
    throw Error({}, fmt::format("the output '{}' is {}: that is no number for each class, labels say nothing of it",
                                output_name, shape_text(output.dims)));
  if (static_cast<int64_t>(names.size()) != classes_in(output))
    throw bad_file(path, fmt::format("has {} labels, the output '{}' has {} classes", names.size(), output_name,
                                     classes_in(output)));
  return names;
}

void write_output(const std::string& path, const Tensor& output)
{
  if (path.ends_with(".png"))
    write_png(path, to_picture(path, output));
  else
    write_npy(path, output);
}

std::string describe_output(const std::string& name, const Tensor& output, const ShowOptions& options)
{
  if (has_classes(output))
    return describe_classes(name, output, options);
  std::string text = fmt::format("{} {}", name, shape_text(output.dims));
  if (output.size() > printed_numbers) {
    const Statistics all = statistics_of(output);
    return text + fmt::format(": between {:.6g} and {:.6g}, mean {:.6g}\n", all.low, all.high, all.mean);
  }
  text += ":\n";
  const int64_t row = output.dims.empty() ? 1 : output.dims.back();
  const int64_t matrix = output.dims.size() > 1 ? row * output.dims[output.dims.size() - 2] : row;
  size_t width = 1;
  for (int64_t i = 0; i < output.size(); ++i)
    width = std::max(width, fmt::format("{:.6g}", output.get(i)).size());
  for (int64_t i = 0; i < output.size(); ++i) {
    if (i > 0 && i % matrix == 0)
      text += "\n";
    text +=
        fmt::format("{}{:>{}.6g}{}", i % row == 0 ? "  " : " ", output.get(i), width, (i + 1) % row == 0 ? "\n" : "");
  }
  return text;
}

nlohmann::ordered_json json_of_output(const std::string& name, const Tensor& output, const ShowOptions& options)
{
  const Statistics all = statistics_of(output); // what is not finite becomes null
  nlohmann::ordered_json json{{"name", name},         {"dtype", std::string(to_string(output.dtype))},
                              {"shape", output.dims}, {"min", all.low},
                              {"max", all.high},      {"mean", all.mean}};
  if (has_classes(output)) {
    nlohmann::ordered_json images = nlohmann::ordered_json::array();
    for (int64_t i = 0; i < output.dims[0]; ++i) {
      nlohmann::ordered_json classes = nlohmann::ordered_json::array();
      for (const int64_t c : top_classes(output, i, options.top)) {
        nlohmann::ordered_json entry{{"class", c}, {"value", output.get(i * classes_in(output) + c)}};
        if (!options.class_names.empty())
          entry["label"] = options.class_names[static_cast<size_t>(c)];
        classes.push_back(std::move(entry));
      }
      images.push_back(std::move(classes));
    }
    json["top"] = std::move(images);
  }
  if (output.size() <= json_numbers) {
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (int64_t i = 0; i < output.size(); ++i)
      values.push_back(output.dtype == DType::f32 ? nlohmann::ordered_json(static_cast<float>(output.get(i)))
                                                  : nlohmann::ordered_json(output.get(i)));
    json["values"] = std::move(values);
  }
  return json;
}

} // namespace cnnc
