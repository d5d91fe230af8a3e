#include "runtime/dataset.h"

#include "ir/location.h"
#include "ir/random.h"
#include "runtime/dataset_folders.h"
#include "runtime/files.h"
#include "runtime/idx.h"
#include "runtime/image.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

struct Known {
  std::string name;
  std::string package; // that brings it, or ""
  std::vector<std::string> class_names;
};

const std::vector<Known>& known_datasets()
{
  static const std::vector<Known> list = {
      {"fashion-mnist",
       "dataset-fashion-mnist",
       {"T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"}},
      {"mnist", "", {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}},
  };
  return list;
}

std::vector<std::string> places_of(const std::string& name)
{
  std::vector<std::string> places;
  if (const char* data = std::getenv("CNNC_DATA"); data && *data)
    places.push_back((fs::path(data) / name).string());
  places.push_back("/usr/share/datasets/" + name);
  return places;
}

std::string find_directory(const Known& known)
{
  std::vector<std::string> places = places_of(known.name);
  std::error_code ignored;
  for (const std::string& place : places)
    if (fs::is_directory(place, ignored))
      return place;
  std::string text = fmt::format("the data set '{}' is not here (looked in {})", known.name, fmt::join(places, ", "));
  text += known.package.empty()
              ? "; give the directory that holds its four idx files, or set CNNC_DATA to the one above"
              : "; install the package " + known.package;
  throw Error({}, text, {}, 3);
}

// "train-images-idx3-ubyte" or the like: the plain file before the .gz, the exact name before others that begin and end
// so ("t10k-first3000-images-idx3-ubyte.gz").
std::string find_file(const std::string& directory, const std::vector<std::string>& beginnings,
                      const std::string& content)
{
  std::error_code error;
  std::vector<std::string> similar;
  for (const std::string& beginning : beginnings)
    for (const std::string& ending : {"-" + content + "-ubyte", "-" + content + "-ubyte.gz"}) {
      std::string exact = directory + "/" + beginning + ending;
      if (fs::is_regular_file(exact, error))
        return exact;
    }
  auto entries = fs::directory_iterator(directory, error);
  if (error)
    throw cannot("read", directory, error.value());
  for (const fs::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    for (const std::string& beginning : beginnings)
      if (name.starts_with(beginning + "-") &&
          (name.ends_with("-" + content + "-ubyte") || name.ends_with("-" + content + "-ubyte.gz")))
        similar.push_back(entry.path().string());
  }
  std::sort(similar.begin(), similar.end());
  if (similar.size() == 1)
    return similar[0];
  if (similar.empty())
    throw Error({},
                fmt::format("{}: no file {}-{}-ubyte or {}-{}-ubyte.gz", directory, beginnings[0], content,
                            beginnings[0], content),
                {}, 3);
  throw Error({}, fmt::format("{}: which file is meant, {}?", directory, fmt::join(similar, " or ")));
}

Examples read_examples(const std::string& directory, const std::vector<std::string>& beginnings)
{
  std::string images_path = find_file(directory, beginnings, "images-idx3");
  std::string labels_path = find_file(directory, beginnings, "labels-idx1");
  Examples examples;
  examples.images = read_idx(images_path, 3);
  Tensor labels = read_idx(labels_path, 1);
  std::vector<int64_t>& dims = examples.images.dims;
  if (labels.dims[0] != dims[0])
    throw bad_file(labels_path,
                   fmt::format("has {} labels for the {} images in {}", labels.dims[0], dims[0], images_path));
  if (examples.images.size() == 0)
    throw bad_file(images_path, "holds no pixels");
  dims.insert(dims.begin() + 1, 1);
  const auto* values = labels.data<uint8_t>();
  examples.labels.assign(values, values + labels.size());
  return examples;
}

} // namespace

std::string Dataset::class_name(int64_t label) const
{
  auto i = static_cast<size_t>(label);
  return i < class_names.size() ? class_names[i] : std::to_string(label);
}

std::vector<std::string> known_class_names(const std::string& name)
{
  for (const Known& known : known_datasets())
    if (known.name == name)
      return known.class_names;
  return {};
}

int64_t Examples::count() const
{
  return targets.dims.empty() ? static_cast<int64_t>(labels.size()) : targets.dims[0];
}

std::vector<int64_t> Examples::dims() const
{
  if (!files.empty() || images.dims.empty())
    return picture_dims;
  return {images.dims.begin() + 1, images.dims.end()};
}

int64_t Examples::label_size() const
{
  return targets.dims.empty() ? 1 : targets.size() / std::max<int64_t>(1, targets.dims[0]);
}

void Examples::read_label(int64_t which, void* out) const
{
  if (targets.dims.empty()) {
    std::memcpy(out, &labels[static_cast<size_t>(which)], sizeof(int32_t));
    return;
  }
  const int64_t bytes = label_size() * bytes_of(targets.dtype);
  std::memcpy(out, targets.bytes.data() + which * bytes, static_cast<size_t>(bytes));
}

Tensor Examples::picture(int64_t which) const
{
  if (!files.empty())
    return fit_picture(
        read_image(files[static_cast<size_t>(which)], picture_dims[0] == 1 ? Channels::gray : Channels::rgb),
        preprocessing, picture_dims);
  if (images.dtype != DType::u8 || images.dims.size() != 4)
    throw InternalError("Examples::picture: these are no pictures");
  Tensor result(DType::u8, dims());
  std::memcpy(result.bytes.data(), images.bytes.data() + which * result.size(), result.bytes.size());
  return result;
}

Dataset load_dataset(const std::string& name, const PictureFormat& format)
{
  Dataset dataset;
  dataset.name = name;
  std::string directory = name;
  std::error_code ignored;
  const Known* known = nullptr;
  for (const Known& k : known_datasets())
    if (k.name == name)
      known = &k;
  if (known) {
    directory = find_directory(*known);
  } else if (!fs::is_directory(name, ignored)) {
    std::vector<std::string> names;
    for (const Known& k : known_datasets())
      names.push_back(k.name);
    std::string near = nearest(name, names);
    throw Error({},
                fmt::format("'{}' is neither a directory nor a data set{}", name,
                            near.empty() ? fmt::format(" (known are {})", fmt::join(names, ", "))
                                         : fmt::format("; is '{}' meant?", near)),
                {}, name.find('/') == std::string::npos ? 1 : 3);
  }
  if (!known && holds_arrays(directory))
    return load_arrays(directory);
  if (!known && holds_class_folders(directory))
    return load_class_folders(directory, format);
  dataset.train = read_examples(directory, {"train"});
  dataset.test = read_examples(directory, {"t10k", "test"});
  if (!std::equal(dataset.train.images.dims.begin() + 1, dataset.train.images.dims.end(),
                  dataset.test.images.dims.begin() + 1))
    throw Error({}, fmt::format("{}: training images are {} x {}, test images {} x {}", directory,
                                dataset.train.images.dims[2], dataset.train.images.dims[3], dataset.test.images.dims[2],
                                dataset.test.images.dims[3]));
  if (known) {
    dataset.class_names = known->class_names;
    dataset.classes = static_cast<int64_t>(known->class_names.size());
  } else {
    dataset.classes = 1 + *std::max_element(dataset.train.labels.begin(), dataset.train.labels.end());
  }
  check_labels(dataset.train, dataset.classes, directory + ", training");
  check_labels(dataset.test, dataset.classes, directory + ", test");
  return dataset;
}

void check_labels(const Examples& examples, int64_t classes, const std::string& name)
{
  if (!examples.has_classes())
    return;
  const int64_t each = std::max<int64_t>(1, examples.label_size());
  const auto* targets = examples.targets.dims.empty() ? nullptr : examples.targets.data<int32_t>();
  for (int64_t i = 0; targets && i < examples.targets.size(); ++i)
    if (targets[i] < 0 || targets[i] >= classes)
      throw Error({}, fmt::format("{}: image {} has the label {}, there are {} classes (0 to {})", name, i / each,
                                  targets[i], classes, classes - 1));
  for (size_t i = 0; i < examples.labels.size(); ++i)
    if (examples.labels[i] < 0 || examples.labels[i] >= classes)
      throw Error({}, fmt::format("{}: image {} has the label {}, there are {} classes (0 to {})", name, i,
                                  examples.labels[i], classes, classes - 1));
}

Scaling scaling_of(const Preprocessing& preprocessing)
{
  Scaling scaling;
  scaling.mean.clear();
  scaling.deviation.clear();
  const double unit = 255 * preprocessing.scale;
  for (const double mean : preprocessing.mean)
    scaling.mean.push_back(mean / unit);
  for (const double deviation : preprocessing.std)
    scaling.deviation.push_back(deviation / unit);
  return scaling;
}

Scaling measure(const Examples& examples)
{
  const std::vector<int64_t>& dims = examples.images.dims;
  int64_t channels = dims[1], plane = dims[2] * dims[3];
  Scaling scaling;
  scaling.mean.assign(static_cast<size_t>(channels), 0);
  scaling.deviation.assign(static_cast<size_t>(channels), 1);
  for (int64_t c = 0; c < channels; ++c) {
    // Sums of integers: exact, whatever the order.
    uint64_t sum = 0, squares = 0, count = static_cast<uint64_t>(dims[0] * plane);
    for (int64_t n = 0; n < dims[0]; ++n) {
      const uint8_t* in = examples.images.data<uint8_t>() + (n * channels + c) * plane;
      for (int64_t i = 0; i < plane; ++i) {
        sum += in[i];
        squares += static_cast<uint64_t>(in[i]) * in[i];
      }
    }
    if (count == 0)
      continue;
    double mean = static_cast<double>(sum) / static_cast<double>(count);
    double variance = static_cast<double>(squares) / static_cast<double>(count) - mean * mean;
    scaling.mean[static_cast<size_t>(c)] = mean / 255;
    scaling.deviation[static_cast<size_t>(c)] = variance > 0 ? std::sqrt(variance) / 255 : 1;
  }
  return scaling;
}

ImageReader::ImageReader(const Examples& examples, const Scaling& scaling, Augmentation augmentation)
    : examples_(examples),
      augmentation_(augmentation)
{
  const std::vector<int64_t> dims = examples.dims();
  size_ = 1;
  for (const int64_t dim : dims)
    size_ *= dim;
  const bool changes = augmentation.flip || augmentation.shift != 0;
  if (examples.files.empty() && examples.images.dtype == DType::f32) {
    if (changes)
      throw Error({}, "arrays of floats are read as they are: they cannot be flipped or shifted");
    return;
  }
  if (dims.size() != 3 || (examples.files.empty() && examples.images.dtype != DType::u8) ||
      (examples.files.empty() && examples.images.dims[0] != examples.count()))
    throw InternalError("ImageReader: u8 [N,C,H,W] is wanted");
  channels_ = dims[0], height_ = dims[1], width_ = dims[2];
  auto of_channel = [&](const std::vector<double>& values, int64_t c, const char* what) {
    if (values.size() != 1 && values.size() != static_cast<size_t>(channels_))
      throw Error({}, fmt::format("{} {} values for images of {} channels", values.size(), what, channels_));
    return values.size() == 1 ? values[0] : values[static_cast<size_t>(c)];
  };
  for (int64_t c = 0; c < channels_; ++c) {
    double mean = of_channel(scaling.mean, c, "mean"), deviation = of_channel(scaling.deviation, c, "deviation");
    // A scale below 0 makes both change their sign.
    if (!std::isfinite(mean) || !std::isfinite(deviation) || deviation == 0)
      throw Error({}, fmt::format("cannot scale by the mean {} and the deviation {}", mean, deviation));
    for (int value = 0; value < 256; ++value)
      tables_.push_back(static_cast<float>((value / 255.0 - mean) / deviation));
  }
  if (augmentation.shift < 0 || augmentation.shift >= std::min(height_, width_))
    throw Error(
        {}, fmt::format("a shift of {} pixels does not fit images of {} x {}", augmentation.shift, height_, width_));
}

void ImageReader::read(int64_t which, uint64_t key, float* out) const
{
  if (tables_.empty()) {
    std::copy_n(examples_.images.data<float>() + which * size_, size_, out);
    return;
  }
  Tensor decoded;
  const uint8_t* in = nullptr;
  if (examples_.files.empty()) {
    in = examples_.images.data<uint8_t>() + which * size_;
  } else {
    decoded = examples_.picture(which);
    in = decoded.data<uint8_t>();
  }
  if (!augmentation_.flip && augmentation_.shift == 0) {
    for (int64_t c = 0; c < channels_; ++c) {
      const float* table = tables_.data() + c * 256;
      for (int64_t i = 0; i < height_ * width_; ++i)
        *out++ = table[*in++];
    }
    return;
  }
  auto counter = static_cast<uint64_t>(which) * 3;
  bool flip = augmentation_.flip && (random_bits(key, counter) & 1u);
  auto span = static_cast<uint64_t>(2 * augmentation_.shift + 1);
  auto offset = [&](uint64_t i) {
    return static_cast<int64_t>((random_bits(key, counter + i) * span) >> 32) - augmentation_.shift;
  };
  int64_t down = offset(1), right = offset(2);
  for (int64_t c = 0; c < channels_; ++c) {
    const float* table = tables_.data() + c * 256;
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t x = 0; x < width_; ++x) {
        int64_t from_y = y - down, from_x = (flip ? width_ - 1 - x : x) - right;
        bool outside = from_y < 0 || from_y >= height_ || from_x < 0 || from_x >= width_;
        *out++ = table[outside ? 0 : in[(c * height_ + from_y) * width_ + from_x]];
      }
  }
}

} // namespace cnnc
