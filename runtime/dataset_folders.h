// Data sets that are folders: of pictures, a folder a class, or of arrays (see dataset.h).
#pragma once

#include "runtime/dataset.h"

namespace cnnc {

// Has it a file train-inputs.npy?
bool holds_arrays(const std::string& directory);
// Throws Error: a file is missing, counts or shapes differ, labels that are neither classes nor numbers.
Dataset load_arrays(const std::string& directory);

// Has it a folder train/ that holds folders?
bool holds_class_folders(const std::string& directory);
// Classes are the folders in train/, by name; test/ (or val/) has some of them. Only the names of the pictures are read
// now. Throws Error: no test pictures, a class that training does not know, a network that takes no pictures.
Dataset load_class_folders(const std::string& directory, const PictureFormat&);

} // namespace cnnc
