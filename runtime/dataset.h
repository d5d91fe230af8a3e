// Labelled examples: idx files, folders of pictures, or arrays; brought to the numbers that a network reads.
//
//   folder/train-images-idx3-ubyte ...        MNIST's four files                     pixels, one class an image
//   folder/train/cat/1.jpg ...                a folder a class, and folder/test      pictures, read when their turn
//   comes folder/train-inputs.npy, train-labels.npy, test-inputs.npy, test-labels.npy      any shapes: signals,
//   volumes; labels
//                                             are classes (of each image, or of each of its places) or numbers
#pragma once

#include "runtime/preprocessing.h"

#include <span>
#include <string>
#include <vector>

namespace cnnc {

struct Examples {
  Tensor images; // u8 [N,C,H,W], or f32 [N,...] that are read as they are
  // In place of images: pictures, each brought to picture_dims [C,H,W] when it is read.
  std::vector<std::string> files;
  std::vector<int64_t> picture_dims;
  Preprocessing preprocessing;
  std::vector<int32_t> labels; // N of them, each in [0, classes); or
  Tensor targets;              // i32 (classes) or f32 [N,...]

  int64_t count() const;
  std::vector<int64_t> dims() const; // of one image
  bool has_classes() const { return targets.dims.empty() || targets.dtype == DType::i32; }
  // Of one image: i32 or f32; one class, or so many numbers.
  DType label_type() const { return targets.dims.empty() ? DType::i32 : targets.dtype; }
  int64_t label_size() const;
  void read_label(int64_t which, void* out) const;
  // Image `which` as u8 [C,H,W]; throws Error. Only for pixels and pictures.
  Tensor picture(int64_t which) const;
};

struct Dataset {
  std::string name;
  Examples train, test;
  int64_t classes = 0;
  std::vector<std::string> class_names; // `classes` of them, or none

  // "ankle boot", or "9" where classes have no names.
  std::string class_name(int64_t label) const;
};

// What a network reads, so that pictures of any size can be brought to it.
struct PictureFormat {
  std::vector<int64_t> dims = {}; // [C,H,W]; empty: folders of pictures are refused
  Preprocessing preprocessing = {};
};

// One of the folders above, or a name, which is a folder under $CNNC_DATA or /usr/share/datasets. Throws Error: unknown
// name (the nearest is proposed), missing or damaged files, counts that differ, labels that are no class.
Dataset load_dataset(const std::string& name_or_directory, const PictureFormat& = {});

// Of a data set that is known by name, without reading it; else none.
std::vector<std::string> known_class_names(const std::string& name);

// Every label must be below `classes`, the number that the network tells apart; throws Error that names the image.
void check_labels(const Examples&, int64_t classes, const std::string& name);

// pixel => (pixel / 255 - mean) / deviation, for each channel (one entry: for all of them).
struct Scaling {
  std::vector<double> mean = {0};
  std::vector<double> deviation = {1};

  friend bool operator==(const Scaling&, const Scaling&) = default;
};
// (pixel * scale - mean) / std, in these terms.
Scaling scaling_of(const Preprocessing&);
// The mean and the standard deviation of each channel.
Scaling measure(const Examples&);

// Changed copies of a picture, against learning by heart. Off: both 0.
struct Augmentation {
  bool flip = false; // left and right, every second time
  int shift = 0;     // by up to so many pixels each way; what comes in from outside is 0
};

// Fills batches. Image `which` becomes floats at `out`; how it is changed depends on `key` and `which` alone. Arrays of
// floats are copied. Throws Error where a picture cannot be read.
class ImageReader {
public:
  ImageReader(const Examples&, const Scaling&, Augmentation = {});
  int64_t size() const { return size_; } // floats an image
  void read(int64_t which, uint64_t key, float* out) const;

private:
  const Examples& examples_;
  int64_t channels_ = 0, height_ = 0, width_ = 0, size_ = 0;
  Augmentation augmentation_;
  std::vector<float> tables_; // 256 for each channel; none for floats
};

} // namespace cnnc
