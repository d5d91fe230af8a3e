// YAML text to a tree in which every node knows its line and column.
//
// yaml-cpp's own tree overflows the stack on deep nesting and expands alias bombs; its parser, run event by event, can
// be stopped at every step. So the tree is built here, with bounds: bytes, nesting, nodes (an alias counts with all
// that it stands for). Duplicate keys are errors.
#pragma once

#include "ir/location.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

constexpr size_t yaml_byte_limit = 1 << 20;
constexpr int yaml_depth_limit = 64;
constexpr int64_t yaml_node_limit = 1 << 20;

enum class YamlKind : uint8_t { null, scalar, sequence, map };
std::string_view to_string(YamlKind); // "nothing", "a value", "a list", "a map"

struct YamlNode;
using YamlPtr = std::shared_ptr<const YamlNode>;

struct YamlEntry {
  std::string key;
  Location key_location;
  YamlPtr value;
};

struct YamlNode {
  YamlKind kind = YamlKind::null;
  std::string text;               // scalar
  bool quoted = false;            // scalar: "5" is text, 5 is a number
  std::vector<YamlPtr> items;     // sequence
  std::vector<YamlEntry> entries; // map, in the order of the text
  Location location;
  int height = 1;     // levels in it
  int64_t weight = 1; // nodes in it, aliases expanded

  const YamlEntry* find(std::string_view key) const; // nullptr
};

// The one document of the text. Throws Error with its place for whatever is not UTF-8, not YAML, or out of bounds; an
// empty text gives a null node.
YamlPtr parse_yaml(const std::shared_ptr<const Source>&);

} // namespace cnnc
