#include "compiler/yaml_blocks.h"
#include "compiler/yaml_values.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace cnnc {

namespace {

constexpr size_t layer_limit = 10000;
constexpr int64_t item_limit = 100000; // absent layers and uses of blocks counted
constexpr int64_t value_limit = int64_t{1} << 22;
constexpr int block_depth_limit = 16;

// What the use of a block may carry beside its parameters.
const std::vector<std::string> use_keys{"name", "from", "repeat", "when", "freeze", "learning_rate"};

bool is_one_of(const std::string& word, const std::vector<std::string>& words)
{
  return std::find(words.begin(), words.end(), word) != words.end();
}

const std::string& checked_name(const YamlEntry& entry, const std::string& what)
{
  YamlNode key;
  key.kind = YamlKind::scalar;
  key.text = entry.key;
  key.location = entry.key_location;
  name_of(key, what);
  return entry.key;
}

// "max_pool2d" => "pool"
std::string stem_of(const std::string& op)
{
  std::string stem = op.substr(op.rfind('_') == op.npos ? 0 : op.rfind('_') + 1);
  const size_t end = stem.size();
  if (end > 2 && stem[end - 1] == 'd' && stem[end - 2] >= '1' && stem[end - 2] <= '9')
    stem.resize(end - 2);
  return stem;
}

// {channels: , stride: 1}, or [channels, stride] where all must be given
std::vector<YamlEntry> read_parameters(const YamlPtr& node, const std::string& owner)
{
  std::vector<YamlEntry> parameters;
  if (node->kind == YamlKind::null)
    return parameters;
  if (node->kind == YamlKind::map) {
    parameters = node->entries;
  } else {
    for (const YamlPtr& item : items_of(node, fmt::format("the parameters of {}", owner))) {
      auto none = std::make_shared<YamlNode>();
      none->location = item->location;
      parameters.push_back({text_of(*item, "a parameter"), item->location, none});
    }
  }
  static const std::vector<std::string> words{"and", "or", "not", "true", "false", "input", "weights"};
  std::set<std::string> seen;
  for (const YamlEntry& parameter : parameters) {
    checked_name(parameter, "a parameter's name");
    if (is_one_of(parameter.key, use_keys) || is_one_of(parameter.key, words))
      throw Error(
          parameter.key_location,
          fmt::format("'{}' cannot be a parameter of {}: the word has a meaning of its own", parameter.key, owner));
    if (!seen.insert(parameter.key).second)
      throw Error(parameter.key_location, fmt::format("{} has two parameters '{}'", owner, parameter.key));
  }
  return parameters;
}

BlockDef read_block(const YamlEntry& entry)
{
  const std::string owner = fmt::format("block '{}'", entry.key);
  BlockDef block;
  block.name = entry.key;
  block.where = entry.key_location;
  block.layers = entry.value;
  if (entry.value->kind == YamlKind::map) {
    check_keys(*entry.value, owner, {"parameters", "inputs", "layers", "output"});
    const YamlEntry* layers = entry.value->find("layers");
    if (!layers)
      throw Error(entry.value->location, fmt::format("{} needs the key 'layers'", owner));
    block.layers = layers->value;
    if (const YamlEntry* parameters = entry.value->find("parameters"))
      block.parameters = read_parameters(parameters->value, owner);
    if (const YamlEntry* inputs = entry.value->find("inputs")) {
      block.inputs.clear();
      for (const YamlPtr& item : items_of(inputs->value, fmt::format("the inputs of {}", owner))) {
        if (is_one_of(name_of(*item, "an input's name"), block.inputs))
          throw Error(item->location, fmt::format("{} has two inputs '{}'", owner, item->text));
        block.inputs.push_back(item->text);
      }
      if (block.inputs.empty())
        throw Error(inputs->value->location, fmt::format("the inputs of {} are empty: leave the key out for one, "
                                                         "called `input`",
                                                         owner));
    }
    if (const YamlEntry* output = entry.value->find("output")) {
      text_of(*output->value, "output");
      block.output = output->value;
    }
  }
  if (block.layers->kind != YamlKind::sequence || block.layers->items.empty())
    throw Error(block.layers->location,
                fmt::format("the layers of {} must be a list of at least one, not {}", owner, describe(*block.layers)));
  return block;
}

class Expander {
public:
  Expander(std::vector<BlockDef>& blocks, const std::map<std::string, Location>& without,
           const std::function<bool(const std::string&)>& has_parameters,
           const std::function<void(const FlatLayer&)>& emit)
      : blocks(blocks),
        without(without),
        has_parameters(has_parameters),
        emit(emit)
  {
  }

  Expansion expand(const YamlNode& layers, const std::vector<InputSpec>& inputs)
  {
    Scope scope;
    scope.label = "the network";
    for (const InputSpec& input : inputs)
      scope.inputs.push_back({input.name, input.where});
    for (const InputSpec& input : inputs)
      result.value_of[input.name] = input.name;
    result.last = run(scope, layers, {});
    check_without();
    return std::move(result);
  }

private:
  // The layers of the network, or of one use of a block.
  struct Scope {
    std::string label;  // "the network", "block 'residual'"
    std::string prefix; // "residual1.2."
    std::vector<NameAt> inputs;
    std::map<std::string, std::string, std::less<>> value_of; // local names, once they are expanded
    Parameters parameters;
    std::vector<Error::Note> uses;
    std::vector<const BlockDef*> around;
    double rate = 1;
  };

  struct Item {
    Location where;
    Named named;
    BlockDef* block = nullptr;
    std::string name;         // local
    Location name_where;      // where the file gives it
    std::vector<NameAt> from; // as the file has them
  };

  std::vector<BlockDef>& blocks;
  const std::map<std::string, Location>& without;
  std::set<std::string, std::less<>> taken_out;
  const std::function<bool(const std::string&)>& has_parameters;
  const std::function<void(const FlatLayer&)>& emit;
  Expansion result;
  size_t layer_count = 0;
  int64_t item_count = 0, value_count = 0;

  BlockDef* block_of(const std::string& name) const
  {
    for (BlockDef& block : blocks)
      if (block.name == name)
        return &block;
    return nullptr;
  }

  static const YamlNode* key_of(const Item& item, const char* key)
  {
    const YamlEntry* entry = item.named.attributes ? item.named.attributes->find(key) : nullptr;
    return entry ? entry->value.get() : nullptr;
  }

  YamlPtr value_of_key(const Scope& scope, const Item& item, const char* key)
  {
    const YamlEntry* entry = item.named.attributes ? item.named.attributes->find(key) : nullptr;
    return entry ? evaluated_here(scope, entry->value) : nullptr;
  }

  // Work that blocks multiply is counted before it is done.
  YamlPtr evaluated_here(const Scope& scope, const YamlPtr& node)
  {
    value_count += node->weight;
    if (value_count > value_limit)
      throw Error(node->location, fmt::format("more than {} values, blocks expanded", value_limit));
    return evaluated(node, scope.parameters);
  }

  // The value of the last layer (or of `output`).
  std::string run(Scope& scope, const YamlNode& layers, const YamlPtr& output)
  {
    std::vector<Item> items;
    for (const YamlPtr& node : layers.items) {
      if (++item_count > item_limit)
        throw Error(node->location, fmt::format("more than {} layers and blocks, expanded", item_limit));
      items.push_back(read_item(scope, node));
    }
    std::map<std::string, size_t, std::less<>> number = name_items(scope, items);
    for (const NameAt& input : scope.inputs)
      if (scope.prefix.empty())
        scope.value_of[input.name] = input.name;
    std::string above = scope.inputs.size() == 1 ? scope.value_of.at(scope.inputs[0].name) : "";
    for (size_t i = 0; i < items.size(); ++i) {
      std::vector<NameAt> from;
      for (const NameAt& source : items[i].from)
        from.push_back({source_of(scope, items, number, i, source), source.where});
      above = add(scope, items[i], from, above);
      scope.value_of[items[i].name] = above;
    }
    if (!output)
      return above;
    const auto found = scope.value_of.find(output->text);
    if (found == scope.value_of.end())
      unknown_word(output->location, fmt::format("{} has no layer '{}'", scope.label, output->text), output->text,
                   names_in(scope, items));
    return found->second;
  }

  Item read_item(const Scope& scope, const YamlPtr& node)
  {
    Item item;
    item.where = node->location;
    item.named = named_op(node, "a layer");
    // The op may be a parameter.
    if (const auto found = scope.parameters.find(item.named.op); found != scope.parameters.end()) {
      if (found->second->kind != YamlKind::scalar)
        throw Error(item.named.where,
                    fmt::format("the parameter '{}' is {}, no op's name", item.named.op, describe(*found->second)));
      item.named.op = found->second->text;
    }
    item.block = block_of(item.named.op);
    if (item.block)
      item.block->used = true;
    if (const YamlNode* name = key_of(item, "name")) {
      item.name = name_of(*name, "a layer's name");
      item.name_where = name->location;
    }
    if (const YamlEntry* from = item.named.attributes ? item.named.attributes->find("from") : nullptr) {
      for (const YamlPtr& source : items_of(from->value, "from"))
        item.from.push_back({text_of(*source, "from"), source->location});
      if (item.from.empty())
        throw Error(from->value->location, "from is empty: say which layer or input to read");
    }
    return item;
  }

  // Names of all items, given or made up; their numbers by name.
  std::map<std::string, size_t, std::less<>> name_items(const Scope& scope, std::vector<Item>& items) const
  {
    std::map<std::string, Location, std::less<>> taken;
    for (const NameAt& input : scope.inputs)
      taken[input.name] = input.where;
    std::map<std::string, int> counts, numbers;
    for (const Item& item : items) {
      ++counts[item.block ? item.block->name : stem_of(item.named.op)];
      if (item.name.empty())
        continue;
      const auto [at, fresh] = taken.emplace(item.name, item.name_where);
      if (!fresh)
        throw Error(item.name_where, fmt::format("there are two '{}'", item.name), {{at->second, "the first one"}});
    }
    std::map<std::string, size_t, std::less<>> number_of;
    for (size_t i = 0; i < items.size(); ++i) {
      Item& item = items[i];
      const std::string stem = item.block ? item.block->name : stem_of(item.named.op);
      const int number = ++numbers[stem];
      if (item.name.empty()) {
        const bool numbered = counts[stem] > 1 || item.block || has_parameters(item.named.op);
        item.name = numbered ? fmt::format("{}{}", stem, number) : stem;
        // The user may have taken that name for another one.
        for (int next = number; !taken.emplace(item.name, item.where).second;)
          item.name = fmt::format("{}{}", stem, numbers[stem] = ++next);
      }
      number_of[item.name] = i;
    }
    return number_of;
  }

  static std::vector<std::string> names_in(const Scope& scope, const std::vector<Item>& items)
  {
    std::vector<std::string> names;
    for (const NameAt& input : scope.inputs)
      names.push_back(input.name);
    for (const Item& item : items)
      names.push_back(item.name);
    return names;
  }

  // What item i reads under that name: a layer above it, an input, or something inside of a block above.
  std::string source_of(const Scope& scope, const std::vector<Item>& items,
                        const std::map<std::string, size_t, std::less<>>& number, size_t i, const NameAt& from) const
  {
    const std::string first = from.name.substr(0, from.name.find('.'));
    const auto found = number.find(first);
    if (found != number.end() && found->second >= i)
      fail_order(items, number, i, from, found->second);
    if (const auto value = scope.value_of.find(from.name); value != scope.value_of.end())
      return value->second;
    if (found != number.end())
      if (const auto inner = result.value_of.find(scope.prefix + from.name); inner != result.value_of.end())
        return inner->second;
    std::vector<std::string> known = names_in(scope, items);
    if (found != number.end()) {
      known.clear();
      const std::string within = scope.prefix + first + ".";
      for (auto at = result.value_of.lower_bound(within); at != result.value_of.end(); ++at)
        if (at->first.starts_with(within))
          known.push_back(at->first.substr(scope.prefix.size()));
        else
          break;
    }
    unknown_word(from.where,
                 fmt::format("{} '{}' reads '{}', and there is no such layer or input{}", items[i].named.op,
                             items[i].name, from.name, scope.prefix.empty() ? "" : " in " + scope.label),
                 from.name, known);
  }

  // It stands below, or what it reads depends on this very layer.
  [[noreturn]] static void fail_order(const std::vector<Item>& items,
                                      const std::map<std::string, size_t, std::less<>>& number, size_t i,
                                      const NameAt& from, size_t below)
  {
    std::vector<size_t> reader(items.size(), items.size()), open{below};
    std::vector<bool> seen(items.size(), false);
    seen[below] = true;
    const auto visit = [&](size_t next, size_t by) {
      if (seen[next])
        return;
      seen[next] = true;
      reader[next] = by;
      open.push_back(next);
    };
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      if (at == i) {
        std::string path;
        for (size_t k = i; k < items.size(); k = reader[k])
          path.insert(0, fmt::format(" reads '{}'", items[k].name));
        throw Error(from.where, fmt::format("a cycle: '{}'{}", items[i].name, path),
                    {{items[below].where, fmt::format("'{}' stands here", from.name)}});
      }
      if (items[at].from.empty() && at > 0)
        visit(at - 1, at);
      for (const NameAt& next : items[at].from)
        if (const auto n = number.find(next.name); n != number.end())
          visit(n->second, at);
    }
    throw Error(from.where,
                fmt::format("'{}' reads '{}', which stands below it: a layer reads what stands above", items[i].name,
                            from.name),
                {{items[below].where, fmt::format("'{}' stands here", from.name)}});
  }

  // All copies of one item; gives the value of the last.
  std::string add(const Scope& scope, const Item& item, std::vector<NameAt> from, const std::string& above)
  {
    int64_t copies = 1;
    if (const YamlPtr repeat = value_of_key(scope, item, "repeat"))
      copies = integer_of(*repeat, "repeat", 0, static_cast<int64_t>(layer_limit));
    bool present = copies > 0;
    if (const YamlPtr when = value_of_key(scope, item, "when"))
      present = boolean_of(*when, "when") && present;
    const std::string name = scope.prefix + item.name;
    std::string value;
    if (!present || take_out(name)) {
      value = passed_on(scope, item, from, above, present);
    } else {
      for (int64_t k = 1; k <= copies; ++k) {
        if (copies > 1 && ++item_count > item_limit)
          throw Error(item.where, fmt::format("more than {} layers and blocks, expanded", item_limit));
        const std::string copy = copies > 1 ? fmt::format("{}.{}", name, k) : name;
        const std::string before = value.empty() ? above : value;
        if (!from.empty() && !value.empty())
          from[0].name = value;
        if (copies > 1 && take_out(copy))
          value = passed_on(scope, item, from, before, true);
        else
          value = item.block ? add_block(scope, item, copy, from, before) : add_layer(scope, item, copy, from, before);
        result.value_of[copy] = value;
      }
    }
    result.value_of[name] = value;
    return value;
  }

  bool take_out(const std::string& name)
  {
    if (!without.contains(name))
      return false;
    taken_out.insert(name);
    return true;
  }

  std::string passed_on(const Scope& scope, const Item& item, const std::vector<NameAt>& from, const std::string& above,
                        bool taken) const
  {
    // An absent layer with several sources stands for the first, as its block says. Of one that is taken out by name
    // nobody said which.
    if (from.size() > 1 && taken)
      throw Error(item.where, fmt::format("{} '{}' cannot be taken out: it reads {} tensors, and which one should its "
                                          "readers read?",
                                          item.named.op, scope.prefix + item.name, from.size()));
    if (from.empty() && above.empty())
      throw Error(item.where, unclear(scope, item));
    return from.empty() ? above : from[0].name;
  }

  static std::string unclear(const Scope& scope, const Item& item)
  {
    return fmt::format("{} '{}': {} has {} inputs: name one with `from:`", item.named.op, item.name, scope.label,
                       scope.inputs.size());
  }

  std::string add_layer(const Scope& scope, const Item& item, const std::string& name, const std::vector<NameAt>& from,
                        const std::string& above)
  {
    if (++layer_count > layer_limit)
      throw Error(item.where, fmt::format("more than {} layers", layer_limit));
    FlatLayer layer;
    layer.name = name;
    layer.op = item.named.op;
    layer.where = item.where;
    layer.op_where = item.named.where;
    layer.from = from;
    layer.above = above;
    layer.unclear = unclear(scope, item);
    layer.rate = scope.rate;
    layer.uses = scope.uses;
    static const std::vector<std::string> handled{"name", "from", "repeat", "when"};
    for (const YamlEntry& entry : item.named.attributes ? item.named.attributes->entries : std::vector<YamlEntry>())
      if (!is_one_of(entry.key, handled)) {
        const YamlPtr value = entry.key == "weights" ? entry.value : evaluated_here(scope, entry.value);
        layer.attributes.push_back({entry.key, entry.key_location, value});
      }
    emit(layer);
    return name;
  }

  std::string add_block(const Scope& scope, const Item& item, const std::string& name, const std::vector<NameAt>& from,
                        const std::string& above)
  {
    const BlockDef& block = *item.block;
    Scope inner;
    inner.label = fmt::format("block '{}'", block.name);
    inner.prefix = name + ".";
    inner.rate = scope.rate;
    inner.around = scope.around;
    if (std::find(inner.around.begin(), inner.around.end(), &block) != inner.around.end())
      throw Error(item.where, fmt::format("block '{}' contains itself", block.name), {{block.where, "defined here"}});
    inner.around.push_back(&block);
    if (static_cast<int>(inner.around.size()) > block_depth_limit)
      throw Error(item.where, fmt::format("blocks within blocks, more than {} deep", block_depth_limit));
    bind_parameters(scope, item, inner);
    bind_inputs(scope, item, inner, from, above);
    inner.uses.push_back({item.where, fmt::format("in block '{}', used here as '{}'", block.name, name)});
    inner.uses.insert(inner.uses.end(), scope.uses.begin(), scope.uses.end());
    try {
      return run(inner, *block.layers, block.output);
    } catch (Error& error) {
      error.notes.push_back(inner.uses[0]);
      throw;
    }
  }

  void bind_parameters(const Scope& scope, const Item& item, Scope& inner)
  {
    const BlockDef& block = *item.block;
    std::vector<std::string> known = use_keys;
    for (const YamlEntry& parameter : block.parameters)
      known.push_back(parameter.key);
    for (const YamlEntry& entry : item.named.attributes ? item.named.attributes->entries : std::vector<YamlEntry>()) {
      if (!is_one_of(entry.key, known))
        unknown_word(entry.key_location, fmt::format("unknown key '{}' of block '{}'", entry.key, block.name),
                     entry.key, known);
      if (entry.key == "freeze" && boolean_of(*evaluated_here(scope, entry.value), "freeze"))
        inner.rate = 0;
      if (entry.key == "learning_rate")
        inner.rate *= real_of(*evaluated_here(scope, entry.value), "learning_rate", 0, 1e6);
      if (!is_one_of(entry.key, use_keys))
        inner.parameters[entry.key] = evaluated_here(scope, entry.value);
    }
    // A default may speak of the parameters before it.
    for (const YamlEntry& parameter : block.parameters) {
      if (inner.parameters.contains(parameter.key))
        continue;
      if (parameter.value->kind == YamlKind::null)
        throw Error(item.where, fmt::format("block '{}' wants '{}'", block.name, parameter.key),
                    {{parameter.key_location, "a parameter without a default"}});
      inner.parameters[parameter.key] = evaluated_here(inner, parameter.value);
    }
  }

  static void bind_inputs(const Scope& scope, const Item& item, Scope& inner, const std::vector<NameAt>& from,
                          const std::string& above)
  {
    const BlockDef& block = *item.block;
    const size_t wanted = block.inputs.size();
    if (from.empty() && wanted > 1)
      throw Error(item.where,
                  fmt::format("block '{}' reads {} tensors: name them with `from: [a, b]`", block.name, wanted));
    if (from.empty() && above.empty())
      throw Error(item.where, unclear(scope, item));
    if (!from.empty() && from.size() != wanted)
      throw Error(from[std::min(wanted, from.size() - 1)].where,
                  fmt::format("block '{}' reads {} tensor{}, `from:` names {}", block.name, wanted,
                              wanted == 1 ? "" : "s", from.size()));
    for (size_t k = 0; k < wanted; ++k) {
      inner.inputs.push_back({block.inputs[k], block.where});
      inner.value_of[block.inputs[k]] = from.empty() ? above : from[k].name;
    }
  }

  void check_without() const
  {
    for (const auto& [name, where] : without)
      if (!taken_out.contains(name)) {
        std::vector<std::string> known;
        for (const auto& [full, value] : result.value_of)
          known.push_back(full);
        const std::string near = nearest(name, known);
        throw Error(where,
                    fmt::format("there is no layer '{}' to be taken out{}", name,
                                near.empty() ? "" : fmt::format("; is '{}' meant?", near)),
                    {}, where.is_known() ? 1 : 2);
      }
  }
};

} // namespace

void check_keys(const YamlNode& map, const std::string& owner, const std::vector<std::string>& known)
{
  for (const YamlEntry& entry : map.entries)
    if (!is_one_of(entry.key, known))
      unknown_word(entry.key_location, fmt::format("unknown key '{}' of {}", entry.key, owner), entry.key, known);
}

Named named_op(const YamlPtr& node, const std::string& what)
{
  if (node->kind == YamlKind::scalar)
    return {text_of(*node, what), node->location, nullptr};
  if (node->kind != YamlKind::map)
    throw Error(node->location, fmt::format("{} must be an op, or one key (the op) with its attributes, not {}", what,
                                            describe(*node)));
  if (node->entries.empty())
    throw Error(node->location, fmt::format("{} is empty: an op is missing", what));
  if (node->entries.size() > 1)
    throw Error(node->entries[1].key_location,
                fmt::format("{} has one key, the op; '{}' belongs inside of it: `{}: {{{}: ...}}`", what,
                            node->entries[1].key, node->entries[0].key, node->entries[1].key));
  const YamlEntry& entry = node->entries[0];
  if (entry.value->kind != YamlKind::null && entry.value->kind != YamlKind::map)
    throw Error(entry.value->location,
                fmt::format("the attributes of {} must be a map, like `{}: {{name: value}}`, not {}", entry.key,
                            entry.key, describe(*entry.value)));
  return {entry.key, entry.key_location, entry.value->kind == YamlKind::null ? nullptr : entry.value};
}

std::vector<BlockDef> read_blocks(const YamlNode& node, const std::function<bool(const std::string&)>& is_op)
{
  std::vector<BlockDef> blocks;
  if (node.kind == YamlKind::null)
    return blocks;
  expect_map(node, "define");
  for (const YamlEntry& entry : node.entries) {
    if (is_op(checked_name(entry, "a block's name")))
      throw Error(entry.key_location, fmt::format("there is an op '{}' already", entry.key));
    blocks.push_back(read_block(entry));
  }
  return blocks;
}

Expansion expand(const YamlNode& layers, const std::vector<InputSpec>& inputs, std::vector<BlockDef>& blocks,
                 const std::map<std::string, Location>& without,
                 const std::function<bool(const std::string&)>& has_parameters,
                 const std::function<void(const FlatLayer&)>& emit)
{
  return Expander(blocks, without, has_parameters, emit).expand(layers, inputs);
}

} // namespace cnnc
