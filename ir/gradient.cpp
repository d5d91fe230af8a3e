// statements, last to first:  T[f] += E  =>  dR[g] += dT[f] * dE/dR   for each read R[g] of E
#include "ir/gradient.h"

#include "ir/subscripts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace cnnc {

namespace {

// What is left of a formula when nothing dead remains, with the origin of each input that does.
Gradient prune(Formula formula, const std::vector<std::optional<Gradient::Operand>>& origin,
               const std::function<int(int tensor)>& input_of)
{
  formula.input_numbers.assign(formula.tensors.size(), 0);
  Gradient gradient;
  std::vector<int> old = remove_dead(formula);
  for (size_t t = 0; t < old.size(); t++)
    if (formula.tensors[t].role == Role::input)
      gradient.operands.push_back(*origin[old[t]]);
    else if (formula.tensors[t].role == Role::output)
      gradient.wanted.push_back(input_of(old[t]));
  formula.input_numbers.clear();
  for (size_t i = 0; i < gradient.operands.size(); i++)
    formula.input_numbers.push_back(static_cast<int>(i));
  gradient.formula = std::move(formula);
  return gradient;
}

// Tensors beside the forward formula's own are appended behind them, so that a forward number stays valid; the
// formula's tensors are put in order at the end.
class Reverse {
public:
  Reverse(const Formula& forward, const std::vector<int>& wanted, const std::vector<bool>& have_adjoint,
          const Location& where)
      : forward(forward),
        where(where),
        adjoint(forward.tensors.size(), -1),
        active(forward.tensors.size()),
        again(forward.statements.size())
  {
    result.tensors = forward.tensors;
    for (size_t i = 0; i < forward.statements.size(); i++)
      if (forward.tensors[forward.statements[i].target].role == Role::local)
        again[i] = forward.statements[i];
    origin.resize(forward.tensors.size());
    int inputs = 0, outputs = 0;
    for (size_t t = 0; t < forward.tensors.size(); t++) {
      FormulaTensor& tensor = result.tensors[t];
      bool is_differentiable = is_float(tensor.type.dtype);
      if (tensor.role == Role::input) {
        origin[t] = {Gradient::From::input, forward.input_numbers[inputs++]};
        active[t] = is_differentiable && std::find(wanted.begin(), wanted.end(), origin[t]->number) != wanted.end();
      } else if (tensor.role == Role::output) {
        tensor.role = Role::input;
        origin[t] = {Gradient::From::output, outputs};
        if (is_differentiable && outputs < static_cast<int>(have_adjoint.size()) && have_adjoint[outputs]) {
          adjoint[t] = add("d" + tensor.name, Role::input, tensor.type);
          origin.push_back(Gradient::Operand{Gradient::From::adjoint, outputs});
        }
        outputs++;
      }
    }
    origin.resize(result.tensors.size());
  }

  Gradient run()
  {
    for (const Statement& s : forward.statements)
      if (is_float(forward.tensors[s.target].type.dtype) && reads_active(s))
        active[s.target] = true;
    check();
    for (size_t i = forward.statements.size(); i-- > 0;)
      reverse(i);
    return finish();
  }

private:
  const Formula& forward;
  const Location& where;
  Formula result; // statements: the adjoints
  std::vector<std::optional<Gradient::Operand>> origin;
  std::vector<int> adjoint;                    // of a forward tensor: the tensor that holds it, or none so far
  std::vector<bool> active;                    // depends on a wanted input
  std::vector<std::optional<Statement>> again; // forward statements as far as they are computed again: locals and taps

  int add(std::string name, Role role, TensorType type)
  {
    while (result.find(name) >= 0)
      name += "_";
    result.tensors.push_back({std::move(name), role, std::move(type)});
    return static_cast<int>(result.tensors.size()) - 1;
  }

  [[noreturn]] void refuse(const Statement& s, const std::string& why) const
  {
    throw Error(where, fmt::format("no gradient for `{}`: {}", to_string(s, forward), why));
  }

  bool reads_active(const Statement& s) const
  {
    bool found = false;
    for_each(*s.value, [&](const Expr& e) { found = found || (e.fn == Fn::read && active[e.tensor]); });
    return found;
  }

  // What the rule above takes for granted.
  void check() const
  {
    for (size_t i = 0; i < forward.statements.size(); i++) {
      const Statement& s = forward.statements[i];
      const std::string& name = forward.tensors[s.target].name;
      for (size_t j = 0; j <= i; j++) {
        const Statement& before = forward.statements[j];
        if (reads(*before.value, s.target))
          refuse(s, fmt::format("{} is read before it is complete", name));
        if (j == i || before.target != s.target || !active[s.target] || s.update == Update::sum)
          continue;
        if (s.update != Update::assign && (before.update != s.update || !never_meet(before, s)))
          refuse(s, fmt::format("{} has other terms, which may win", name));
        if (s.update == Update::assign && before.value->fn != Fn::constant && !never_meet(before, s))
          refuse(s, fmt::format("{} has other terms, which it replaces", name));
      }
      for (size_t index = 0; active[s.target] && s.update == Update::assign && index < s.indices.size(); index++)
        if (!s.is_output_index(static_cast<int>(index)) && s.indices[index].extent != Dim{1, false})
          refuse(s, fmt::format("it assigns again for each {}", s.indices[index].name));
    }
  }

  void reverse(size_t number)
  {
    const Statement& s = forward.statements[number];
    if (adjoint[s.target] < 0 || !reads_active(s))
      return;
    ExprPtr incoming = read(adjoint[s.target], result.tensors[adjoint[s.target]].type.dtype, s.at);
    if (s.update == Update::max || s.update == Update::min)
      incoming = routed(number, incoming);

    struct Part {
      ExprPtr read, adjoint;
    };
    std::vector<Part> parts;
    propagate(
        s.value, incoming, [&](int t) -> bool { return active[t]; },
        [&](const ExprPtr& e, const ExprPtr& value) {
          for (Part& part : parts)
            if (equal(*part.read, *e)) {
              part.adjoint = call(Fn::add, {part.adjoint, value});
              return;
            }
          parts.push_back({e, value});
        });
    for (const Part& part : parts)
      emit(s, *part.read, part.adjoint);
  }

  // The adjoint where this term won, else zero. A maximum that keeps no tap is taken again.
  ExprPtr routed(size_t number, const ExprPtr& incoming)
  {
    const Statement& s = forward.statements[number];
    std::optional<Affine> position = tap_position(s);
    if (!position)
      refuse(s, "the batch is not its first reduced index");
    int64_t winners = 1;
    bool batch = false;
    for (size_t i = 0; i < s.indices.size(); i++)
      if (!s.is_output_index(static_cast<int>(i))) {
        winners *= s.indices[i].extent.size;
        batch = batch || s.indices[i].extent.batch;
      }
    int winner = s.tap;
    if (winner < 0) {
      DType type = batch || winners > (int64_t{1} << 31) ? DType::i64 : winners > 256 ? DType::i32 : DType::u8;
      const FormulaTensor target = result.tensors[s.target];
      Statement with_tap = s;
      // An output's values are there already; only the tap is new.
      with_tap.target = target.role == Role::local ? s.target : add(target.name + "_again", Role::local, target.type);
      with_tap.tap = winner = add(target.name + "_tap", Role::local, {type, target.type.shape});
      again[number] = std::move(with_tap);
    }
    DType type = result.tensors[winner].type.dtype;
    ExprPtr wins = call(Fn::equal, {read(winner, type, s.at), cast(type, index_value(*position))});
    return call(Fn::select, {wins, incoming, constant(0, incoming->type)});
  }

  void emit(const Statement& s, const Expr& to, ExprPtr value)
  {
    if (is_output_value(s))
      value =
          transform(value, [&](const ExprPtr& e) { return equal(*e, *s.value) ? read(s.target, e->type, s.at) : e; });
    value = guarded(s, to, value);

    Statement d;
    d.at = to.at;
    d.value = value;
    d.indices = s.indices;
    d.target = adjoint_of(to.tensor);
    const FormulaTensor& target = result.tensors[d.target];
    if (d.value->type != target.type.dtype)
      d.value = cast(target.type.dtype, d.value);
    bool reads_inside = true;
    for_each(*d.value, [&](const Expr& e) {
      if (e.fn == Fn::read && !e.checked)
        reads_inside = reads_inside && is_inside(e.at, result.tensors[e.tensor].type.shape, d.indices);
    });
    bool is_first = std::none_of(result.statements.begin(), result.statements.end(),
                                 [&](const Statement& other) { return other.target == d.target; });
    d.update = is_first && reads_inside && is_complete(d, target.type.shape) ? Update::assign : Update::sum;
    order_indices(d);
    result.statements.push_back(std::move(d));
  }

  // The output holds just what this term says: it can be read instead.
  bool is_output_value(const Statement& s) const
  {
    return s.update == Update::assign && !s.value->args.empty() && forward.tensors[s.target].role == Role::output &&
           is_complete(s, forward.tensors[s.target].type.shape) &&
           std::count_if(forward.statements.begin(), forward.statements.end(),
                         [&](const Statement& other) { return other.target == s.target; }) == 1;
  }

  // A term that was skipped has no adjoint. What the adjoint itself reads and writes outside is skipped too; the rest
  // of the condition is spelled out.
  ExprPtr guarded(const Statement& s, const Expr& to, const ExprPtr& value) const
  {
    std::vector<Affine> pairs;
    auto need = [&](const Shape& shape, const std::vector<Affine>& at) {
      bool implied = shape == result.tensors[to.tensor].type.shape && at == to.at;
      for_each(*value, [&](const Expr& e) {
        implied =
            implied || (e.fn == Fn::read && !e.checked && result.tensors[e.tensor].type.shape == shape && e.at == at);
      });
      for (size_t d = 0; !implied && d < at.size(); d++)
        if (!is_inside(at[d], shape[d], s.indices)) {
          pairs.push_back(at[d]);
          pairs.push_back(shape[d].batch ? Affine::of(batch_index, shape[d].size) : Affine(shape[d].size));
        }
    };
    need(result.tensors[s.target].type.shape, s.at);
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn == Fn::read && !e.checked)
        need(result.tensors[e.tensor].type.shape, e.at);
    });
    return pairs.empty() ? value : call(Fn::select, {inside(pairs), value, constant(0, value->type)});
  }

  // Where the adjoint of a forward tensor is summed up.
  int adjoint_of(int t)
  {
    const FormulaTensor tensor = forward.tensors[t];
    if (tensor.role == Role::input || tensor.role == Role::local) {
      if (adjoint[t] < 0)
        adjoint[t] = add("d" + tensor.name, tensor.role == Role::input ? Role::output : Role::local, tensor.type);
      return adjoint[t];
    }
    // An output that the formula itself reads: what came from outside is the first term.
    if (adjoint[t] >= 0 && result.tensors[adjoint[t]].role == Role::local)
      return adjoint[t];
    int outer = adjoint[t];
    adjoint[t] = add("d" + tensor.name + "_sum", Role::local, tensor.type);
    if (outer >= 0) {
      Statement copy;
      copy.target = adjoint[t];
      for (size_t d = 0; d < tensor.type.shape.size(); d++) {
        copy.indices.push_back({fmt::format("i{}", d), tensor.type.shape[d]});
        copy.at.push_back(Affine::of(static_cast<int>(d)));
      }
      copy.value = read(outer, tensor.type.dtype, copy.at);
      result.statements.push_back(std::move(copy));
    }
    return adjoint[t];
  }

  Gradient finish()
  {
    std::vector<Statement> statements;
    for (std::optional<Statement>& s : again)
      if (s)
        statements.push_back(std::move(*s));
    std::move(result.statements.begin(), result.statements.end(), std::back_inserter(statements));
    result.statements = std::move(statements);
    inline_locals(result);
    return prune(std::move(result), origin, [&](int t) {
      for (size_t i = 0; i < adjoint.size(); i++)
        if (adjoint[i] == t && forward.tensors[i].role == Role::input)
          return origin[i]->number;
      throw InternalError("a gradient that nobody wants");
    });
  }
};

// The inputs that a row's own text names with a `d` before them.
bool names(std::string_view text, std::string_view word)
{
  auto is_part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1))
    if ((at == 0 || !is_part(text[at - 1])) && (at + word.size() == text.size() || !is_part(text[at + word.size()])))
      return true;
  return false;
}

Gradient bind_row(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs, const Attributes& attributes,
                  const Formula& forward, const std::string& text, int wanted, const std::vector<bool>& have_adjoint,
                  const Location& where)
{
  std::vector<BoundInput> operands;
  std::vector<Gradient::Operand> origins;
  auto operand = [&](OperandSpec spec, std::optional<TensorType> type, Gradient::From from, size_t number) {
    spec.dtype = type ? std::optional(type->dtype) : std::nullopt;
    operands.push_back({std::move(spec), std::move(type)});
    origins.push_back({from, static_cast<int>(number)});
  };
  const std::vector<OperandSpec> specs = input_specs(def, attributes);
  for (size_t i = 0; i < inputs.size(); i++)
    operand(specs[i], inputs[i], Gradient::From::input, i);
  size_t output = 0;
  for (const FormulaTensor& tensor : forward.tensors)
    if (tensor.role == Role::output) {
      OperandSpec any;
      any.name = tensor.name;
      any.any_rank = true;
      operand(any, tensor.type, Gradient::From::output, output);
      any.name = "d" + tensor.name;
      any.optional = true;
      operand(any, output < have_adjoint.size() && have_adjoint[output] ? std::optional(tensor.type) : std::nullopt,
              Gradient::From::adjoint, output);
      output++;
    }
  std::vector<OperandSpec> outputs;
  for (size_t i = 0; i < inputs.size(); i++)
    if (OperandSpec spec = operands[i].spec; inputs[i] && names(text, "d" + spec.name)) {
      spec.name = "d" + spec.name;
      spec.optional = false;
      outputs.push_back(std::move(spec));
    }
  Formula bound = bind_formula(text, operands, outputs, symbols_of(def, attributes), where);

  std::vector<std::optional<Gradient::Operand>> origin(bound.tensors.size());
  size_t next = 0;
  const std::string name = "d" + operands[wanted].spec.name;
  for (size_t t = 0; t < bound.tensors.size(); t++) {
    FormulaTensor& tensor = bound.tensors[t];
    if (tensor.role == Role::input)
      origin[t] = origins[bound.input_numbers[next++]];
    else if (tensor.role == Role::output && tensor.name != name)
      tensor.role = Role::local;
    else if (tensor.role == Role::output && tensor.type != *inputs[wanted])
      throw InternalError(fmt::format("{}: {} is {} by its text, but the input is {}", def.name, name,
                                      to_string(tensor.type), to_string(*inputs[wanted])));
  }
  return prune(std::move(bound), origin, [&](int) { return wanted; });
}

} // namespace

Gradient derive(const Formula& forward, const std::vector<int>& wanted, const std::vector<bool>& have_adjoint,
                const Location& where)
{
  return Reverse(forward, wanted, have_adjoint, where).run();
}

std::vector<Gradient> gradients_of(const OpDef& def, const std::vector<std::optional<TensorType>>& inputs,
                                   const Attributes& attributes, const std::vector<int>& wanted,
                                   const std::vector<bool>& have_adjoint, const Location& where)
{
  std::vector<Gradient> result;
  if (!def.no_gradient.empty())
    return result;
  Formula forward = bind(def, inputs, attributes, where);
  std::string text = gradient_text(def, inputs, attributes);
  for (int input : wanted) {
    Gradient gradient = text.empty() ? derive(forward, {input}, have_adjoint, where)
                                     : bind_row(def, inputs, attributes, forward, text, input, have_adjoint, where);
    if (!gradient.wanted.empty())
      result.push_back(std::move(gradient));
  }
  return result;
}

} // namespace cnnc
