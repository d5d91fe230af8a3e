#include "compiler/yaml_reader.h"
#include "compiler/yaml_blocks.h"
#include "compiler/yaml_input.h"
#include "compiler/yaml_values.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <set>

namespace cnnc {

namespace {

// What a layer may carry beside its op's attributes.
const std::vector<std::string> layer_keys{"name", "from", "repeat", "when", "freeze", "learning_rate", "weights"};

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

struct UserOp {
  std::string name;
  Location where;
  Location text_where;
  Attributes attributes; // of op_formula
  bool used = false;
};

class Reader {
public:
  Reader(const std::shared_ptr<const Source>& source, const std::vector<std::string>& without) : asked_without(without)
  {
    network.source = source;
  }

  Network read()
  {
    const YamlPtr root = parse_yaml(network.source);
    if (root->kind == YamlKind::null)
      throw Error(root->location, "the file is empty: a network has `input:` and `layers:`");
    if (root->kind != YamlKind::map)
      throw Error(root->location,
                  fmt::format("a network is a map with `input:` and `layers:`, not {}", describe(*root)));
    check_keys(*root, "a network",
               {"name", "input", "ops", "define", "layers", "output", "without", "weights", "train"});
    read_name(root->find("name"));
    YamlInputs read = read_inputs(required(*root, "input", "a network"));
    inputs = std::move(read.inputs);
    network.preprocessing = std::move(read.preprocessing);
    network.warnings = std::move(read.warnings);
    if (const YamlEntry* ops = root->find("ops"))
      read_ops(*ops->value);
    if (const YamlEntry* define = root->find("define"))
      blocks = read_blocks(*define->value, [&](const std::string& name) { return is_user_op(name); });
    read_without(*root);
    read_layers(*required(*root, "layers", "a network").value);
    if (const YamlEntry* output = root->find("output"))
      read_output(output->value);
    if (const YamlEntry* weights = root->find("weights"))
      network.weights = beside(text_of(*weights->value, "weights"));

    network.forward = build_forward(network.name, inputs, layers, outputs);
    for (const LayerSpec& layer : layers)
      network.layers.push_back({layer.name, layer.op, layer.where});
    collect_warnings();
    if (const YamlEntry* train = root->find("train")) {
      read_train(*train->value, train->key_location);
      network.train = build_training(network.name + ".train", inputs, layers, loss, true, outputs);
      network.loss = build_training(network.name + ".loss", inputs, layers, loss, false, outputs);
    }
    return std::move(network);
  }

private:
  Network network;
  const std::vector<std::string>& asked_without; // by the caller
  std::map<std::string, Location> without;       // all of them
  std::vector<InputSpec> inputs;
  std::vector<UserOp> user_ops;
  std::vector<BlockDef> blocks;
  std::vector<LayerSpec> layers;
  std::vector<NameAt> outputs;
  Expansion expansion;
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

  // Relative to where the network's file lies.
  std::string beside(const std::string& path) const
  {
    return (std::filesystem::path(network.source->name).parent_path() / path).string();
  }

  // The layers to be taken out: those that the file names, and those that the caller does. The text that a library
  // carries names all of them.
  void read_without(const YamlNode& root)
  {
    const YamlEntry* entry = root.find("without");
    if (entry) {
      if (entry->value->kind != YamlKind::sequence)
        throw Error(
            entry->value->location,
            fmt::format("without must be a list of layers, as in [conv3, conv4], not {}", describe(*entry->value)));
      for (const YamlPtr& item : entry->value->items)
        without.emplace(text_of(*item, "without"), item->location);
    }
    for (const std::string& name : asked_without)
      without.emplace(name, Location());
    if (asked_without.empty())
      return;
    if (entry)
      throw Error(entry->key_location,
                  fmt::format("the file has a `without:` already: {} belongs into it", fmt::join(asked_without, ", ")));
    Source amended = *network.source;
    const std::string list = fmt::format("without: [{}]", fmt::join(asked_without, ", "));
    const bool flow = amended.text.compare(offset_of(root.location), 1, "{") == 0;
    if (flow)
      amended.text.insert(offset_of(root.location) + 1, list + ", ");
    else
      amended.text += fmt::format("\n{}{}\n", std::string(static_cast<size_t>(root.location.column - 1), ' '), list);
    network.source = std::make_shared<Source>(std::move(amended));
  }

  static size_t offset_of(const Location& where)
  {
    size_t at = 0;
    for (int line = 1; line < where.line; ++line)
      at = where.source->text.find('\n', at) + 1;
    return std::min(at + static_cast<size_t>(where.column - 1), where.source->text.size());
  }

  void read_output(const YamlPtr& node)
  {
    outputs.clear(); // the last layer
    for (const YamlPtr& item : items_of(node, "output")) {
      const std::string& name = text_of(*item, "output");
      const auto found = expansion.value_of.find(name);
      if (found == expansion.value_of.end()) {
        std::vector<std::string> known;
        for (const auto& [word, value] : expansion.value_of)
          known.push_back(word);
        unknown_word(item->location, fmt::format("the output '{}' is no layer", name), name, known);
      }
      outputs.push_back({found->second, item->location});
    }
    if (outputs.empty())
      throw Error(node->location, "output is empty: leave the key out for the last layer");
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

  bool is_user_op(const std::string& name) const
  {
    return std::any_of(user_ops.begin(), user_ops.end(), [&](const UserOp& op) { return op.name == name; });
  }

  const OpDef* op_of(const std::string& name, const Location& where, UserOp*& user_op)
  {
    for (UserOp& op : user_ops)
      if (op.name == name) {
        op.used = true;
        user_op = &op;
        return &op_formula;
      }
    std::vector<std::string> known;
    for (const UserOp& op : user_ops)
      known.push_back(op.name);
    for (const BlockDef& block : blocks)
      known.push_back(block.name);
    for (const OpDef* def : op_table()) {
      if (def->is_internal)
        continue;
      if (def->is_loss || def->is_optimizer) {
        if (def->name == name)
          throw Error(where, fmt::format("{} is no layer: it belongs into `train: {{{}: {}}}`", def->name,
                                         def->is_loss ? "loss" : "optimizer", def->name));
        continue;
      }
      if (def->name == name)
        return def;
      known.push_back(def->name);
    }
    unknown_word(where, fmt::format("unknown op '{}'", name), name, known);
  }

  void read_layers(const YamlNode& node)
  {
    if (node.kind != YamlKind::sequence)
      throw Error(node.location, fmt::format("layers must be a list, not {}", describe(node)));
    if (node.items.empty())
      throw Error(node.location, "layers is empty: a network has at least one");
    const auto has_parameters = [&](const std::string& op) {
      const OpDef* def = is_user_op(op) ? nullptr : find_op(op);
      return def && !def->parameters.empty();
    };
    expansion =
        expand(node, inputs, blocks, without, has_parameters, [&](const FlatLayer& layer) { read_layer(layer); });
    if (layers.empty())
      throw Error(node.location, "the network computes nothing: no layer is left");
    outputs = {{expansion.last, layers.back().where}};
  }

  void read_layer(const FlatLayer& flat)
  {
    UserOp* user_op = nullptr;
    LayerSpec layer;
    layer.def = op_of(flat.op, flat.op_where, user_op);
    layer.op = flat.op;
    layer.name = flat.name;
    layer.where = flat.where;
    layer.uses = flat.uses;
    layer.rate = flat.rate;
    Attributes given = user_op ? user_op->attributes : Attributes{};
    const YamlNode* weights = nullptr;
    for (const YamlEntry& entry : flat.attributes) {
      if (std::find(layer_keys.begin(), layer_keys.end(), entry.key) == layer_keys.end())
        given[entry.key] = attribute_of(*entry.value, attribute_def(layer, entry, user_op != nullptr));
      else
        read_layer_key(layer, entry);
      if (entry.key == "weights")
        weights = entry.value.get();
    }
    // Masks of two such layers must differ.
    for (const AttributeDef& attribute : layer.def->attributes)
      if (attribute.name == "salt" && layer.def->training_only && !given.contains("salt"))
        given["salt"] = ++salts;
    layer.attributes = check_attributes(*layer.def, given, true, layer.where);
    if (weights)
      check_weights(layer, *weights);
    if (user_op)
      layer.text_where = user_op->text_where;
    read_sources(layer, flat);
    layers.push_back(std::move(layer));
  }

  // As many as the op takes.
  static void read_sources(LayerSpec& layer, const FlatLayer& flat)
  {
    size_t wanted = 0;
    bool variadic = false;
    for (const OperandSpec& operand : input_specs(*layer.def, layer.attributes))
      if (is_data_operand(*layer.def, operand)) {
        variadic = variadic || operand.variadic;
        wanted += operand.variadic ? 0 : 1;
      }
    const std::string label = fmt::format("{} '{}'", layer.op, layer.name);
    const std::string count = variadic ? fmt::format("at least {}", wanted + 1) : fmt::format("{}", wanted);
    layer.from = flat.from;
    if (layer.from.empty()) {
      if (wanted > 1 || variadic)
        throw Error(layer.where, fmt::format("{} reads {} tensors: name them with `from: [a, b]`", label,
                                             variadic ? "several" : count));
      if (wanted == 0)
        return;
      if (flat.above.empty())
        throw Error(layer.where, flat.unclear);
      layer.from.push_back({flat.above, layer.where});
    }
    if (variadic ? layer.from.size() <= wanted : layer.from.size() != wanted)
      throw Error(layer.from[std::min(wanted, layer.from.size() - 1)].where,
                  fmt::format("{} reads {} tensor{}, `from:` names {}", label, count, count == "1" ? "" : "s",
                              layer.from.size()));
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
    if (entry.key == "freeze") {
      if (boolean_of(value, "freeze"))
        layer.rate = 0;
    } else if (entry.key == "learning_rate") {
      const double rate = real_of(value, "learning_rate", 0, 1e6);
      layer.rate *= rate;
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

  void collect_warnings()
  {
    std::set<std::string, std::less<>> read;
    for (const LayerSpec& layer : layers)
      for (const NameAt& from : layer.from)
        read.insert(from.name);
    for (const NameAt& output : outputs)
      read.insert(output.name);
    for (const InputSpec& input : inputs)
      if (!read.contains(input.name))
        network.warnings.push_back({input.where, fmt::format("no layer reads the input '{}'", input.name)});
    for (const UserOp& op : user_ops)
      if (!op.used)
        network.warnings.push_back({op.where, fmt::format("no layer uses the op '{}'", op.name)});
    for (const BlockDef& block : blocks)
      if (!block.used)
        network.warnings.push_back({block.where, fmt::format("no layer uses the block '{}'", block.name)});
    // A block's layer says it once.
    std::set<std::pair<int, int>> said;
    for (const LayerSpec& layer : layers)
      if (!read.contains(layer.name) && said.emplace(layer.where.line, layer.where.column).second)
        network.warnings.push_back(
            {layer.where, fmt::format("nothing reads {} '{}': it is left out", layer.op, layer.name)});
    said.clear();
    for (const Op& op : network.forward.ops) {
      std::vector<std::optional<TensorType>> types;
      for (const int input : op.inputs)
        types.push_back(input < 0 ? std::nullopt
                                  : std::optional(network.forward.values[static_cast<size_t>(input)].type));
      const bool fresh = said.emplace(op.location.line, op.location.column).second;
      for (const std::string& hint : fresh ? hints(*op.def, types, op.attributes) : std::vector<std::string>())
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

Network read_yaml(const std::shared_ptr<const Source>& source, const std::vector<std::string>& without)
{
  return Reader(source, without).read();
}

} // namespace cnnc
