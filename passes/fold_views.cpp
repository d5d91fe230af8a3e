// A view costs nothing: its reader subscripts the tensor behind it.
//
//   %f = flatten %p : f32[n,400]                   %d = formula %p, @w, @b {text = "y[n,o] += p[n,c,h,w] *
//   %d = dense %f, @w, @b : f32[n,120]      =>             w[o,25*c + 5*h + w]"} : f32[n,120]
//
// The view's formula is y[..., c*H*W + h*W + w] = x[..., c, h, w]: a reader's bare index at that place becomes the
// digits c, h, w everywhere in its statement.
//
// Needs:  no kernels yet.
// Leaves: no view whose readers can all do this; the others stay and copy.
#include "passes/formula_op.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

// For each dimension of the view's result: the digits that make its subscript, and which operand dimension each is.
struct View {
  struct Digit {
    int dim; // of the operand
    int64_t factor;
    Dim extent;
    std::string name;
  };
  std::vector<std::vector<Digit>> digits;
};

std::optional<View> view_of(const Graph& graph, const Op& op)
{
  if (!op.def->is_view)
    return std::nullopt;
  Formula formula = formula_of(graph, op);
  if (formula.statements.size() != 1)
    return std::nullopt;
  const Statement& s = formula.statements[0];
  if (s.value->fn != Fn::read)
    return std::nullopt;
  View view;
  for (const Affine& at : s.at) {
    std::vector<View::Digit> digits;
    for (const Affine::Term& term : at.terms)
      for (size_t d = 0; d < s.value->at.size(); d++)
        if (s.value->at[d].bare() == term.index)
          digits.push_back(
              {static_cast<int>(d), term.factor, s.indices[term.index].extent, s.indices[term.index].name});
    if (digits.size() != at.terms.size() || at.constant != 0)
      return std::nullopt;
    std::sort(digits.begin(), digits.end(), [](auto& a, auto& b) { return a.factor > b.factor; });
    view.digits.push_back(digits);
  }
  return view;
}

// The statement with every read of `tensor` going through the view; false where a subscript is no bare index.
bool read_through(Statement& s, int tensor, const View& view, size_t operand_rank)
{
  std::map<int, std::vector<View::Digit>> split; // index -> digits
  bool ok = true;
  for_each(*s.value, [&](const Expr& e) {
    if (e.fn != Fn::read || e.tensor != tensor)
      return;
    for (size_t d = 0; d < view.digits.size(); d++) {
      if (view.digits[d].size() == 1 && view.digits[d][0].factor == 1)
        continue;
      int index = e.at[d].bare();
      int64_t whole = 1;
      for (const View::Digit& digit : view.digits[d])
        whole *= digit.extent.size;
      if (index < 0 || s.indices[index].extent.batch || s.indices[index].extent.size != whole)
        ok = false;
      else
        split[index] = view.digits[d];
    }
  });
  if (!ok)
    return false;
  // Each split index goes; its digits come in its place, so that the order of the reduction stays.
  std::vector<Index> indices;
  std::vector<Affine> becomes(s.indices.size());
  std::map<int, std::vector<int>> digits_of;
  for (size_t i = 0; i < s.indices.size(); i++) {
    auto found = split.find(static_cast<int>(i));
    if (found == split.end()) {
      becomes[i] = Affine::of(static_cast<int>(indices.size()));
      indices.push_back(s.indices[i]);
      continue;
    }
    for (const View::Digit& digit : found->second) {
      std::string name = digit.name;
      auto taken = [&] {
        auto same = [&](const Index& index) { return index.name == name; };
        return std::any_of(indices.begin(), indices.end(), same) ||
               std::any_of(s.indices.begin(), s.indices.end(), same);
      };
      for (int k = 1; taken(); k++)
        name = fmt::format("{}{}", digit.name, k);
      becomes[i] += Affine::of(static_cast<int>(indices.size()), digit.factor);
      digits_of[static_cast<int>(i)].push_back(static_cast<int>(indices.size()));
      indices.push_back({name, digit.extent});
    }
  }
  auto moved = [&](const Affine& a) {
    Affine result = a.constant;
    for (const Affine::Term& term : a.terms)
      result += term.index < 0 ? Affine::of(term.index, term.factor) : becomes[term.index] * term.factor;
    return result;
  };
  ExprPtr value = transform(s.value, [&](const ExprPtr& e) -> ExprPtr {
    if (e->fn != Fn::read || e->tensor != tensor)
      return e;
    std::vector<Affine> at(operand_rank);
    for (size_t d = 0; d < view.digits.size(); d++) {
      const auto& digits = view.digits[d];
      auto found = split.find(e->at[d].bare());
      for (size_t k = 0; k < digits.size(); k++)
        // Still over the old indices, all of which `moved` renumbers: a digit is marked by a number past them.
        at[digits[k].dim] = found == split.end()
                                ? e->at[d]
                                : Affine::of(static_cast<int>(s.indices.size()) + digits_of[found->first][k]);
    }
    return read(e->tensor, e->type, at, e->checked);
  });
  int old = static_cast<int>(s.indices.size());
  auto moved_or_marked = [&](const Affine& a) {
    return a.terms.size() == 1 && a.terms[0].index >= old ? Affine::of(a.terms[0].index - old) : moved(a);
  };
  s.value = map_affine(value, moved_or_marked);
  for (Affine& at : s.at)
    at = moved(at);
  s.indices = indices;
  return true;
}

// The reader as a formula on the view's operand.
bool fold_into(Graph& graph, int reader, int viewed, const View& view, int operand)
{
  Op& op = graph.ops[reader];
  Formula formula = formula_of(graph, op);
  for (size_t t = 0, input = 0; t < formula.tensors.size(); t++) {
    FormulaTensor& tensor = formula.tensors[t];
    if (tensor.role != Role::input)
      continue;
    if (op.inputs[formula.input_numbers[input++]] != viewed)
      continue;
    for (Statement& s : formula.statements)
      if (!read_through(s, static_cast<int>(t), view, graph.values[operand].type.shape.size()))
        return false;
    tensor.type = graph.values[operand].type;
  }
  // Operands of the formula, in its order.
  std::vector<int> inputs;
  for (int number : formula.input_numbers)
    inputs.push_back(op.inputs[number] == viewed ? operand : op.inputs[number]);
  if (op.name.empty())
    op.name = op.def->name;
  op.attributes = attributes_of(formula);
  op.def = &op_formula;
  op.inputs = inputs;
  return true;
}

} // namespace

void fold_views(Graph& graph, const Target&, Remarks& remarks)
{
  for (size_t i = 0; i < graph.ops.size(); i++) {
    std::optional<View> view = view_of(graph, graph.ops[i]);
    if (!view)
      continue;
    int viewed = graph.ops[i].outputs[0], operand = graph.ops[i].inputs[0];
    std::vector<int> users = users_of(graph)[viewed];
    for (int user : users) {
      const Op& reader = graph.ops[user];
      if (!reader.def->is_view && fold_into(graph, user, viewed, *view, operand))
        remarks.add(reader.location, fmt::format("{} reads through {}", reader.name, graph.ops[i].name));
    }
  }
  compact(graph);
}

} // namespace cnnc
