// Bytes as an object file with one symbol, for data of any size, where constants of LLVM would be printed, parsed and
// kept.
#pragma once

#include <cstdint>
#include <string>

namespace cnnc {

constexpr int64_t blob_data_offset = 4096;

// Zeros in the place of the data, from blob_data_offset on. `symbol` is hidden and page-aligned, in .rodata.
std::string blob_object(const std::string& symbol, int64_t data_bytes);

// The same symbol without its data. lld puts .rodata.* into one section, which has other bytes too: it makes room for
// the data in the file, and writes nothing there.
std::string room_object(const std::string& symbol, int64_t data_bytes);

} // namespace cnnc
