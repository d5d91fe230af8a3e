// What the tests of readers share: a folder of their own, and files that go wrong in every way.
#pragma once

#include "ir/location.h"
#include "ir/random.h"
#include "tests/folder.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace cnnc::test {

// Plainly, without the code under test.
inline void put(const std::string& path, const std::string& bytes)
{
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
inline std::string get(const std::string& path)
{
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What reading says: "" where it succeeds, else the text of its Error. Other exceptions pass: they fail the test.
inline std::string error_of(const std::function<void()>& action)
{
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
inline int exit_code_of(const std::function<void()>& action)
{
  try {
    action();
  } catch (const Error& e) {
    return e.exit_code;
  }
  return 0;
}

struct Damage {
  int accepted = 0, refused = 0;
};

// `read` on `count` damaged versions of `bytes`: bytes replaced, inserted, removed, blocks doubled or swapped, ends
// cut. It may accept or throw Error; all else (a crash, another exception) is a failure.
inline Damage damage(const std::string& bytes, int count, uint64_t seed,
                     const std::function<void(const std::string&)>& read)
{
  Damage result;
  uint64_t key = seed_key(seed), counter = 0;
  auto below = [&](size_t n) { return n == 0 ? size_t{0} : random_bits(key, counter++) % n; };
  for (int i = 0; i < count; ++i) {
    std::string damaged = bytes;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      size_t at = below(damaged.size());
      // Headers are where it hurts: half of the edits are among the first bytes.
      if (below(2) == 0)
        at = below(std::min<size_t>(damaged.size(), 128));
      static const char nasty[] = {'\0', '\xff', '\x7f', '\x80', '0', '9', '-', '{', '[', '"', '(', ',', '\x01'};
      switch (damaged.empty() ? 6 : below(7)) {
      case 0: damaged[at] = static_cast<char>(below(256)); break;
      case 1: damaged[at] = nasty[below(sizeof nasty)]; break;
      case 2: damaged[at] = static_cast<char>(damaged[at] ^ (1 << below(8))); break;
      case 3: damaged.erase(at, 1 + below(8)); break;
      case 4: damaged.insert(at, damaged.substr(below(damaged.size()), below(16))); break;
      case 5: damaged.resize(at); break;
      case 6: damaged.insert(at, 1, nasty[below(sizeof nasty)]); break;
      }
    }
    (error_of([&] { read(damaged); }).empty() ? result.accepted : result.refused)++;
  }
  return result;
}

} // namespace cnnc::test
