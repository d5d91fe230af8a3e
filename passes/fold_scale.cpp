// A factor for each channel that follows from parameters alone goes into the weights of the sum before it.
//
//   %c = conv2d %x, @w                          %w.scaled = formula @w, %scale {"y[o,c,i,j] = w[o,c,i,j] * scale[o]"}
//   %y = formula %c, %scale, %shift {    =>     %y = formula %x, %w.scaled, %shift {"y[n,o,h,w] = first[o]
//       "y[n,o,h,w] = c[n,o,h,w] * scale[o]         y[n,o,h,w] += x[...] * weight[...]"}
//                     + shift[o]"}
//
// The new op follows from parameters alone and is prepared. Any op will do whose result is a sum of products with a
// parameter that has the channel as a subscript: y += x * w, o in both. Where a first value stands already (a bias), the
// new one is its product with the factor, plus the summand.
//
// The weights are kept twice from then on, so only where the multiplication that it saves is some of the work: sums of
// few terms, depthwise convolutions among them.
//
// Needs:  split_prepared, no dead op.
// Leaves: forward: no such factor behind a sum of few terms that nobody else reads.
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"
#include "passes/prepared.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

constexpr int64_t most_terms = 256;

// e = factor * x + summand, neither of which reads x; a null pointer is 0.
struct Linear {
  ExprPtr factor, summand;
};

ExprPtr times(const ExprPtr& a, const ExprPtr& b)
{
  return a && b ? call(Fn::mul, {a, b}) : nullptr;
}

ExprPtr sum_of(const ExprPtr& a, const ExprPtr& b)
{
  return a && b ? call(Fn::add, {a, b}) : a ? a : b;
}

ExprPtr negative(const ExprPtr& a)
{
  return a ? call(Fn::neg, {a}) : nullptr;
}

std::optional<Linear> linear_in(const ExprPtr& e, int x)
{
  if (!reads(*e, x))
    return Linear{nullptr, e};
  if (e->fn == Fn::read)
    return Linear{constant(1, e->type), nullptr};
  std::vector<Linear> args;
  for (const ExprPtr& arg : e->args) {
    std::optional<Linear> of = linear_in(arg, x);
    if (!of)
      return std::nullopt;
    args.push_back(*of);
  }
  switch (e->fn) {
  case Fn::neg: return Linear{negative(args[0].factor), negative(args[0].summand)};
  case Fn::add: return Linear{sum_of(args[0].factor, args[1].factor), sum_of(args[0].summand, args[1].summand)};
  case Fn::sub:
    return Linear{sum_of(args[0].factor, negative(args[1].factor)), sum_of(args[0].summand, negative(args[1].summand))};
  case Fn::mul: {
    const size_t other = args[0].factor ? 1 : 0;
    if (args[other].factor)
      return std::nullopt;
    return Linear{times(args[1 - other].factor, args[other].summand),
                  times(args[1 - other].summand, args[other].summand)};
  }
  case Fn::div:
    if (args[1].factor)
      return std::nullopt;
    return Linear{call(Fn::div, {args[0].factor, args[1].summand}),
                  args[0].summand ? call(Fn::div, {args[0].summand, args[1].summand}) : nullptr};
  default: return std::nullopt;
  }
}

// The reads of a product; nothing where it is none.
bool factors_of(const Expr& e, std::vector<const Expr*>& reads)
{
  if (e.fn == Fn::read) {
    reads.push_back(&e);
    return true;
  }
  return (e.fn == Fn::mul || e.fn == Fn::neg) &&
         std::all_of(e.args.begin(), e.args.end(), [&](const ExprPtr& arg) { return factors_of(*arg, reads); });
}

std::set<int> indices_of(const ExprPtr& e)
{
  std::set<int> indices;
  if (e)
    for_each(*e, [&](const Expr& part) {
      for (const Affine& at : part.at)
        for (const Affine::Term& term : at.terms)
          indices.insert(term.index);
    });
  return indices;
}

struct Made {
  Op op; // without its output
  TensorType type;
};

// A formula of one statement that is put together here: its inputs are values of the graph.
class Maker {
public:
  explicit Maker(const Graph& graph) : graph(graph) {}

  // `e`, over tensors of `from` that are inputs of `op`, with its indices renumbered.
  ExprPtr take(const ExprPtr& e, const Op& op, const Formula& from, const std::function<Affine(const Affine&)>& to)
  {
    return transform(map_affine(e, to), [&](const ExprPtr& part) {
      return part->fn == Fn::read ? read(input(operand_of(op, from, part->tensor)), part->type, part->at) : part;
    });
  }

  int input(int value)
  {
    const auto number = static_cast<int>(std::find(inputs.begin(), inputs.end(), value) - inputs.begin());
    if (number == static_cast<int>(inputs.size()))
      inputs.push_back(value);
    return number;
  }

  int value(int input) const { return inputs[static_cast<size_t>(input)]; }

  // y[i0,i1,...] = value
  Made op(const std::string& name, const Shape& shape, ExprPtr value, const Location& where) const
  {
    Formula formula;
    for (const int v : inputs) {
      formula.input_numbers.push_back(static_cast<int>(formula.tensors.size()));
      formula.tensors.push_back(
          {fmt::format("x{}", formula.tensors.size()), Role::input, graph.values[static_cast<size_t>(v)].type});
    }
    Statement s;
    s.target = static_cast<int>(formula.tensors.size());
    for (size_t d = 0; d < shape.size(); ++d) {
      s.indices.push_back({fmt::format("i{}", d), shape[d]});
      s.at.push_back(Affine::of(static_cast<int>(d)));
    }
    const TensorType type{value->type, shape};
    formula.tensors.push_back({"y", Role::output, type});
    s.value = std::move(value);
    order_indices(s);
    formula.statements.push_back(std::move(s));
    Op made{.def = &op_formula, .name = name, .inputs = inputs, .location = where};
    made.attributes = attributes_of(formula);
    return {std::move(made), type};
  }

private:
  const Graph& graph;
  std::vector<int> inputs;
};

class Folder {
public:
  Folder(Graph& graph, Remarks& remarks) : graph(graph), remarks(remarks) {}

  void run()
  {
    // What follows from parameters alone needs nothing of the rest.
    const std::vector<bool> steady_before = steady_values(graph);
    std::stable_partition(graph.ops.begin(), graph.ops.end(),
                          [&](const Op& op) { return steady_before[static_cast<size_t>(op.outputs.at(0))]; });
    compact(graph);
    for (size_t o = 0; o < graph.ops.size(); ++o)
      if (fold(o))
        --o; // what stands there now
  }

private:
  const Value& value(int v) const { return graph.values[static_cast<size_t>(v)]; }

  // The scaling op `number` and the sum before it; false where it stays.
  bool fold(size_t number)
  {
    const Op scaling = graph.ops[number];
    const std::vector<bool> steady = steady_values(graph);
    if (scaling.outputs.size() != 1 || steady[static_cast<size_t>(scaling.outputs[0])])
      return false;
    const Formula second = formula_of(graph, scaling);
    if (second.statements.size() != 1 || second.statements[0].update != Update::assign)
      return false;
    const Statement& s = second.statements[0];
    int x = -1;
    for (int t = 0; t < static_cast<int>(second.tensors.size()); ++t)
      if (second.tensors[static_cast<size_t>(t)].role == Role::input &&
          !steady[static_cast<size_t>(operand_of(scaling, second, t))]) {
        if (x >= 0)
          return false;
        x = t;
      }
    if (x < 0)
      return false;
    const int sum = operand_of(scaling, second, x);
    if (!is_plain(s, second, x) || !is_only_reader(number, sum))
      return false;
    const std::optional<Linear> linear = linear_in(s.value, x);
    if (!linear || !linear->factor || indices_of(linear->factor).empty())
      return false;
    return fold_into(static_cast<size_t>(value(sum).op), number, second, *linear, steady);
  }

  // y[i0,i1,...] = ... x[i0,i1,...] ..., of one type, and no index as a value.
  bool is_plain(const Statement& s, const Formula& formula, int x) const
  {
    const TensorType& type = formula.tensors[static_cast<size_t>(s.target)].type;
    bool plain = is_complete(s, type.shape) && formula.tensors[static_cast<size_t>(x)].type == type &&
                 is_float(type.dtype) &&
                 std::all_of(s.at.begin(), s.at.end(), [](const Affine& at) { return at.bare() >= 0; });
    for_each(*s.value, [&](const Expr& e) {
      plain = plain && e.type == type.dtype && e.fn != Fn::index && e.fn != Fn::inside &&
              (e.fn != Fn::read || e.tensor != x || e.at == s.at);
      if (e.fn == Fn::read && e.tensor != x)
        plain = plain && is_inside(e.at, formula.tensors[static_cast<size_t>(e.tensor)].type.shape, s.indices);
    });
    return plain;
  }

  bool is_only_reader(size_t number, int v) const
  {
    if (value(v).kind != ValueKind::result ||
        std::find(graph.outputs.begin(), graph.outputs.end(), v) != graph.outputs.end())
      return false;
    for (size_t o = 0; o < graph.ops.size(); ++o)
      if (o != number &&
          std::find(graph.ops[o].inputs.begin(), graph.ops[o].inputs.end(), v) != graph.ops[o].inputs.end())
        return false;
    return true;
  }

  bool fold_into(size_t number, size_t scaling_number, const Formula& second, const Linear& linear,
                 const std::vector<bool>& steady)
  {
    const Op op = graph.ops[number], scaling = graph.ops[scaling_number];
    const Statement& s = second.statements[0];
    if (op.outputs.size() != 1)
      return false;
    Formula formula = formula_of(graph, op);
    const auto is_steady = [&](int t) {
      return formula.tensors[static_cast<size_t>(t)].role == Role::input &&
             steady[static_cast<size_t>(operand_of(op, formula, t))];
    };
    const int y = formula.statements.back().target;
    const Shape& shape = formula.tensors[static_cast<size_t>(y)].type.shape;
    std::vector<int> dim_of(s.indices.size()); // of the scaling's indices
    for (size_t d = 0; d < s.at.size(); ++d)
      dim_of[static_cast<size_t>(s.at[d].bare())] = static_cast<int>(d);

    // The statements: perhaps a first value, then sums.
    const Statement* first = nullptr;
    int weight = -1;
    std::vector<int> weight_dim(shape.size(), -1); // of each dimension that the factor subscripts
    for (const Statement& t : formula.statements) {
      if (t.target != y || t.tap >= 0)
        return false;
      if (t.update == Update::assign) {
        if (&t != &formula.statements.front() || !is_first_value(t, shape, is_steady))
          return false;
        first = &t;
        continue;
      }
      if (t.update != Update::sum || terms(t) > most_terms)
        return false;
      std::vector<const Expr*> factors;
      if (!factors_of(*t.value, factors))
        return false;
      const Expr* found = nullptr;
      for (const Expr* e : factors) {
        if (!is_steady(e->tensor) || (weight >= 0 && e->tensor != weight))
          continue;
        std::vector<int> dims(shape.size(), -1);
        bool fits = true;
        for (const int index : indices_of(linear.factor)) {
          const auto d = static_cast<size_t>(dim_of[static_cast<size_t>(index)]);
          for (size_t k = 0; k < e->at.size(); ++k)
            if (e->at[k] == t.at[d] && weight_shape(formula, e->tensor)[k] == shape[d])
              dims[d] = static_cast<int>(k);
          fits = fits && dims[d] >= 0;
        }
        if (!fits || (weight >= 0 && dims != weight_dim))
          continue;
        if (found)
          return false; // twice in one product
        found = e;
        weight = e->tensor;
        weight_dim = dims;
      }
      if (!found ||
          std::count_if(factors.begin(), factors.end(), [&](const Expr* e) { return e->tensor == weight; }) != 1)
        return false;
    }
    if (weight < 0)
      return false;

    const std::string name = value(scaling.outputs[0]).name;
    // The weights, scaled.
    Maker scaled(graph);
    const int old_weight = operand_of(op, formula, weight);
    std::vector<Affine> all;
    for (size_t d = 0; d < weight_shape(formula, weight).size(); ++d)
      all.push_back(Affine::of(static_cast<int>(d)));
    const ExprPtr old = read(scaled.input(old_weight), value(old_weight).type.dtype, all);
    const ExprPtr factor = scaled.take(linear.factor, scaling, second, [&](const Affine& a) {
      return renumber(a, [&](int i) { return weight_dim[static_cast<size_t>(dim_of[static_cast<size_t>(i)])]; });
    });
    const int new_weight = insert(scaled.op(value(old_weight).name + ".scaled", weight_shape(formula, weight),
                                            call(Fn::mul, {old, factor}), scaling.location),
                                  number, scaling_number);
    // The first value.
    Start start;
    if (first || linear.summand) {
      std::set<int> dims;
      for (const ExprPtr& e : {linear.summand, first ? linear.factor : nullptr})
        for (const int index : indices_of(e))
          dims.insert(dim_of[static_cast<size_t>(index)]);
      std::vector<int> dim_of_first;
      if (first) {
        dim_of_first.assign(first->indices.size(), -1);
        for (size_t d = 0; d < first->at.size(); ++d)
          dim_of_first[static_cast<size_t>(first->at[d].bare())] = static_cast<int>(d);
        for (const int index : indices_of(first->value))
          dims.insert(dim_of_first[static_cast<size_t>(index)]);
      }
      start.dims.assign(dims.begin(), dims.end());
      const auto place = [&](int dim) {
        return static_cast<int>(std::find(start.dims.begin(), start.dims.end(), dim) - start.dims.begin());
      };
      const auto by = [&](const std::vector<int>& of) {
        return
            [&, of](const Affine& a) { return renumber(a, [&](int i) { return place(of[static_cast<size_t>(i)]); }); };
      };
      Maker begin(graph);
      if (first)
        start.value = call(Fn::mul, {begin.take(first->value, op, formula, by(dim_of_first)),
                                     begin.take(linear.factor, scaling, second, by(dim_of))});
      if (linear.summand)
        start.value = sum_of(start.value, begin.take(linear.summand, scaling, second, by(dim_of)));
      Shape its;
      for (const int dim : start.dims)
        its.push_back(shape[static_cast<size_t>(dim)]);
      if (start.value->fn == Fn::read && is_whole(*start.value, its, value(begin.value(start.value->tensor)).type))
        start.tensor = begin.value(start.value->tensor);
      else if (start.value->fn != Fn::constant)
        start.tensor = insert(begin.op(name + ".first", its, start.value, scaling.location), number, scaling_number);
    }
    if (first)
      formula.statements.erase(formula.statements.begin());
    rewrite(number, scaling_number, std::move(formula), weight, new_weight, start);
    return true;
  }

  // The sum's first value: a number, or a tensor with these of the result's dimensions; nothing: zero.
  struct Start {
    ExprPtr value;
    int tensor = -1;
    std::vector<int> dims;
  };

  // x[i0,i1,...], all of it.
  static bool is_whole(const Expr& read, const Shape& shape, const TensorType& type)
  {
    bool whole = type.shape == shape;
    for (size_t d = 0; d < read.at.size(); ++d)
      whole = whole && read.at[d].bare() == static_cast<int>(d);
    return whole;
  }

  // Ahead of op `number`, which moves on, as the other one does. Returns its result.
  int insert(Made made, size_t& number, size_t& other)
  {
    const int result = graph.add_value({.name = made.op.name, .type = made.type, .location = made.op.location});
    made.op.outputs = {result};
    graph.ops.insert(graph.ops.begin() + static_cast<std::ptrdiff_t>(number), std::move(made.op));
    ++number;
    ++other;
    return result;
  }

  // The sum reads the new weights and starts from the new value; its result is the scaling's.
  void rewrite(size_t number, size_t scaling_number, Formula formula, int weight, int new_weight, const Start& start)
  {
    Op& op = graph.ops[number];
    const Op scaling = graph.ops[scaling_number];
    const int y = formula.statements.back().target;
    const TensorType type = formula.tensors[static_cast<size_t>(y)].type;
    std::vector<int> inputs = op.inputs;
    size_t input = 0;
    for (int t = 0; t < static_cast<int>(formula.tensors.size()); ++t)
      if (formula.tensors[static_cast<size_t>(t)].role == Role::input) {
        if (t == weight)
          formula.input_numbers[input] = static_cast<int>(inputs.size());
        ++input;
      }
    inputs.push_back(new_weight);
    if (start.value) {
      Statement s;
      s.target = y;
      for (size_t d = 0; d < type.shape.size(); ++d) {
        s.indices.push_back({fmt::format("i{}", d), type.shape[d]});
        s.at.push_back(Affine::of(static_cast<int>(d)));
      }
      s.value = start.value;
      if (start.tensor >= 0) {
        std::string name = "first";
        while (formula.find(name) >= 0)
          name += "_";
        std::vector<Affine> at;
        for (const int dim : start.dims)
          at.push_back(Affine::of(dim));
        s.value = read(static_cast<int>(formula.tensors.size()), type.dtype, at);
        formula.input_numbers.push_back(static_cast<int>(inputs.size()));
        formula.tensors.push_back({name, Role::input, value(start.tensor).type});
        inputs.push_back(start.tensor);
      }
      formula.statements.insert(formula.statements.begin(), std::move(s));
    }
    remove_dead(formula); // inputs first
    remarks.add(scaling.location, fmt::format("{} is a factor in {}'s weights", value(scaling.outputs[0]).name,
                                              value(op.outputs[0]).name));
    if (op.name.empty())
      op.name = value(op.outputs[0]).name;
    op.def = &op_formula;
    op.attributes = attributes_of(formula);
    op.inputs.clear();
    for (const int n : formula.input_numbers)
      op.inputs.push_back(inputs[static_cast<size_t>(n)]);
    op.outputs = scaling.outputs;
    graph.ops.erase(graph.ops.begin() + static_cast<std::ptrdiff_t>(scaling_number));
    compact(graph);
  }

  static const Shape& weight_shape(const Formula& formula, int t)
  {
    return formula.tensors[static_cast<size_t>(t)].type.shape;
  }

  // y[i0,i1,...] = what follows from parameters alone, for every image alike.
  template<class Steady>
  static bool is_first_value(const Statement& s, const Shape& shape, Steady is_steady)
  {
    bool good =
        is_complete(s, shape) && std::all_of(s.at.begin(), s.at.end(), [](const Affine& at) { return at.bare() >= 0; });
    for_each(*s.value, [&](const Expr& e) {
      good = good && e.fn != Fn::index && e.fn != Fn::inside && e.fn != Fn::cast &&
             (e.fn != Fn::read || is_steady(e.tensor));
    });
    return good;
  }

  static int64_t terms(const Statement& s)
  {
    int64_t count = 1;
    for (size_t i = 0; i < s.indices.size(); ++i)
      if (!s.is_output_index(static_cast<int>(i)))
        count = s.indices[i].extent.batch ? most_terms + 1 : std::min(most_terms + 1, count * s.indices[i].extent.size);
    return count;
  }

  Graph& graph;
  Remarks& remarks;
};

} // namespace

void fold_scale(Program& program, const Target&, Remarks& remarks)
{
  if (Graph* forward = forward_of(program))
    Folder(*forward, remarks).run();
}

} // namespace cnnc
