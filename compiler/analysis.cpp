#include "compiler/analysis.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

namespace {

int64_t saturated(int64_t a, int64_t b, bool times)
{
  int64_t result;
  return (times ? __builtin_mul_overflow(a, b, &result) : __builtin_add_overflow(a, b, &result)) ? INT64_MAX : result;
}

bool has_read(const Expr& e)
{
  bool found = false;
  for_each(e, [&](const Expr& part) { found = found || part.fn == Fn::read; });
  return found;
}

bool multiplies_reads(const Expr& e)
{
  bool found = false;
  for_each(e, [&](const Expr& part) {
    found = found || (part.fn == Fn::mul && has_read(*part.args[0]) && has_read(*part.args[1]));
  });
  return found;
}

// For each dimension the elements that are needed; nothing: none are.
using Box = std::optional<std::vector<Interval>>;

void include(Box& box, const std::vector<Interval>& more)
{
  if (!box) {
    box = more;
    return;
  }
  for (size_t d = 0; d < more.size(); ++d)
    (*box)[d] = {std::min((*box)[d].lo, more[d].lo), std::max((*box)[d].hi, more[d].hi)};
}

// i*25 + j*5 + k = 62 is i = 2, j = 2, k = 2: digits, where each index stays below the next factor.
void narrow_to_point(const Affine& at, int64_t point, std::vector<Interval>& ranges)
{
  std::vector<Affine::Term> terms = at.terms;
  std::sort(terms.begin(), terms.end(), [](const auto& a, const auto& b) { return a.factor > b.factor; });
  int64_t rest = point - at.constant, reach = 0;
  for (size_t k = terms.size(); k-- > 0;) {
    if (terms[k].index < 0 || terms[k].factor <= reach)
      return; // two indices can give one place: all of them are needed
    reach += terms[k].factor * ranges[static_cast<size_t>(terms[k].index)].hi;
  }
  std::vector<Interval> digits;
  for (const Affine::Term& term : terms) {
    digits.push_back({rest / term.factor, rest / term.factor});
    rest %= term.factor;
  }
  for (size_t k = 0; k < terms.size(); ++k) {
    Interval& range = ranges[static_cast<size_t>(terms[k].index)];
    range = {std::max(range.lo, digits[k].lo), std::min(range.hi, digits[k].hi)};
  }
}

// Which indices' values a statement runs through when only `box` of its target is wanted.
std::vector<Interval> index_ranges(const Statement& statement, const std::vector<Interval>& box)
{
  std::vector<Interval> ranges;
  for (const Index& index : statement.indices)
    ranges.push_back({0, index.extent.size - 1});
  for (size_t d = 0; d < statement.at.size(); ++d) {
    const Affine& at = statement.at[d];
    if (box[d].lo == box[d].hi && at.terms.size() > 1)
      narrow_to_point(at, box[d].lo, ranges);
    // factor * i + constant in the box, where nothing else stands in the subscript.
    if (at.terms.size() != 1 || at.terms[0].factor < 1 || at.terms[0].index < 0)
      continue;
    const auto [index, factor] = at.terms[0];
    Interval& range = ranges[static_cast<size_t>(index)];
    range.lo = std::max(range.lo, ceil_div(box[d].lo - at.constant, factor));
    range.hi = std::min(range.hi, floor_div(box[d].hi - at.constant, factor));
  }
  return ranges;
}

// From what is needed of a formula's outputs to what is needed of its inputs: statements backwards.
void spread(const Formula& formula, std::vector<Box>& boxes)
{
  for (size_t s = formula.statements.size(); s-- > 0;) {
    const Statement& statement = formula.statements[s];
    Box wanted = boxes[static_cast<size_t>(statement.target)];
    if (statement.tap >= 0 && boxes[static_cast<size_t>(statement.tap)])
      include(wanted, *boxes[static_cast<size_t>(statement.tap)]);
    if (!wanted)
      continue;
    const std::vector<Interval> ranges = index_ranges(statement, *wanted);
    if (std::any_of(ranges.begin(), ranges.end(), [](const Interval& r) { return r.lo > r.hi; }))
      continue;
    for_each(*statement.value, [&](const Expr& part) {
      if (part.fn != Fn::read)
        return;
      const Shape& shape = formula.tensors[static_cast<size_t>(part.tensor)].type.shape;
      std::vector<Interval> read;
      for (size_t d = 0; d < part.at.size(); ++d) {
        Interval r = range(part.at[d], [&](int index) {
          return index == batch_index ? Interval{0, 0} : ranges[static_cast<size_t>(index)];
        });
        r = {std::max<int64_t>(r.lo, 0), std::min(r.hi, shape[d].size - 1)};
        if (r.lo > r.hi)
          return; // wholly in the border
        read.push_back(r);
      }
      include(boxes[static_cast<size_t>(part.tensor)], read);
    });
  }
}

class Fields {
public:
  explicit Fields(const Graph& graph) : graph(graph)
  {
    for (const Op& op : graph.ops)
      formulas.push_back(formula_of(graph, op));
  }

  const Formula& formula(size_t op) const { return formulas[op]; }

  // What one element in the middle of the op's first result needs of every value.
  void find(size_t op, OpCost& cost) const
  {
    std::vector<Box> needed(graph.values.size());
    // The middle of a flattened picture is no middle: ask what it flattens.
    const int result = graph.ops[op].def->is_view ? graph.ops[op].inputs[0] : graph.ops[op].outputs[0];
    std::vector<Interval> middle;
    for (const Dim& dim : graph.values[static_cast<size_t>(result)].type.shape)
      middle.push_back({dim.size / 2, dim.size / 2});
    needed[static_cast<size_t>(result)] = middle;
    for (size_t at = op + 1; at-- > 0;)
      through(graph.ops[at], formulas[at], needed);
    for (const int input : values_of(graph, ValueKind::input))
      if (const Box& box = needed[static_cast<size_t>(input)]) {
        cost.field_input = input;
        const Shape& shape = graph.values[static_cast<size_t>(input)].type.shape;
        for (size_t d = 0; d < shape.size(); ++d)
          if (!shape[d].batch)
            cost.field.push_back((*box)[d].hi - (*box)[d].lo + 1);
        return;
      }
  }

private:
  const Graph& graph;
  std::vector<Formula> formulas;

  static void through(const Op& op, const Formula& formula, std::vector<Box>& needed)
  {
    std::vector<Box> boxes(formula.tensors.size());
    bool any = false;
    size_t output = 0, input = 0;
    for (size_t t = 0; t < formula.tensors.size(); ++t)
      if (formula.tensors[t].role == Role::output) {
        boxes[t] = output < op.outputs.size() ? needed[static_cast<size_t>(op.outputs[output])] : Box();
        any = any || boxes[t];
        ++output;
      }
    if (!any)
      return;
    spread(formula, boxes);
    for (size_t t = 0; t < formula.tensors.size(); ++t)
      if (formula.tensors[t].role == Role::input) {
        const int value = op.inputs[static_cast<size_t>(formula.input_numbers[input++])];
        if (boxes[t] && value >= 0)
          include(needed[static_cast<size_t>(value)], *boxes[t]);
      }
  }
};

bool is_learnt(const OpDef& def, const std::string& operand)
{
  for (const ParameterDef& parameter : def.parameters)
    if (parameter.name == operand)
      return parameter.is_learnt;
  return true;
}

// Each parameter at its first reader.
std::vector<OpCost> parameter_costs(const Graph& graph)
{
  std::vector<OpCost> costs;
  std::vector<bool> counted(graph.values.size(), false);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    OpCost cost;
    cost.op = static_cast<int>(i);
    const Op& op = graph.ops[i];
    const std::vector<OperandSpec> operands = input_specs(*op.def, op.attributes);
    for (size_t k = 0; k < op.inputs.size(); ++k) {
      const int input = op.inputs[k];
      if (input < 0 || graph.values[static_cast<size_t>(input)].kind != ValueKind::parameter ||
          counted[static_cast<size_t>(input)])
        continue;
      counted[static_cast<size_t>(input)] = true;
      const bool learnt = k >= operands.size() || is_learnt(*op.def, operands[k].name);
      (learnt ? cost.parameters : cost.statistics) += elements(graph.values[static_cast<size_t>(input)].type.shape);
    }
    costs.push_back(std::move(cost));
  }
  return costs;
}

} // namespace

int64_t multiply_adds(const Formula& formula)
{
  int64_t total = 0;
  for (const Statement& statement : formula.statements) {
    if (statement.update != Update::sum || !multiplies_reads(*statement.value))
      continue;
    int64_t points = 1;
    for (const Index& index : statement.indices)
      points = saturated(points, index.extent.size, true);
    total = saturated(total, points, false);
  }
  return total;
}

std::vector<OpCost> costs_of(const Graph& graph)
{
  const Fields fields(graph);
  std::vector<OpCost> costs = parameter_costs(graph);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    costs[i].multiply_adds = multiply_adds(fields.formula(i));
    const TensorType& type = graph.values[static_cast<size_t>(graph.ops[i].outputs[0])].type;
    costs[i].bytes = graph.ops[i].def->is_view ? 0 : elements(type.shape) * bytes_of(type.dtype);
    fields.find(i, costs[i]);
  }
  return costs;
}

int64_t parameters_of(const Graph& graph)
{
  int64_t total = 0;
  for (const OpCost& cost : parameter_costs(graph))
    total += cost.parameters;
  return total;
}

std::string field_text(const Graph& graph, const OpCost& cost)
{
  if (cost.field.empty())
    return "-";
  std::vector<int64_t> whole;
  for (const Dim& dim : graph.values[static_cast<size_t>(cost.field_input)].type.shape)
    if (!dim.batch)
      whole.push_back(dim.size);
  if (cost.field == whole && cost.field.size() > 1 &&
      std::vector(whole.begin() + 1, whole.end()) != std::vector<int64_t>(whole.size() - 1, 1))
    return "all";
  // A picture's channels are not a place.
  const size_t first = cost.field.size() > 1 ? 1 : 0;
  return fmt::format("{}", fmt::join(cost.field.begin() + static_cast<std::ptrdiff_t>(first), cost.field.end(), " x "));
}

} // namespace cnnc
