// Bytes as an object file with one symbol, for data of any size, where constants of LLVM would be printed, parsed and
// kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cnnc {

struct BlobPlan {
  int64_t object_bytes; // of the whole object file
  int64_t data_offset;  // of the data in it, a multiple of 4096
};

BlobPlan plan_blob(const std::string& symbol, int64_t data_bytes);
// Everything but the data, into `object` of object_bytes zeros. `symbol` is hidden and page-aligned, in .rodata.
void write_blob_frame(const std::string& symbol, int64_t data_bytes, std::byte* object);

// The same symbol without its data. lld puts .rodata.* into one section, which has other bytes too: it makes room for
// the data in the file, and writes nothing there.
std::string room_object(const std::string& symbol, int64_t data_bytes);

} // namespace cnnc
