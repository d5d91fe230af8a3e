// A folder of its own for each that is made, with all in it gone at the end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>

namespace cnnc::test {

class Folder {
public:
  Folder()
  {
    std::string name = (std::filesystem::temp_directory_path() / "cnnc-test-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw std::runtime_error("cannot make a folder for a test");
    path = name;
  }
  ~Folder()
  {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string operator/(const std::string& name) const { return (path / name).string(); }
  // Their names, hidden ones too.
  std::set<std::string> files() const
  {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      names.insert(entry.path().filename().string());
    return names;
  }

  std::filesystem::path path;
};

} // namespace cnnc::test
