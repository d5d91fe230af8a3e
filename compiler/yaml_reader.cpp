#include "compiler/yaml_reader.h"
#include "compiler/layers.h"
#include "compiler/yaml_values.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace cnnc {

namespace {

constexpr size_t layer_limit = 10000;
constexpr int64_t extent_limit = int64_t{1} << 31;

// What a layer may carry beside its op's attributes.
const std::vector<std::string> layer_keys{"name", "from", "freeze", "learning_rate", "weights"};

// A function of that name is exported: these cannot be one, in C or in C++.
const std::set<std::string, std::less<>> reserved_names{
    "alignas",  "alignof", "and",      "asm",       "auto",     "bool",     "break",     "case",      "catch",
    "char",     "class",   "const",    "constexpr", "continue", "default",  "delete",    "do",        "double",
    "else",     "enum",    "explicit", "export",    "extern",   "false",    "float",     "for",       "friend",
    "goto",     "if",      "inline",   "int",       "long",     "main",     "mutable",   "namespace", "new",
    "noexcept", "not",     "nullptr",  "operator",  "or",       "private",  "protected", "public",    "register",
    "restrict", "return",  "short",    "signed",    "sizeof",   "static",   "struct",    "switch",    "template",
    "this",     "throw",   "true",     "try",       "typedef",  "typename", "typeof",    "union",     "unsigned",
    "using",    "virtual", "void",     "volatile",  "while",    "xor",      "cnn"};

void check_keys(const YamlNode& map, const std::string& owner, const std::vector<std::string>& known)
{
  for (const YamlEntry& entry : map.entries)
    if (std::find(known.begin(), known.end(), entry.key) == known.end())
      unknown_word(entry.key_location, fmt::format("unknown key '{}' of {}", entry.key, owner), entry.key, known);
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

struct UserOp {
  std::string name;
  Location where;
  Location text_where;
  Attributes attributes; // of op_formula
  bool used = false;
};

// The op of a layer, `loss:` or `optimizer:`, with what stands below it.
struct Named {
  std::string op;
  Location where;
  YamlPtr attributes; // null, or what follows the key
};

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

class Reader {
public:
  explicit Reader(const std::shared_ptr<const Source>& source) { network.source = source; }

  Network read()
  {
    const YamlPtr root = parse_yaml(network.source);
    if (root->kind == YamlKind::null)
      throw Error(root->location, "the file is empty: a network has `input:` and `layers:`");
    if (root->kind != YamlKind::map)
      throw Error(root->location,
                  fmt::format("a network is a map with `input:` and `layers:`, not {}", describe(*root)));
    check_keys(*root, "a network", {"name", "input", "ops", "layers", "train"});
    read_name(root->find("name"));
    read_inputs(required(*root, "input", "a network"));
    if (const YamlEntry* ops = root->find("ops"))
      read_ops(*ops->value);
    read_layers(*required(*root, "layers", "a network").value);
    resolve_sources();

    network.forward = build_forward(network.name, inputs, layers);
    for (const LayerSpec& layer : layers)
      network.layers.push_back({layer.name, layer.op, layer.where});
    collect_warnings();
    if (const YamlEntry* train = root->find("train")) {
      read_train(*train->value, train->key_location);
      network.train = build_training(network.name + ".train", inputs, layers, loss, true);
      network.loss = build_training(network.name + ".loss", inputs, layers, loss, false);
    }
    return std::move(network);
  }

private:
  Network network;
  std::vector<InputSpec> inputs;
  std::vector<UserOp> user_ops;
  std::vector<LayerSpec> layers;
  std::map<std::string, Location, std::less<>> names; // of inputs and layers
  LossSpec loss;
  int64_t salts = 0;

  static const YamlEntry& required(const YamlNode& map, const std::string& key, const std::string& owner)
  {
    const YamlEntry* entry = map.find(key);
    if (!entry)
      throw Error(map.location, fmt::format("{} needs the key '{}'", owner, key));
    return *entry;
  }

  void read_name(const YamlEntry* entry)
  {
    if (!entry) {
      // The file's name does as well, where a C function can be called so.
      std::string stem = network.source->name;
      stem = stem.substr(stem.rfind('/') == stem.npos ? 0 : stem.rfind('/') + 1);
      stem = stem.substr(0, stem.find('.'));
      for (char& c : stem)
        if (!std::isalnum(static_cast<unsigned char>(c)))
          c = '_';
      if (stem.empty() || std::isdigit(static_cast<unsigned char>(stem[0])) || reserved_names.contains(stem))
        stem = "net_" + stem;
      network.name = stem.substr(0, 64);
      return;
    }
    network.name = name_of(*entry->value, "name");
    if (reserved_names.contains(network.name))
      throw Error(entry->value->location,
                  fmt::format("'{}' cannot be the name of a network: its functions are exported under it, and it is a "
                              "word of C or C++",
                              network.name));
  }

  void read_inputs(const YamlEntry& entry)
  {
    expect_map(*entry.value, "input");
    if (entry.value->entries.empty())
      throw Error(entry.key_location, "input is empty: a network reads something, as in `input: {image: [1, 28, 28]}`");
    for (const YamlEntry& input : entry.value->entries) {
      YamlNode key;
      key.kind = YamlKind::scalar;
      key.text = input.key;
      key.location = input.key_location;
      name_of(key, "an input's name");
      InputSpec spec{input.key, {{1, true}}, input.key_location};
      if (input.value->kind != YamlKind::sequence || input.value->items.empty())
        throw Error(input.value->location,
                    fmt::format("the shape of input '{}' must be a list of extents, as in [1, 28, 28] (channels, rows, "
                                "columns), not {}",
                                input.key, describe(*input.value)));
      if (input.value->items.size() > 7)
        throw Error(input.value->location, fmt::format("the shape of input '{}' has more than 7 extents", input.key));
      for (const YamlPtr& item : input.value->items)
        spec.shape.push_back(
            {integer_of(*item, fmt::format("an extent of input '{}'", input.key), 1, extent_limit), false});
      try {
        elements(spec.shape);
      } catch (const Error& e) {
        throw Error(input.value->location, fmt::format("input '{}': {}", input.key, e.what()));
      }
      names[input.key] = input.key_location;
      inputs.push_back(std::move(spec));
    }
  }

  void read_ops(const YamlNode& node)
  {
    if (node.kind == YamlKind::null)
      return;
    expect_map(node, "ops");
    for (const YamlEntry& entry : node.entries) {
      YamlNode key;
      key.kind = YamlKind::scalar;
      key.text = entry.key;
      key.location = entry.key_location;
      name_of(key, "an op's name");
      if (find_op(entry.key))
        throw Error(entry.key_location, fmt::format("there is an op '{}' already", entry.key));
      user_ops.push_back(read_user_op(entry));
    }
  }

  // {inputs: [x], formula: "y[...] = ..."} => attributes of a `formula` op
  UserOp read_user_op(const YamlEntry& entry)
  {
    const std::string owner = fmt::format("op '{}'", entry.key);
    expect_map(*entry.value, owner);
    check_keys(*entry.value, owner, {"inputs", "outputs", "formula"});
    const YamlPtr& formula = required(*entry.value, "formula", owner).value;
    const YamlPtr& operands = required(*entry.value, "inputs", owner).value;
    const YamlEntry* results = entry.value->find("outputs");
    const std::string text = text_of(*formula, "formula");
    UserOp op{entry.key, entry.key_location, inside_of(*formula), {}, false};
    const auto specs = [&](const YamlPtr& list, const std::string& what) {
      std::vector<std::string> result;
      for (const YamlPtr& item : items_of(list, what)) {
        std::string spec = text_of(*item, what);
        if (what == "inputs" && spec.find('[') == spec.npos)
          spec += "[...]";
        try {
          parse_operand_spec(spec);
        } catch (const InternalError& e) {
          throw Error(item->location, fmt::format("{} of {}: {}", what, owner, e.what()));
        }
        result.push_back(spec);
      }
      if (result.empty())
        throw Error(list->location, fmt::format("{} of {} is empty", what, owner));
      return result;
    };
    op.attributes["inputs"] = specs(operands, "inputs");
    op.attributes["outputs"] = results ? specs(results->value, "outputs") : std::vector{last_target(text, op)};
    op.attributes["text"] = text;
    return op;
  }

  // What the last statement writes is the result.
  static std::string last_target(const std::string& text, const UserOp& op)
  {
    std::string target;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find_first_of("\n;", begin), text.size());
      const std::string statement = text.substr(begin, end - begin);
      const size_t first = statement.find_first_not_of(" \t\r");
      const size_t bracket = statement.find('[');
      if (first != statement.npos && bracket != statement.npos && statement.compare(first, 6, "where ") != 0 &&
          bracket > first)
        target = statement.substr(first, bracket - first);
      begin = end + 1;
    }
    target = target.substr(0, target.find_last_not_of(' ') + 1);
    if (target.empty())
      throw Error(op.text_where,
                  fmt::format("the formula of op '{}' has no statement, as in `y[...] = exp(x[...])`", op.name));
    return target;
  }

  const OpDef* op_of(const Named& named, UserOp*& user_op)
  {
    for (UserOp& op : user_ops)
      if (op.name == named.op) {
        op.used = true;
        user_op = &op;
        return &op_formula;
      }
    std::vector<std::string> known;
    for (const UserOp& op : user_ops)
      known.push_back(op.name);
    for (const OpDef* def : op_table()) {
      if (def->is_internal)
        continue;
      if (def->is_loss || def->is_optimizer) {
        if (def->name == named.op)
          throw Error(named.where, fmt::format("{} is no layer: it belongs into `train: {{{}: {}}}`", def->name,
                                               def->is_loss ? "loss" : "optimizer", def->name));
        continue;
      }
      if (def->name == named.op)
        return def;
      known.push_back(def->name);
    }
    unknown_word(named.where, fmt::format("unknown op '{}'", named.op), named.op, known);
  }

  void read_layers(const YamlNode& node)
  {
    if (node.kind != YamlKind::sequence)
      throw Error(node.location, fmt::format("layers must be a list, not {}", describe(node)));
    if (node.items.empty())
      throw Error(node.location, "layers is empty: a network has at least one");
    if (node.items.size() > layer_limit)
      throw Error(node.location, fmt::format("more than {} layers", layer_limit));
    for (const YamlPtr& item : node.items)
      read_layer(item);
    name_layers();
  }

  void read_layer(const YamlPtr& node)
  {
    const Named named = named_op(node, "a layer");
    UserOp* user_op = nullptr;
    LayerSpec layer;
    layer.def = op_of(named, user_op);
    layer.op = named.op;
    layer.where = node->location;
    Attributes given = user_op ? user_op->attributes : Attributes{};
    for (const YamlEntry& entry : named.attributes ? named.attributes->entries : std::vector<YamlEntry>{})
      if (std::find(layer_keys.begin(), layer_keys.end(), entry.key) != layer_keys.end())
        read_layer_key(layer, entry);
      else
        given[entry.key] = attribute_of(*entry.value, attribute_def(layer, entry, user_op != nullptr));
    // Masks of two such layers must differ.
    for (const AttributeDef& attribute : layer.def->attributes)
      if (attribute.name == "salt" && layer.def->training_only && !given.contains("salt"))
        given["salt"] = ++salts;
    layer.attributes = check_attributes(*layer.def, given, true, layer.where);
    const YamlEntry* weights = named.attributes ? named.attributes->find("weights") : nullptr;
    if (weights)
      check_weights(layer, *weights->value);
    if (user_op)
      layer.text_where = user_op->text_where;
    layers.push_back(std::move(layer));
  }

  static const AttributeDef& attribute_def(const LayerSpec& layer, const YamlEntry& entry, bool user_op)
  {
    std::vector<std::string> known = layer_keys;
    if (!user_op)
      for (const std::vector<AttributeDef>* defs : {&layer.def->attributes, &layer.def->layer})
        for (const AttributeDef& def : *defs) {
          if (def.name == entry.key)
            return def;
          known.push_back(def.name);
        }
    unknown_word(entry.key_location, fmt::format("unknown key '{}' of {}", entry.key, layer.op), entry.key, known);
  }

  void read_layer_key(LayerSpec& layer, const YamlEntry& entry)
  {
    const YamlNode& value = *entry.value;
    if (entry.key == "name") {
      layer.name = name_of(value, "a layer's name");
      const auto [at, fresh] = names.emplace(layer.name, value.location);
      if (!fresh)
        throw Error(value.location, fmt::format("there are two '{}'", layer.name), {{at->second, "the first one"}});
    } else if (entry.key == "from") {
      for (const YamlPtr& item : items_of(entry.value, "from"))
        layer.from.push_back({text_of(*item, "from"), item->location});
      if (layer.from.empty())
        throw Error(value.location, "from is empty: say which layer or input to read");
    } else if (entry.key == "freeze") {
      if (boolean_of(value, "freeze"))
        layer.rate = 0;
    } else if (entry.key == "learning_rate") {
      const double rate = real_of(value, "learning_rate", 0, 1e6);
      layer.rate = layer.rate == 0 ? 0 : rate;
    } else {
      const YamlPtr weights = entry.value;
      expect_map(value, "weights");
      layer.values = [weights](const std::string& parameter, const TensorType& type) {
        const YamlEntry* given = weights->find(parameter);
        return given ? tensor_of(*given->value, parameter, type) : nullptr;
      };
    }
  }

  static void check_weights(const LayerSpec& layer, const YamlNode& weights)
  {
    std::vector<std::string> known;
    for (const ParameterDef& parameter : layer.def->parameters) {
      const auto flag = layer.attributes.find(parameter.only_when);
      if (flag == layer.attributes.end() || flag->second != AttributeValue(false))
        known.push_back(parameter.name);
    }
    for (const YamlEntry& entry : weights.entries)
      if (std::find(known.begin(), known.end(), entry.key) == known.end()) {
        if (known.empty())
          throw Error(entry.key_location, fmt::format("{} has no parameters", layer.op));
        unknown_word(entry.key_location, fmt::format("{} has no parameter '{}'", layer.op, entry.key), entry.key,
                     known);
      }
  }

  void name_layers()
  {
    std::map<std::string, int> counts, numbers;
    for (const LayerSpec& layer : layers)
      ++counts[stem_of(layer.op)];
    for (LayerSpec& layer : layers) {
      const std::string stem = stem_of(layer.op);
      const int number = ++numbers[stem];
      if (!layer.name.empty())
        continue;
      const bool numbered = counts[stem] > 1 || !layer.def->parameters.empty();
      layer.name = numbered ? fmt::format("{}{}", stem, number) : stem;
      // The user may have taken that name for another one.
      for (int next = number; !names.emplace(layer.name, layer.where).second;)
        layer.name = fmt::format("{}{}", stem, numbers[stem] = ++next);
    }
  }

  // Every layer's `from` filled in and checked: names that stand above, as many as the op takes.
  void resolve_sources()
  {
    std::map<std::string, size_t, std::less<>> number; // of layers
    for (size_t i = 0; i < layers.size(); ++i)
      number[layers[i].name] = i;
    for (size_t i = 0; i < layers.size(); ++i) {
      LayerSpec& layer = layers[i];
      size_t wanted = 0;
      bool variadic = false;
      for (const OperandSpec& operand : input_specs(*layer.def, layer.attributes))
        if (is_data_operand(*layer.def, operand)) {
          variadic = variadic || operand.variadic;
          wanted += operand.variadic ? 0 : 1;
        }
      const std::string label = fmt::format("{} '{}'", layer.op, layer.name);
      const std::string count = variadic ? fmt::format("at least {}", wanted + 1) : fmt::format("{}", wanted);
      if (layer.from.empty()) {
        if (wanted + (variadic ? 1 : 0) > 1 || variadic)
          throw Error(layer.where, fmt::format("{} reads {} tensors: name them with `from: [a, b]`", label,
                                               variadic ? "several" : count));
        if (i == 0 && inputs.size() > 1)
          throw Error(layer.where,
                      fmt::format("{}: the network has {} inputs: name one with `from:`", label, inputs.size()));
        layer.from.push_back({i == 0 ? inputs[0].name : layers[i - 1].name, layer.where});
      }
      if (variadic ? layer.from.size() <= wanted : layer.from.size() != wanted)
        throw Error(layer.from[std::min(wanted, layer.from.size() - 1)].where,
                    fmt::format("{} reads {} tensor{}, `from:` names {}", label, count, count == "1" ? "" : "s",
                                layer.from.size()));
    }
    for (size_t i = 0; i < layers.size(); ++i)
      for (const NameAt& from : layers[i].from)
        check_source(i, from, number);
  }

  void check_source(size_t i, const NameAt& from, const std::map<std::string, size_t, std::less<>>& number) const
  {
    const auto found = number.find(from.name);
    if (found == number.end()) {
      std::vector<std::string> known;
      for (const auto& [name, where] : names)
        known.push_back(name);
      if (!names.contains(from.name))
        unknown_word(from.where,
                     fmt::format("{} '{}' reads '{}', and there is no such layer or input", layers[i].op,
                                 layers[i].name, from.name),
                     from.name, known);
      return;
    }
    if (found->second < i)
      return;
    // Back along `from`: does what it reads depend on this layer?
    std::vector<size_t> reader(layers.size(), layers.size()), open{found->second};
    std::vector<bool> seen(layers.size(), false);
    seen[found->second] = true;
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      if (at == i) {
        std::string path;
        for (size_t k = i; k < layers.size(); k = reader[k])
          path.insert(0, fmt::format(" reads '{}'", layers[k].name));
        throw Error(from.where, fmt::format("a cycle: '{}'{}", layers[i].name, path),
                    {{layers[found->second].where, fmt::format("'{}' stands here", from.name)}});
      }
      for (const NameAt& next : layers[at].from)
        if (const auto n = number.find(next.name); n != number.end() && !seen[n->second]) {
          seen[n->second] = true;
          reader[n->second] = at;
          open.push_back(n->second);
        }
    }
    throw Error(from.where,
                fmt::format("'{}' reads '{}', which stands below it: a layer reads what stands above", layers[i].name,
                            from.name),
                {{layers[found->second].where, fmt::format("'{}' stands here", from.name)}});
  }

  void collect_warnings()
  {
    std::set<std::string, std::less<>> read;
    for (const LayerSpec& layer : layers)
      for (const NameAt& from : layer.from)
        read.insert(from.name);
    for (const InputSpec& input : inputs)
      if (!read.contains(input.name))
        network.warnings.push_back({input.where, fmt::format("no layer reads the input '{}'", input.name)});
    for (const UserOp& op : user_ops)
      if (!op.used)
        network.warnings.push_back({op.where, fmt::format("no layer uses the op '{}'", op.name)});
    for (size_t i = 0; i + 1 < layers.size(); ++i)
      if (!read.contains(layers[i].name))
        network.warnings.push_back(
            {layers[i].where, fmt::format("nothing reads {} '{}': it is left out", layers[i].op, layers[i].name)});
    for (const Op& op : network.forward.ops) {
      std::vector<std::optional<TensorType>> types;
      for (const int input : op.inputs)
        types.push_back(input < 0 ? std::nullopt
                                  : std::optional(network.forward.values[static_cast<size_t>(input)].type));
      for (const std::string& hint : hints(*op.def, types, op.attributes))
        network.warnings.push_back({op.location, fmt::format("{} '{}': {}", op.def->name, op.name, hint)});
    }
    std::stable_sort(network.warnings.begin(), network.warnings.end(), [](const Warning& a, const Warning& b) {
      return std::pair(a.where.line, a.where.column) < std::pair(b.where.line, b.where.column);
    });
  }

  // `loss:` or `optimizer:`: a row with that trait, and its attributes.
  static const OpDef* read_trait(const YamlPtr& node, const std::string& key, bool OpDef::*trait,
                                 Attributes& attributes)
  {
    const Named named = named_op(node, key);
    std::vector<std::string> known;
    const OpDef* def = nullptr;
    for (const OpDef* row : op_table())
      if (row->*trait) {
        known.push_back(row->name);
        if (row->name == named.op)
          def = row;
      }
    if (!def)
      unknown_word(named.where, fmt::format("unknown {} '{}'", key, named.op), named.op, known);
    Attributes given;
    std::vector<std::string> names;
    std::vector<AttributeDef> attribute_defs = def->attributes;
    attribute_defs.insert(attribute_defs.end(), def->layer.begin(), def->layer.end());
    for (const AttributeDef& attribute : attribute_defs)
      if (attribute.name != "rate_factor") // set from a layer's learning_rate
        names.push_back(attribute.name);
    if (named.attributes)
      for (const YamlEntry& entry : named.attributes->entries) {
        const auto at = std::find_if(attribute_defs.begin(), attribute_defs.end(),
                                     [&](const AttributeDef& a) { return a.name == entry.key; });
        if (std::find(names.begin(), names.end(), entry.key) == names.end())
          unknown_word(entry.key_location, fmt::format("unknown key '{}' of {}", entry.key, def->name), entry.key,
                       names);
        given[entry.key] = attribute_of(*entry.value, *at);
      }
    attributes = check_attributes(*def, given, true, named.where);
    return def;
  }

  void read_train(const YamlNode& node, const Location& where)
  {
    expect_map(node, "train");
    const std::vector<std::string> known{"data", "loss", "optimizer", "batch", "epochs", "seed", "schedule"};
    for (const YamlEntry& entry : node.entries)
      for (const OpDef* def : op_table())
        for (const AttributeDef& attribute : def->is_optimizer ? def->attributes : std::vector<AttributeDef>{})
          if (attribute.name == entry.key)
            throw Error(entry.key_location,
                        fmt::format("'{}' belongs to the optimizer: `optimizer: {{{}: {{{}: ...}}}}`", entry.key,
                                    def->name, entry.key));
    check_keys(node, "train", known);
    const YamlEntry& loss_entry = required(node, "loss", "train");
    loss.where = loss_entry.key_location;
    loss.def = read_trait(loss_entry.value, "loss", &OpDef::is_loss, loss.attributes);
    const std::vector<int> parameters = values_of(network.forward, ValueKind::parameter);
    if (std::none_of(parameters.begin(), parameters.end(),
                     [&](int value) { return network.forward.values[static_cast<size_t>(value)].rate != 0; }))
      throw Error(where, parameters.empty() ? "there is nothing to train: no layer has parameters"
                                            : "there is nothing to train: every layer is frozen");
    const YamlEntry& optimizer = required(node, "optimizer", "train");
    loss.optimizer = read_trait(optimizer.value, "optimizer", &OpDef::is_optimizer, loss.optimizer_attributes);

    TrainConfig& config = network.config;
    config.data_location = where;
    if (const YamlEntry* data = node.find("data")) {
      config.data = text_of(*data->value, "data");
      config.data_location = data->value->location;
    }
    if (const YamlEntry* batch = node.find("batch"))
      config.batch = integer_of(*batch->value, "batch", 1, 1 << 20);
    if (const YamlEntry* epochs = node.find("epochs"))
      config.epochs = integer_of(*epochs->value, "epochs", 1, 1000000);
    if (const YamlEntry* seed = node.find("seed"))
      config.seed = static_cast<uint64_t>(integer_of(*seed->value, "seed", 0, INT64_MAX));
    if (const YamlEntry* schedule = node.find("schedule"))
      read_schedule(schedule->value);
  }

  void read_schedule(const YamlPtr& node)
  {
    const Named named = named_op(node, "schedule");
    static const std::map<std::string, Schedule, std::less<>> schedules{
        {"constant", Schedule::constant}, {"cosine", Schedule::cosine}, {"step", Schedule::step}};
    const auto found = schedules.find(named.op);
    if (found == schedules.end())
      unknown_word(named.where, fmt::format("unknown schedule '{}'", named.op), named.op,
                   {"constant", "cosine", "step"});
    network.config.schedule = found->second;
    if (!named.attributes)
      return;
    check_keys(*named.attributes, fmt::format("schedule {}", named.op),
               found->second == Schedule::step ? std::vector<std::string>{"epochs", "factor"}
                                               : std::vector<std::string>{});
    if (const YamlEntry* epochs = named.attributes->find("epochs"))
      network.config.step_epochs = integer_of(*epochs->value, "epochs", 1, 1000000);
    if (const YamlEntry* factor = named.attributes->find("factor"))
      network.config.step_factor = real_of(*factor->value, "factor", 0, 1000);
  }
};

} // namespace

Network read_yaml(const std::shared_ptr<const Source>& source)
{
  return Reader(source).read();
}

} // namespace cnnc
