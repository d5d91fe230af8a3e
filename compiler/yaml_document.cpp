#include "compiler/yaml_document.h"

#include <fmt/format.h>
#include <map>
#include <sstream>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace cnnc {

std::string_view to_string(YamlKind kind)
{
  switch (kind) {
  case YamlKind::null: return "nothing";
  case YamlKind::scalar: return "a value";
  case YamlKind::sequence: return "a list";
  case YamlKind::map: return "a map";
  }
  return "";
}

const YamlEntry* YamlNode::find(std::string_view key) const
{
  for (const YamlEntry& entry : entries)
    if (entry.key == key)
      return &entry;
  return nullptr;
}

namespace {

using Node = std::shared_ptr<YamlNode>;

// Bytes that continue a UTF-8 character that starts with `lead`; -1 where none does.
int continuation_bytes(unsigned char lead)
{
  if (lead < 0x80)
    return 0;
  if (lead >= 0xc2 && lead < 0xe0)
    return 1;
  if (lead >= 0xe0 && lead < 0xf0)
    return 2;
  return lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
}

// What the parser must not see: bytes that are not UTF-8, control characters, tabs as indentation.
void check_characters(const std::shared_ptr<const Source>& source)
{
  const std::string& text = source->text;
  int line = 1;
  size_t line_start = 0;
  bool indentation = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const Location here{source, line, static_cast<int>(i - line_start) + 1};
    if (c == '\n') {
      ++line;
      line_start = i + 1;
      indentation = true;
      continue;
    }
    if (c == '\t' && indentation)
      throw Error(here, "a tab in the indentation: YAML wants spaces");
    if (c != ' ')
      indentation = false;
    if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
      throw Error(here, fmt::format("a control character (0x{:02x}): this is not a YAML text", c));
    const int more = continuation_bytes(c);
    bool valid = more >= 0 && i + static_cast<size_t>(std::max(more, 0)) < text.size();
    for (int k = 1; valid && k <= more; ++k)
      valid = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    if (valid && more >= 2) { // overlong, surrogates, beyond U+10FFFF
      const auto next = static_cast<unsigned char>(text[i + 1]);
      valid = !(c == 0xe0 && next < 0xa0) && !(c == 0xed && next >= 0xa0) && !(c == 0xf0 && next < 0x90) &&
              !(c == 0xf4 && next >= 0x90);
    }
    if (!valid)
      throw Error(here, fmt::format("not UTF-8: byte 0x{:02x}", c));
    i += static_cast<size_t>(more);
  }
}

class Builder : public YAML::EventHandler {
public:
  explicit Builder(std::shared_ptr<const Source> source) : source(std::move(source)) {}

  YamlPtr root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(make(YamlKind::null, mark, anchor)); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override
  {
    Node node = make(YamlKind::scalar, mark, anchor);
    node->text = value;
    node->quoted = tag == "!";
    // An explicit tag would be a second way to say what a value is.
    if (tag != "!" && tag != "?" && !tag.empty())
      throw Error(node->location, fmt::format("tags are not used here: '{}'", tag));
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override
  {
    const auto found = anchors.find(anchor);
    if (found == anchors.end())
      throw Error(place(mark), "an alias of an unknown anchor");
    for (const Frame& frame : frames)
      if (frame.node == found->second)
        throw Error(place(mark), "an alias inside of what it stands for");
    add(found->second, place(mark));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override
  {
    open(make(YamlKind::sequence, mark, anchor));
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override
  {
    open(make(YamlKind::map, mark, anchor));
  }
  void OnMapEnd() override { close(); }

private:
  struct Frame {
    Node node;
    bool has_key = false;
    std::map<std::string, size_t, std::less<>> keys; // to their entries
  };

  std::shared_ptr<const Source> source;
  std::vector<Frame> frames;
  std::map<YAML::anchor_t, Node> anchors;

  Location place(const YAML::Mark& mark) const
  {
    return {source, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1};
  }

  Node make(YamlKind kind, const YAML::Mark& mark, YAML::anchor_t anchor)
  {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->location = place(mark);
    if (anchor != YAML::NullAnchor)
      anchors[anchor] = node;
    return node;
  }

  void open(Node node)
  {
    if (static_cast<int>(frames.size()) >= yaml_depth_limit)
      throw Error(node->location, fmt::format("nested deeper than {} levels", yaml_depth_limit));
    frames.push_back({std::move(node), false, {}});
  }

  void close()
  {
    Node node = std::move(frames.back().node);
    frames.pop_back();
    add(std::move(node));
  }

  void add(Node node)
  {
    const Location where = node->location;
    add(std::move(node), where);
  }

  // `where` it is written: an alias stands in another place than what it stands for.
  void add(Node node, const Location& where)
  {
    if (frames.empty()) {
      root = std::move(node);
      return;
    }
    Frame& frame = frames.back();
    YamlNode& parent = *frame.node;
    if (parent.kind == YamlKind::map && !frame.has_key) {
      if (node->kind != YamlKind::scalar)
        throw Error(where, fmt::format("a key must be a word, not {}", to_string(node->kind)));
      const auto [at, fresh] = frame.keys.emplace(node->text, parent.entries.size());
      if (!fresh)
        throw Error(where, fmt::format("the key '{}' stands here twice", node->text),
                    {{parent.entries[at->second].key_location, "the first one"}});
      parent.entries.push_back({node->text, where, nullptr});
      frame.has_key = true;
      return;
    }
    parent.height = std::max(parent.height, node->height + 1);
    parent.weight += node->weight;
    if (static_cast<int>(frames.size()) + node->height > yaml_depth_limit)
      throw Error(where, fmt::format("nested deeper than {} levels", yaml_depth_limit));
    if (parent.weight > yaml_node_limit)
      throw Error(where, fmt::format("more than {} values, aliases expanded", yaml_node_limit));
    if (parent.kind == YamlKind::map) {
      parent.entries.back().value = std::move(node);
      frame.has_key = false;
    } else {
      parent.items.push_back(std::move(node));
    }
  }
};

YamlPtr nothing(const std::shared_ptr<const Source>& source)
{
  auto node = std::make_shared<YamlNode>();
  node->location = {source, 1, 1};
  return node;
}

} // namespace

YamlPtr parse_yaml(const std::shared_ptr<const Source>& source)
{
  if (source->text.size() > yaml_byte_limit)
    throw Error({source, 1, 1}, fmt::format("{} bytes: a network file has at most {} (keep large weights in a "
                                            ".safetensors file)",
                                            source->text.size(), yaml_byte_limit));
  check_characters(source);
  std::istringstream stream(source->text);
  Builder builder(source);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder))
      return nothing(source);
    Builder second(source);
    if (parser.HandleNextDocument(second) && second.root)
      throw Error(second.root->location, "a second document: a network file holds one");
  } catch (const YAML::Exception& e) {
    throw Error({source, std::max(e.mark.line, 0) + 1, std::max(e.mark.column, 0) + 1},
                fmt::format("this is not YAML: {}", e.msg));
  }
  if (!builder.root)
    return nothing(source);
  return builder.root;
}

} // namespace cnnc
