// The text of a graph, read back. Nothing in it is trusted: names, numbers, types and shapes are checked as they come.
#include "ir/graph_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace cnnc {

namespace {

constexpr size_t most_dims = 16;
constexpr size_t most_list = size_t{1} << 20;

struct Parser {
  std::shared_ptr<const Source> source;
  std::string_view text; // up to the part's end
  size_t at;             // the next character; blanks and comments are behind us
  const std::function<int(std::string_view)>& nest_number;

  Graph graph;
  std::unordered_map<std::string, int> values; // by name; those that were declared in the text
  std::unordered_map<std::string, std::shared_ptr<const Source>> sources;
  int kernel = -1; // the open one
  std::vector<std::pair<size_t, std::string>>
      pending; // its arguments, places and names: its own results are not known yet
  std::vector<std::pair<size_t, std::string>> wholes; // what Value::whole numbers until the end is known

  // --- characters ---

  Location place(size_t offset) const
  {
    std::string_view before = text.substr(0, std::min(offset, text.size()));
    size_t line_start = before.rfind('\n') + 1; // npos + 1 is 0
    return {source, static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1,
            static_cast<int>(before.size() - line_start) + 1};
  }

  [[noreturn]] void fail(size_t offset, const std::string& reason) const { throw Error(place(offset), reason); }

  std::string shown() const
  {
    if (at >= text.size())
      return "the end";
    size_t end = at;
    while (end < text.size() && end - at < 24 && !std::isspace(static_cast<unsigned char>(text[end])))
      ++end;
    return fmt::format("'{}'", text.substr(at, std::max<size_t>(1, end - at)));
  }

  [[noreturn]] void fail_wanted(std::string_view wanted) const
  {
    fail(at, fmt::format("{} wanted, found {}", wanted, shown()));
  }

  void skip()
  {
    while (at < text.size()) {
      if (std::isspace(static_cast<unsigned char>(text[at])))
        ++at;
      else if (text[at] == '#')
        at = std::min(text.find('\n', at), text.size());
      else
        break;
    }
  }

  bool is_at(std::string_view what) const { return text.substr(at).starts_with(what); }

  bool take(std::string_view what)
  {
    if (!is_at(what))
      return false;
    at += what.size();
    skip();
    return true;
  }

  void want(std::string_view what)
  {
    if (!take(what))
      fail_wanted(fmt::format("'{}'", what));
  }

  static bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; }

  std::string_view peek_word() const
  {
    size_t end = at;
    while (end < text.size() && in_word(text[end]))
      ++end;
    return text.substr(at, end - at);
  }

  std::string word(std::string_view wanted)
  {
    std::string_view found = peek_word();
    if (found.empty())
      fail_wanted(wanted);
    at += found.size();
    skip();
    return std::string(found);
  }

  bool take_word(std::string_view wanted)
  {
    if (peek_word() != wanted)
      return false;
    at += wanted.size();
    skip();
    return true;
  }

  std::string string()
  {
    size_t start = at;
    if (at >= text.size() || text[at] != '"')
      fail_wanted("a text in quotes");
    std::string result;
    for (++at; at < text.size() && text[at] != '"'; ++at) {
      char c = text[at];
      if (c == '\n')
        break;
      if (c != '\\') {
        result += c;
        continue;
      }
      c = ++at < text.size() ? text[at] : '\0';
      unsigned code = 0;
      if (c == 'n')
        result += '\n';
      else if (c == '"' || c == '\\')
        result += c;
      else if (c == 'x' && at + 2 < text.size() &&
               std::from_chars(&text[at + 1], &text[at + 1] + 2, code, 16).ptr == &text[at + 1] + 2) {
        result += static_cast<char>(code);
        at += 2;
      } else
        fail(at, "\\\", \\\\, \\n or \\xNN wanted");
    }
    if (at >= text.size() || text[at] != '"')
      fail(start, "the text has no closing quote");
    ++at;
    skip();
    return result;
  }

  // letters and digits, or in quotes
  std::string name()
  {
    if (is_at("\""))
      return string();
    return word("a name");
  }

  std::string_view number_text()
  {
    size_t end = at;
    if (end < text.size() && (text[end] == '-' || text[end] == '+'))
      ++end;
    while (end < text.size() &&
           (in_word(text[end]) || ((text[end] == '-' || text[end] == '+') && (text[end - 1] == 'e'))))
      ++end;
    return text.substr(at, end - at);
  }

  AttributeValue number()
  {
    std::string_view token = number_text();
    const char *begin = token.data(), *end = token.data() + token.size();
    int64_t integer = 0;
    double real = 0;
    bool is_integer = token.find_first_not_of("-0123456789") == token.npos;
    auto [stop, error] = is_integer ? std::from_chars(begin, end, integer) : std::from_chars(begin, end, real);
    if (token.empty() || error == std::errc::invalid_argument || stop != end)
      fail_wanted("a number");
    if (error != std::errc())
      fail(at, fmt::format("the number {} is out of range", token));
    at += token.size();
    skip();
    return is_integer ? AttributeValue(integer) : AttributeValue(real);
  }

  int64_t integer(int64_t lowest, int64_t highest)
  {
    size_t start = at;
    AttributeValue value = number();
    const auto* found = std::get_if<int64_t>(&value);
    if (!found)
      fail(start, "an integer wanted");
    if (*found < lowest || *found > highest)
      fail(start, fmt::format("{} is not between {} and {}", *found, lowest, highest));
    return *found;
  }

  double real()
  {
    AttributeValue value = number();
    const auto* integer = std::get_if<int64_t>(&value);
    return integer ? static_cast<double>(*integer) : std::get<double>(value);
  }

  // --- attributes ---

  bool is_number() const
  {
    return at < text.size() &&
           (std::isdigit(static_cast<unsigned char>(text[at])) || text[at] == '-' || is_number_word());
  }
  bool is_number_word() const { return peek_word() == "inf" || peek_word() == "nan"; }

  AttributeValue list()
  {
    std::vector<std::string> texts;
    std::vector<int64_t> integers;
    std::vector<double> reals;
    bool all_integers = true;
    size_t start = at;
    want("[");
    if (take("]"))
      return integers;
    do {
      if (reals.size() + texts.size() >= most_list)
        fail(start, "the list is too long");
      if (is_at("\"")) {
        texts.push_back(string());
        continue;
      }
      AttributeValue value = number();
      if (const auto* integer = std::get_if<int64_t>(&value))
        integers.push_back(*integer);
      else
        all_integers = false;
      reals.push_back(std::holds_alternative<int64_t>(value) ? static_cast<double>(std::get<int64_t>(value))
                                                             : std::get<double>(value));
    } while (take(","));
    want("]");
    if (!texts.empty() && !reals.empty())
      fail(start, "a list of texts or of numbers, not both");
    if (!texts.empty())
      return texts;
    return all_integers ? AttributeValue(integers) : AttributeValue(reals);
  }

  AttributeValue attribute_value()
  {
    if (take_word("true"))
      return true;
    if (take_word("false"))
      return false;
    if (is_at("\""))
      return string();
    if (is_at("["))
      return list();
    if (is_number())
      return number();
    fail_wanted("a value");
  }

  Attributes attributes()
  {
    Attributes result;
    want("{");
    while (!is_at("}")) {
      size_t start = at;
      std::string key = word("an attribute");
      want("=");
      if (!result.emplace(key, attribute_value()).second)
        fail(start, fmt::format("'{}' is given twice", key));
      if (!take(","))
        break;
    }
    want("}");
    return result;
  }

  // --- types and places ---

  Dim dim()
  {
    if (take_word("n"))
      return {1, true};
    Dim result{integer(0, element_limit)};
    if (take("*")) {
      if (!take_word("n"))
        fail_wanted("'n'");
      result.batch = true;
    }
    return result;
  }

  TensorType type()
  {
    size_t start = at;
    std::string found = word("a type");
    std::optional<DType> dtype = parse_dtype(found);
    if (!dtype)
      fail(start, fmt::format("there is no element type '{}'", found));
    TensorType result{*dtype, {}};
    want("[");
    if (!take("]")) {
      do {
        if (result.shape.size() == most_dims)
          fail(at, fmt::format("more than {} dimensions", most_dims));
        result.shape.push_back(dim());
      } while (take(","));
      want("]");
    }
    for (size_t d = 1; d < result.shape.size(); ++d)
      if (result.shape[d].batch)
        fail(start, "the batch is the first dimension");
    try {
      elements(result.shape);
    } catch (const Error& error) {
      fail(start, error.what());
    }
    return result;
  }

  // f32[n,4] as {0, 1} in image 64 below 10, or f32[n,4] in %whole at 8
  void typed(Value& value)
  {
    value.type = type();
    if (take_word("as")) {
      size_t start = at, end = text.find('}', at);
      if (end == text.npos)
        fail(start, "the layout has no end");
      try {
        value.layout = parse_layout(text.substr(start, end + 1 - start));
        cnnc::verify(*value.layout, value.type.shape);
      } catch (const std::invalid_argument& error) {
        fail(start, error.what());
      }
      at = end + 1;
      skip();
    }
    if (take_word("in")) {
      size_t start = at;
      if (take("%")) {
        value.whole = static_cast<int>(wholes.size());
        wholes.emplace_back(start, name());
        if (!take_word("at"))
          fail_wanted("'at'");
        value.whole_at = integer(0, element_limit);
      } else {
        std::string region = word("a region");
        for (Region r : {Region::fixed, Region::image, Region::run, Region::parameter, Region::state, Region::constant})
          if (region == to_string(r))
            value.region = r;
        if (value.region == Region::none)
          fail(start, fmt::format("there is no region '{}'", region));
        value.offset = integer(0, int64_t{1} << 50);
      }
    }
    if (take_word("below"))
      value.limit = integer(1, std::numeric_limits<int64_t>::max());
  }

  Location location()
  {
    if (!take_word("at"))
      return {};
    std::string file = string();
    auto& known = sources[file];
    if (!known)
      known = std::make_shared<const Source>(Source{file, {}});
    Location result{known, 0, 0};
    want(":");
    result.line = static_cast<int>(integer(1, 1 << 30));
    want(":");
    result.column = static_cast<int>(integer(0, 1 << 30));
    return result;
  }

  // --- values ---

  void declare(const std::string& name, int number, size_t start)
  {
    if (name.empty())
      fail(start, "an empty name");
    if (!values.emplace(name, number).second)
      fail(start, fmt::format("'{}' is declared twice", name));
  }

  int add_value(Value value, size_t start)
  {
    declare(value.name, static_cast<int>(graph.values.size()), start);
    graph.values.push_back(std::move(value));
    return static_cast<int>(graph.values.size()) - 1;
  }

  bool is_value() const { return is_at("%") || is_at("@"); }

  int operand()
  {
    size_t start = at;
    char sigil = at < text.size() ? text[at] : '\0';
    if (sigil != '%' && sigil != '@')
      fail_wanted("a value (%name or @name)");
    ++at;
    return resolve(start, name());
  }

  // The value of this name; its sigil stands at `start`.
  int resolve(size_t start, const std::string& called)
  {
    auto found = values.find(called);
    if (found == values.end()) {
      std::vector<std::string> names;
      for (const auto& [known, number] : values)
        names.push_back(known);
      std::sort(names.begin(), names.end());
      std::string meant = nearest(called, names);
      fail(start, fmt::format("there is no value '{}' above{}", called,
                              meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
    }
    ValueKind kind = graph.values[static_cast<size_t>(found->second)].kind;
    char right = sigil(kind);
    if (text[start] != right)
      fail(start, fmt::format("'{}' is written with {}", called, right));
    return found->second;
  }

  void set_element(Tensor& tensor, int64_t i)
  {
    size_t start = at;
    AttributeValue value = number();
    const auto* integer = std::get_if<int64_t>(&value);
    if (tensor.dtype == DType::i64 && integer)
      tensor.data<int64_t>()[i] = *integer;
    else if (!is_float(tensor.dtype) && !integer)
      fail(start, fmt::format("an element of type {} wanted", to_string(tensor.dtype)));
    else
      tensor.set(i, integer ? static_cast<double>(*integer) : std::get<double>(value));
  }

  std::shared_ptr<const Tensor> inline_data(const TensorType& type)
  {
    size_t start = at;
    int64_t count = elements(type.shape);
    if (has_batch(type.shape) || count > inline_limit)
      fail(start, fmt::format("at most {} elements stand in the text", inline_limit));
    std::vector<int64_t> dims;
    for (const Dim& dim : type.shape)
      dims.push_back(dim.size);
    Tensor tensor(type.dtype, dims);
    want("[");
    for (int64_t i = 0; i < count; ++i) {
      if (i > 0)
        want(",");
      set_element(tensor, i);
    }
    if (!take("]"))
      fail(at, fmt::format("{} has {} elements", to_string(type), count));
    return std::make_shared<const Tensor>(std::move(tensor));
  }

  // "zero", "constant(0.05)", "glorot(25,6)"
  std::string initial()
  {
    std::string result = word("first values");
    if (take("(")) {
      result += "(";
      do {
        std::string_view token = number_text();
        number();
        result += (result.back() == '(' ? "" : ",");
        result += token;
      } while (take(","));
      want(")");
      result += ")";
    }
    return result;
  }

  void declaration(ValueKind kind)
  {
    Value value{.kind = kind};
    size_t start = at;
    want(std::string_view(kind == ValueKind::temporary ? "%" : "@"));
    value.name = name();
    want(":");
    typed(value);
    while (kind != ValueKind::temporary && kind != ValueKind::prepared) {
      if (take("=")) {
        if (is_at("["))
          value.data = inline_data(value.type);
        else if (take_word("data"))
          value.data_name = string();
        else if (kind == ValueKind::constant)
          fail_wanted("'[' or data \"name\"");
        else
          value.initial = initial();
      } else if (kind == ValueKind::parameter && take_word("rate")) {
        size_t rate_at = at;
        value.rate = real();
        if (!(value.rate >= 0 && value.rate <= 1e9))
          fail(rate_at, "a rate is zero or more");
      } else
        break;
    }
    if (kind == ValueKind::constant && !value.data && value.data_name.empty())
      fail(start, "a constant wants its data: = [...] or = data \"name\"");
    value.location = location();
    add_value(std::move(value), start);
  }

  // --- ops ---

  void op()
  {
    size_t start = at;
    std::vector<std::pair<std::string, size_t>> results;
    do {
      size_t name_at = at;
      want("%");
      results.emplace_back(name(), name_at);
    } while (take(","));
    want("=");

    size_t def_at = at;
    std::string called = word("an op");
    const OpDef* def = find_op(called);
    if (!def) {
      std::string meant = nearest(called, op_names());
      fail(def_at, fmt::format("there is no op '{}'{}", called,
                               meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
    }
    std::vector<int> inputs;
    if (is_value() || peek_word() == "_")
      do
        inputs.push_back(take_word("_") ? -1 : operand());
      while (take(","));
    Attributes given;
    if (is_at("{"))
      given = attributes();

    std::vector<Value> typed_results;
    std::vector<size_t> type_at;
    want(":");
    do {
      type_at.push_back(at);
      typed(typed_results.emplace_back());
    } while (take(","));
    if (typed_results.size() != results.size())
      fail(type_at[0], fmt::format("{} results and {} types", results.size(), typed_results.size()));

    int number = graph.add_op(*def, results[0].first, std::move(inputs), std::move(given), place(start));
    if (graph.ops.back().outputs.size() < results.size())
      add_kept(graph, number);
    Op& op = graph.ops.back();
    // Either all that the row only keeps for the way back is there, or nothing of it.
    if (op.outputs.size() != results.size())
      fail(start, fmt::format("{} has {} results, found {}", called, op.outputs.size(), results.size()));
    op.name = take_word("named") ? string() : results[0].first;
    op.kernel = kernel;
    op.location = location();
    for (size_t k = 0; k < results.size(); ++k) {
      Value& value = graph.values[static_cast<size_t>(op.outputs[k])];
      if (value.type != typed_results[k].type)
        fail(type_at[k], fmt::format("'{}' is {}, not {}", results[k].first, to_string(value.type),
                                     to_string(typed_results[k].type)));
      value.layout = typed_results[k].layout;
      value.region = typed_results[k].region;
      value.offset = typed_results[k].offset;
      value.whole = typed_results[k].whole;
      value.whole_at = typed_results[k].whole_at;
      value.limit = typed_results[k].limit;
      value.location = op.location;
      value.name = results[k].first;
      declare(value.name, op.outputs[k], results[k].second);
    }
    if (kernel >= 0)
      graph.kernels[static_cast<size_t>(kernel)].ops.push_back(number);
  }

  void kernel_block()
  {
    Kernel added;
    size_t start = at;
    added.name = name();
    for (const Kernel& other : graph.kernels)
      if (other.name == added.name)
        fail(start, fmt::format("kernel '{}' stands twice", added.name));
    if (take("->")) {
      size_t nest_at = at;
      want("@");
      std::string nest = name();
      added.nest = nest_number(nest);
      if (added.nest < 0)
        fail(nest_at, fmt::format("there is no nest '{}'", nest));
      pending.clear();
      want("(");
      if (!take(")")) {
        do {
          size_t name_at = at;
          if (!is_value())
            fail_wanted("a value (%name or @name)");
          ++at;
          pending.emplace_back(name_at, name());
        } while (take(","));
        want(")");
      }
    }
    if (take_word("schedule"))
      added.schedule = attributes();
    kernel = static_cast<int>(graph.kernels.size());
    graph.kernels.push_back(std::move(added));
    want("{");
    if (is_at("}"))
      fail(start, "a kernel without an op");
    while (!take("}"))
      op();
    Kernel& open = graph.kernels[static_cast<size_t>(kernel)];
    if (open.nest >= 0)
      for (const auto& [name_at, called] : pending)
        open.arguments.push_back(resolve(name_at, called));
    kernel = -1;
  }

  void find_whole(Value& part)
  {
    const auto& [start, called] = wholes[static_cast<size_t>(part.whole)];
    part.whole = resolve(start, called);
    if (std::string why = why_no_part(graph, part); !why.empty())
      fail(start, fmt::format("'{}' is no part of '{}': {}", part.name, called, why));
  }

  // --- the rest ---

  void update()
  {
    size_t start = at;
    StateUpdate added;
    added.target = operand();
    want("=");
    added.value = operand();
    const Value &target = graph.values[static_cast<size_t>(added.target)],
                &value = graph.values[static_cast<size_t>(added.value)];
    if (!may_be_updated(target.kind))
      fail(start, fmt::format("'{}' is no parameter, no state and no prepared value", target.name));
    if (target.type != value.type)
      fail(start, fmt::format("'{}' is {}, '{}' is {}", target.name, to_string(target.type), value.name,
                              to_string(value.type)));
    for (const StateUpdate& other : graph.updates) {
      if (other.target == added.target)
        fail(start, fmt::format("'{}' is updated twice", target.name));
      if (other.value == added.value && target.kind == ValueKind::prepared)
        fail(start, fmt::format("'{}' becomes another value already", value.name));
    }
    if (target.kind == ValueKind::prepared && value.kind != ValueKind::result)
      fail(start, fmt::format("'{}' is prepared by an op, not by '{}'", target.name, value.name));
    graph.updates.push_back(added);
  }

  void train()
  {
    size_t start = at;
    if (graph.training)
      fail(start, "'train' stands twice");
    Training training;
    training.loss = operand();
    if (!is_at("{")) {
      graph.training = std::move(training);
      return;
    }
    training.attributes = attributes();
    if (auto found = training.attributes.find("optimizer"); found != training.attributes.end()) {
      const auto* called = std::get_if<std::string>(&found->second);
      training.optimizer = called ? find_op(*called) : nullptr;
      if (!training.optimizer || !training.optimizer->is_optimizer)
        fail(start, fmt::format("there is no optimizer {}", to_string(found->second)));
      training.attributes.erase(found);
    }
    if (auto found = training.attributes.find("gradients"); found != training.attributes.end()) {
      const auto* names = std::get_if<std::vector<std::string>>(&found->second);
      if (!names)
        fail(start, "'gradients' is a list of names");
      for (const std::string& name : *names)
        if (!values.contains(name))
          fail(start, fmt::format("there is no value '{}'", name));
      training.gradients = *names;
      training.attributes.erase(found);
    }
    if (training.optimizer)
      training.attributes = check_attributes(*training.optimizer, training.attributes, false, place(start));
    else if (!training.attributes.empty())
      fail(start, fmt::format("'{}' belongs to an optimizer, and there is none", training.attributes.begin()->first));
    graph.training = std::move(training);
  }

  void precision()
  {
    size_t start = at;
    if (graph.precision)
      fail(start, "'precision' stands twice");
    LowPrecision asked;
    std::optional<DType> type = parse_dtype(word("bf16 or i8"));
    if (type != DType::bf16 && type != DType::i8)
      fail(start, "a lower precision is bf16 or i8");
    asked.type = *type;
    asked.weights_only = take_word("weights");
    graph.precision = std::move(asked);
  }

  void range()
  {
    size_t start = at;
    if (!graph.precision)
      fail(start, "a range stands behind 'precision'");
    want("%");
    std::string of = name();
    want("=");
    if (graph.precision->ranges.contains(of) || graph.precision->wide.contains(of))
      fail(start, fmt::format("the range of '{}' stands twice", of));
    if (take_word("bf16")) {
      if (graph.precision->type != DType::i8)
        fail(start, "a value is bf16 as the others are");
      graph.precision->wide.insert(std::move(of));
      return;
    }
    LowPrecision::Ranges ranges;
    if (!is_at("["))
      ranges.push_back(limits(of));
    else
      do {
        want("[");
        ranges.push_back(limits(of));
        want("]");
      } while (take(","));
    // A value that a pass is still to make has its channels counted by lower_precision.
    if (auto found = values.find(of); found != values.end() && ranges.size() > 1) {
      const Shape& shape = graph.values[static_cast<size_t>(found->second)].type.shape;
      const int64_t channels = shape.size() > 1 ? shape[1].size : 1;
      if (channels != static_cast<int64_t>(ranges.size()))
        fail(start, fmt::format("{} ranges are given for '{}', which has {} channels", ranges.size(), of, channels));
    }
    graph.precision->ranges.emplace(std::move(of), std::move(ranges));
  }

  LowPrecision::Range limits(const std::string& of)
  {
    const size_t start = at;
    LowPrecision::Range range;
    range.low = real();
    want(",");
    range.high = real();
    if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high)
      fail(start, fmt::format("the range of '{}' is empty", of));
    if (take(","))
      range.mean = real();
    if (!std::isfinite(range.mean))
      fail(start, fmt::format("the mean of '{}' is not finite", of));
    return range;
  }

  void item()
  {
    if (is_at("%"))
      op();
    else if (take_word("parameter"))
      declaration(ValueKind::parameter);
    else if (take_word("state"))
      declaration(ValueKind::state);
    else if (take_word("prepared"))
      declaration(ValueKind::prepared);
    else if (take_word("constant"))
      declaration(ValueKind::constant);
    else if (take_word("temporary"))
      declaration(ValueKind::temporary);
    else if (take_word("kernel"))
      kernel_block();
    else if (take_word("output"))
      do
        graph.outputs.push_back(operand());
      while (take(","));
    else if (take_word("update"))
      update();
    else if (take_word("train"))
      train();
    else if (take_word("precision"))
      precision();
    else if (take_word("range"))
      range();
    else if (take_word("workspace")) {
      for (auto [called, bytes] : {std::pair("fixed", &graph.fixed_bytes), std::pair("image", &graph.image_bytes),
                                   std::pair("thread", &graph.thread_bytes)}) {
        if (!take_word(called))
          fail_wanted(fmt::format("'{}'", called));
        *bytes = integer(0, int64_t{1} << 50);
      }
      if (take_word("run"))
        graph.run_bytes = integer(0, int64_t{1} << 50);
    } else
      fail_wanted(
          "an op, parameter, state, prepared, constant, kernel, output, update, train, precision, workspace or '}'");
  }

  Graph net()
  {
    skip();
    if (!take_word("net"))
      fail_wanted("'net'");
    want("@");
    graph.name = name();
    want("(");
    if (!take(")")) {
      do {
        Value value{.kind = ValueKind::input};
        size_t start = at;
        want("%");
        value.name = name();
        want(":");
        typed(value);
        value.location = location();
        add_value(std::move(value), start);
      } while (take(","));
      want(")");
    }
    graph.location = location();
    want("{");
    while (!take("}"))
      item();
    for (Value& value : graph.values)
      if (value.whole >= 0)
        find_whole(value);
    if (at < text.size())
      fail_wanted("the end");
    return std::move(graph);
  }
};

} // namespace

Graph read_graph(const std::shared_ptr<const Source>& source, size_t begin, size_t end,
                 const std::function<int(std::string_view)>& nest_number)
{
  Parser parser{source, std::string_view(source->text).substr(0, end), begin, nest_number, {}, {}, {}, -1, {}, {}};
  return parser.net();
}

Graph parse_graph(const std::shared_ptr<const Source>& source)
{
  // Without its program a graph knows its nests by number only.
  return read_graph(source, 0, source->text.size(), [](std::string_view name) {
    int number = -1;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    return error == std::errc() && end == name.data() + name.size() ? number : -1;
  });
}

} // namespace cnnc
