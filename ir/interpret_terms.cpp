#include "ir/interpret_terms.h"

#include "ir/random.h"

namespace cnnc {

TermSteps::TermSteps(const Expr& e, const Context& context)
{
  add(e, context);
}

int TermSteps::add(const Expr& e, const Context& context)
{
  Step step{e.fn, e.type, e.type};
  for (size_t i = 0; i < e.args.size(); ++i)
    step.args[i] = add(*e.args[i], context);
  if (!e.args.empty())
    step.of = e.args.back()->type;
  std::vector<Lane> lane(lanes);
  if (e.fn == Fn::constant) {
    for (Lane& l : lane)
      if (is_float(e.type))
        l.real = e.value;
      else
        l.integer = to_integer(e.value);
  } else if (e.fn == Fn::index) {
    step.walker = context.walker(e.at[0]);
  } else if (e.fn == Fn::inside) {
    for (const Affine& a : e.at)
      step.pairs.push_back(context.walker(a));
  } else if (e.fn == Fn::read) {
    step.walker = context.offset(e);
    step.from = context.numbers(e.tensor);
    const std::vector<int64_t> extents = e.checked ? context.extents(e) : std::vector<int64_t>();
    for (size_t d = 0; d < extents.size(); ++d) {
      step.pairs.push_back(context.walker(e.at[d]));
      step.pairs.push_back(context.walker(extents[d]));
    }
  }
  steps.push_back(std::move(step));
  values.push_back(std::move(lane));
  return static_cast<int>(steps.size()) - 1;
}

const TermSteps::Lane* TermSteps::run(const Walkers& walkers, int64_t first, int count)
{
  for (size_t s = 0; s < steps.size(); ++s)
    run(steps[s], values[s], walkers, first, count);
  return values.back().data();
}

void TermSteps::run(const Step& s, std::vector<Lane>& to, const Walkers& walkers, int64_t first, int count)
{
  auto arg = [&](int i) { return values[static_cast<size_t>(s.args[i])].data(); };
  auto at = [&](int walker, int k) {
    auto w = static_cast<size_t>(walker);
    return walkers.now[w] + (first + k) * walkers.step[w];
  };
  auto is_inside = [&](int k) {
    bool inside = true;
    for (size_t p = 0; p < s.pairs.size(); p += 2) {
      int64_t subscript = at(s.pairs[p], k);
      inside = inside && 0 <= subscript && subscript < at(s.pairs[p + 1], k);
    }
    return inside;
  };
  const Lane *a = arg(0), *b = arg(1), *c = arg(2); // of step 0 where there are fewer: never looked at
  bool real = is_float(s.of);
  switch (s.fn) {
  case Fn::constant: return;
  case Fn::index:
    for (int k = 0; k < count; ++k)
      to[k].integer = at(s.walker, k);
    return;
  case Fn::read:
    if (!s.pairs.empty())
      for (int k = 0; k < count; ++k) {
        if (!is_inside(k))
          to[k] = real ? Lane{.real = 0} : Lane{.integer = 0};
        else if (real)
          to[k].real = s.from->reals[static_cast<size_t>(at(s.walker, k))];
        else
          to[k].integer = s.from->integers[static_cast<size_t>(at(s.walker, k))];
      }
    else if (real)
      for (int k = 0; k < count; ++k)
        to[k].real = s.from->reals[static_cast<size_t>(at(s.walker, k))];
    else
      for (int k = 0; k < count; ++k)
        to[k].integer = s.from->integers[static_cast<size_t>(at(s.walker, k))];
    return;
  case Fn::inside:
    for (int k = 0; k < count; ++k)
      to[k].integer = is_inside(k);
    return;
  case Fn::cast:
    for (int k = 0; k < count; ++k)
      if (is_float(s.type))
        to[k].real = real ? a[k].real : static_cast<double>(a[k].integer);
      else
        to[k].integer = real ? to_integer(cast_value(s.type, a[k].real)) : wrap(a[k].integer, s.type);
    return;
  case Fn::random:
    for (int k = 0; k < count; ++k)
      to[k].real = random_unit(static_cast<uint64_t>(a[k].integer), static_cast<uint64_t>(b[k].integer));
    return;
  case Fn::select:
    for (int k = 0; k < count; ++k)
      to[k] = a[k].integer != 0 ? b[k] : c[k];
    return;
  default: break;
  }
  if (real && s.fn == Fn::add) {
    for (int k = 0; k < count; ++k)
      to[k].real = a[k].real + b[k].real;
  } else if (real && s.fn == Fn::sub) {
    for (int k = 0; k < count; ++k)
      to[k].real = a[k].real - b[k].real;
  } else if (real && s.fn == Fn::mul) {
    for (int k = 0; k < count; ++k)
      to[k].real = a[k].real * b[k].real;
  } else if (real) {
    for (int k = 0; k < count; ++k) {
      double args[2] = {a[k].real, b[k].real};
      double result = apply(s.fn, args);
      if (is_float(s.type))
        to[k].real = result;
      else
        to[k].integer = result != 0;
    }
  } else {
    for (int k = 0; k < count; ++k) {
      int64_t args[2] = {a[k].integer, b[k].integer};
      to[k].integer = wrap(apply(s.fn, args), s.type);
    }
  }
}

} // namespace cnnc
