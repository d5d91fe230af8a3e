// .npz: .npy arrays in a zip archive, stored or deflated (numpy.savez, numpy.savez_compressed; PKWARE's APPNOTE 6.3).
//
//   local header, name, bytes of the member        ... one behind the other
//   central directory: a header for each member, which tells where it lies
//   (zip64: the end again, with wide numbers)      end of the directory
#pragma once

#include "runtime/files.h"

#include <string>
#include <vector>

namespace cnnc {

// The directory is read and checked at once, members when they are asked for. Everything throws Error.
class ZipFile {
public:
  struct Member {
    std::string name;
    int64_t offset = 0;            // of its local header
    int64_t packed = 0, bytes = 0; // in the archive, unpacked
    uint32_t checksum = 0;         // CRC-32 of what is unpacked
    bool deflated = false;
  };

  explicit ZipFile(const std::string& path);
  const std::vector<Member>& members() const { return members_; }
  std::string read(const Member&) const;

private:
  InputFile file_;
  std::vector<Member> members_;
};

} // namespace cnnc
