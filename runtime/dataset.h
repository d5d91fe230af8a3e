// Labelled pictures: read from idx files, and brought to the numbers that a network reads.
#pragma once

#include "ir/tensor.h"

#include <span>
#include <string>
#include <vector>

namespace cnnc {

struct Examples {
  Tensor images;               // u8 [N,C,H,W]
  std::vector<int32_t> labels; // N of them, each in [0, classes)

  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

struct Dataset {
  std::string name;
  Examples train, test;
  int64_t classes = 0;
  std::vector<std::string> class_names; // `classes` of them, or none

  // "ankle boot", or "9" where classes have no names.
  std::string class_name(int64_t label) const;
};

// A directory that holds the four idx files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each plain or
// .gz), or a name, which is a directory under $CNNC_DATA or /usr/share/datasets. Throws Error: unknown name (the
// nearest is proposed), missing or damaged files, counts that differ, labels that are no class.
Dataset load_dataset(const std::string& name_or_directory);

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
// The mean and the standard deviation of each channel.
Scaling measure(const Examples&);

// Changed copies of a picture, against learning by heart. Off: both 0.
struct Augmentation {
  bool flip = false; // left and right, every second time
  int shift = 0;     // by up to so many pixels each way; what comes in from outside is 0
};

// Fills batches. Image `which` becomes float [C,H,W] at `out`; how it is changed depends on `key` and `which` alone.
class ImageReader {
public:
  ImageReader(const Examples&, const Scaling&, Augmentation = {});
  int64_t size() const { return channels_ * height_ * width_; } // floats an image
  void read(int64_t which, uint64_t key, float* out) const;

private:
  const uint8_t* pixels_;
  int64_t channels_, height_, width_;
  Augmentation augmentation_;
  std::vector<float> tables_; // 256 for each channel
};

} // namespace cnnc
