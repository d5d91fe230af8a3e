#include "compiler/yaml_input.h"
#include "compiler/yaml_blocks.h"
#include "compiler/yaml_values.h"

#include <cmath>
#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr int64_t extent_limit = int64_t{1} << 31;
constexpr int64_t picture_limit = 16384;
constexpr double number_limit = 1e9;

Shape shape_of(const YamlNode& node, const std::string& name)
{
  if (node.kind != YamlKind::sequence || node.items.empty())
    throw Error(node.location,
                fmt::format("the shape of input '{}' must be a list of extents, as in [1, 28, 28] (channels, rows, "
                            "columns), not {}",
                            name, describe(node)));
  if (node.items.size() > 7)
    throw Error(node.location, fmt::format("the shape of input '{}' has more than 7 extents", name));
  Shape shape{{1, true}};
  for (const YamlPtr& item : node.items)
    shape.push_back({integer_of(*item, fmt::format("an extent of input '{}'", name), 1, extent_limit), false});
  try {
    elements(shape);
  } catch (const Error& e) {
    throw Error(node.location, fmt::format("input '{}': {}", name, e.what()));
  }
  return shape;
}

// One number, or one a channel.
std::vector<double> channel_numbers(const YamlNode& node, const std::string& what, int64_t channels)
{
  const auto number = [&](const YamlNode& item) { return real_of(item, what, -number_limit, number_limit); };
  if (node.kind != YamlKind::sequence)
    return {number(node)};
  std::vector<double> values;
  for (const YamlPtr& item : node.items)
    values.push_back(number(*item));
  if (static_cast<int64_t>(values.size()) != channels)
    throw Error(node.location, fmt::format("{} wants one number, or one for each of the {} channel{}; found {}", what,
                                           channels, channels == 1 ? "" : "s", values.size()));
  return values;
}

Preprocessing preprocessing_of(const YamlNode& map, const std::string& name, const Shape& shape,
                               std::vector<Warning>& warnings)
{
  const std::string owner = fmt::format("input '{}'", name);
  std::vector<int64_t> dims;
  for (size_t i = 1; i < shape.size(); ++i)
    dims.push_back(shape[i].size);
  Preprocessing result = default_preprocessing(dims);
  const auto key = [&](const char* word) { return map.find(word); };
  for (const char* word : {"resize", "crop", "order", "scale", "mean", "std"})
    if (const YamlEntry* entry = key(word); entry && !takes_pictures(dims))
      throw Error(entry->key_location,
                  fmt::format("'{}' is for pictures, of shape [1 or 3 channels, rows, columns]; {} "
                              "is {}",
                              word, owner, to_string(shape)));
  if (const YamlEntry* resize = key("resize")) {
    result.resize = integer_of(*resize->value, "resize", 1, picture_limit);
    if (result.resize < std::max(dims[1], dims[2]))
      throw Error(resize->value->location, fmt::format("a shorter side of {} is too small for an input of {} x {}",
                                                       result.resize, dims[1], dims[2]));
  }
  if (const YamlEntry* crop = key("crop")) {
    const YamlNode& node = *crop->value;
    std::vector<int64_t> extents;
    if (node.kind == YamlKind::sequence)
      for (const YamlPtr& item : node.items)
        extents.push_back(integer_of(*item, "crop", 1, picture_limit));
    else
      extents.assign(2, integer_of(node, "crop", 1, picture_limit));
    if (extents.size() != 2)
      throw Error(node.location, fmt::format("crop wants one number, or rows and columns; found {}", extents.size()));
    if (extents[0] != dims[1] || extents[1] != dims[2])
      throw Error(node.location, fmt::format("a crop of {} x {} does not fit: {} is {} x {}", extents[0], extents[1],
                                             owner, dims[1], dims[2]));
    result.crop_rows = extents[0], result.crop_columns = extents[1];
  }
  if (const YamlEntry* order = key("order")) {
    const std::string& text = text_of(*order->value, "order");
    if (text != "rgb" && text != "bgr" && text != "gray")
      unknown_word(order->value->location, fmt::format("unknown order of channels '{}'", text), text,
                   {"rgb", "bgr", "gray"});
    result.order = text == "rgb" ? ChannelOrder::rgb : text == "bgr" ? ChannelOrder::bgr : ChannelOrder::gray;
    if ((text == "gray") != (dims[0] == 1))
      throw Error(order->value->location, fmt::format("the order {} does not fit: {} has {} channel{}", text, owner,
                                                      dims[0], dims[0] == 1 ? "" : "s"));
  }
  if (const YamlEntry* scale = key("scale")) {
    result.scale = real_of(*scale->value, "scale", -number_limit, number_limit);
    if (result.scale == 0)
      throw Error(scale->value->location, "a scale of 0 leaves nothing of the picture");
  }
  if (const YamlEntry* mean = key("mean")) {
    result.mean = channel_numbers(*mean->value, "mean", dims[0]);
    for (const double value : result.mean)
      if (std::abs(value) > 255 * std::abs(result.scale)) {
        warnings.push_back({mean->value->location,
                            fmt::format("no pixel reaches the mean {}: it is taken off after `scale` ({:.4g}); where "
                                        "it is that of values up to 255, write `scale: 1`",
                                        value, result.scale)});
        break;
      }
  }
  if (const YamlEntry* std = key("std")) {
    result.std = channel_numbers(*std->value, "std", dims[0]);
    for (const double value : result.std)
      if (value <= 0)
        throw Error(std->value->location, fmt::format("std must be above 0, not {}", value));
  }
  return result;
}

} // namespace

YamlInputs read_inputs(const YamlEntry& entry)
{
  expect_map(*entry.value, "input");
  if (entry.value->entries.empty())
    throw Error(entry.key_location, "input is empty: a network reads something, as in `input: {image: [1, 28, 28]}`");
  YamlInputs result;
  for (const YamlEntry& input : entry.value->entries) {
    YamlNode key;
    key.kind = YamlKind::scalar;
    key.text = input.key;
    key.location = input.key_location;
    name_of(key, "an input's name");
    InputSpec spec{input.key, {}, input.key_location};
    if (input.value->kind == YamlKind::map) {
      const YamlPtr map = evaluated(input.value, {});
      check_keys(*map, fmt::format("input '{}'", input.key),
                 {"shape", "resize", "crop", "order", "scale", "mean", "std"});
      const YamlEntry* shape = map->find("shape");
      if (!shape)
        throw Error(map->location, fmt::format("input '{}' needs the key 'shape'", input.key));
      spec.shape = shape_of(*shape->value, input.key);
      if (map->entries.size() > 1)
        result.preprocessing[input.key] = preprocessing_of(*map, input.key, spec.shape, result.warnings);
    } else {
      spec.shape = shape_of(*input.value, input.key);
    }
    result.inputs.push_back(std::move(spec));
  }
  return result;
}

} // namespace cnnc
