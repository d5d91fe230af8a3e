// .safetensors: named tensors in one file (https://github.com/huggingface/safetensors, README "Format").
//
//   8 bytes   length of the header, little-endian
//   header    {"conv1.weight": {"dtype": "F32", "shape": [6,1,5,5], "data_offsets": [0, 600]}, "__metadata__": {...}}
//   data      the tensors, row-major, little-endian; every byte belongs to exactly one of them
#pragma once

#include "ir/tensor.h"
#include "runtime/files.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cnnc {

using Metadata = std::map<std::string, std::string>;

// The header is read and checked at once, tensors when they are asked for. Everything throws Error.
class SafetensorsFile {
public:
  struct Entry {
    std::string name;
    std::string stored_as;      // "F16"
    std::optional<DType> dtype; // as read() returns it; nothing: a type that cannot be read (U16, F8_E4M3, ...)
    std::vector<int64_t> dims;
    int64_t begin = 0, end = 0; // bytes in the data
  };

  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<Entry>& entries() const { return entries_; } // in the order of the data
  const Metadata& metadata() const { return metadata_; }
  const Entry* find(std::string_view name) const; // nullptr where there is none
  // F16 becomes f32, all else stays as it is.
  Tensor read(const Entry&) const;

private:
  InputFile file_;
  int64_t data_ = 0; // where the data starts
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> numbers_;
  Metadata metadata_;
};

// All tensors of a file.
std::map<std::string, Tensor> read_safetensors(const std::string& path);

// Names must differ. Tensors with wide elements come first, so that each is aligned. Throws Error (exit code 3: cannot
// write; 1: a name is not UTF-8).
void write_safetensors(const std::string& path, const std::vector<std::pair<std::string, const Tensor*>>& tensors,
                       const Metadata& metadata = {});

} // namespace cnnc
