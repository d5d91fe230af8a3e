#include "runtime/dataset_folders.h"

#include "ir/location.h"
#include "runtime/files.h"
#include "runtime/npy.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

constexpr size_t file_limit = 20'000'000;
constexpr size_t class_limit = 1'000'000;

std::vector<fs::path> entries_of(const fs::path& directory, bool folders)
{
  std::error_code error;
  std::vector<fs::path> paths;
  auto entries = fs::directory_iterator(directory, error);
  if (error)
    throw cannot("read", directory.string(), error.value());
  for (const fs::directory_entry& entry : entries) {
    if (entry.path().filename().string().starts_with('.') || entry.is_directory(error) != folders)
      continue;
    paths.push_back(entry.path());
    if (paths.size() > file_limit)
      throw Error({}, fmt::format("{}: more than {} files", directory.string(), file_limit));
  }
  std::sort(paths.begin(), paths.end()); // the same order everywhere
  return paths;
}

bool is_picture(const fs::path& path)
{
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".pgm" || ending == ".ppm";
}

void read_class_folders(const fs::path& directory, const std::vector<std::string>& classes, Examples& examples)
{
  for (const fs::path& folder : entries_of(directory, true)) {
    const auto found = std::lower_bound(classes.begin(), classes.end(), folder.filename().string());
    if (found == classes.end() || *found != folder.filename().string())
      throw Error({}, fmt::format("{}: there is no class of that name among the training pictures", folder.string()));
    const auto label = static_cast<int32_t>(found - classes.begin());
    for (const fs::path& file : entries_of(folder, false))
      if (is_picture(file)) {
        examples.files.push_back(file.string());
        examples.labels.push_back(label);
      }
  }
  if (examples.files.empty())
    throw Error({}, fmt::format("{}: no pictures (.png, .jpg, .pgm, .ppm) in its folders", directory.string()), {}, 3);
}

Examples read_arrays(const std::string& directory, const std::string& part)
{
  const auto path = [&](const char* what) { return fmt::format("{}/{}-{}.npy", directory, part, what); };
  Examples examples;
  examples.images = read_npy(path("inputs"));
  Tensor labels = read_npy(path("labels"));
  if (examples.images.dims.size() < 2 || examples.images.size() == 0)
    throw bad_file(path("inputs"), fmt::format("has the shape [{}]: [n, ...], an entry an example, is wanted",
                                               fmt::join(examples.images.dims, ",")));
  if (examples.images.dtype != DType::u8 || examples.images.dims.size() != 4)
    examples.images = convert(examples.images, DType::f32);
  if (labels.dims.empty() || labels.dims[0] != examples.images.dims[0] || labels.size() == 0)
    throw bad_file(path("labels"), fmt::format("has the shape [{}] for {} examples", fmt::join(labels.dims, ","),
                                               examples.images.dims[0]));
  if (is_float(labels.dtype)) {
    examples.targets = convert(labels, DType::f32);
    return examples;
  }
  for (int64_t i = 0; i < labels.size(); ++i)
    if (labels.get(i) < 0 || labels.get(i) > 0x7fffffff)
      throw bad_file(path("labels"), fmt::format("{} is no class", labels.get(i)));
  labels = convert(labels, DType::i32);
  if (labels.dims.size() > 1)
    examples.targets = std::move(labels);
  else
    examples.labels.assign(labels.data<int32_t>(), labels.data<int32_t>() + labels.size());
  return examples;
}

int32_t largest_label(const Examples& examples)
{
  int32_t largest = 0;
  for (const int32_t label : examples.labels)
    largest = std::max(largest, label);
  if (!examples.targets.dims.empty() && examples.has_classes())
    for (int64_t i = 0; i < examples.targets.size(); ++i)
      largest = std::max(largest, examples.targets.data<int32_t>()[i]);
  return largest;
}

} // namespace

bool holds_arrays(const std::string& directory)
{
  std::error_code ignored;
  return fs::is_regular_file(directory + "/train-inputs.npy", ignored);
}

Dataset load_arrays(const std::string& directory)
{
  Dataset dataset;
  dataset.name = directory;
  dataset.train = read_arrays(directory, "train");
  dataset.test = read_arrays(directory, "test");
  if (dataset.train.dims() != dataset.test.dims() || dataset.train.label_type() != dataset.test.label_type() ||
      dataset.train.label_size() != dataset.test.label_size())
    throw Error({}, fmt::format("{}: training and test examples have different shapes", directory));
  dataset.classes = int64_t{1} + largest_label(dataset.train);
  return dataset;
}

bool holds_class_folders(const std::string& directory)
{
  std::error_code ignored;
  return fs::is_directory(directory + "/train", ignored);
}

Dataset load_class_folders(const std::string& directory, const PictureFormat& format)
{
  if (!takes_pictures(format.dims))
    throw Error({}, fmt::format("{} holds pictures, and the network's input [{}] takes none", directory,
                                fmt::join(format.dims, ",")));
  Dataset dataset;
  dataset.name = directory;
  for (const fs::path& folder : entries_of(directory + "/train", true))
    dataset.class_names.push_back(folder.filename().string());
  if (dataset.class_names.empty() || dataset.class_names.size() > class_limit)
    throw Error({},
                fmt::format("{}/train has {} folders: one a class is wanted", directory, dataset.class_names.size()));
  dataset.classes = static_cast<int64_t>(dataset.class_names.size());
  std::error_code ignored;
  std::string test = directory + "/test";
  if (!fs::is_directory(test, ignored))
    test = directory + "/val";
  if (!fs::is_directory(test, ignored))
    throw Error(
        {}, fmt::format("{} has a folder train/, and neither test/ nor val/: accuracy is measured there", directory),
        {}, 3);
  read_class_folders(directory + "/train", dataset.class_names, dataset.train);
  read_class_folders(test, dataset.class_names, dataset.test);
  for (Examples* examples : {&dataset.train, &dataset.test}) {
    examples->picture_dims = format.dims;
    examples->preprocessing = format.preprocessing;
  }
  return dataset;
}

} // namespace cnnc
