// Formula => text that names every range and declares every local, so that reading it back infers nothing.
#include "ir/formula.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

std::string extent(const Dim& d)
{
  return !d.batch ? std::to_string(d.size) : d.size == 1 ? "N" : fmt::format("{}*N", d.size);
}

} // namespace

std::string to_string(const Statement& s, const Formula& formula)
{
  ExprNames names{[&](int t) { return formula.tensors.at(static_cast<size_t>(t)).name; },
                  [&](int i) { return i == batch_index ? "N" : s.indices.at(static_cast<size_t>(i)).name; }};
  std::string text = names.tensor(s.target) + "[";
  for (const Affine& a : s.at)
    text += (text.back() == '[' ? "" : ",") + to_string(a, names.index);
  text += "]";
  if (s.tap >= 0)
    text += ", " + names.tensor(s.tap);
  text += fmt::format(" {} {}", to_string(s.update), to_string(*s.value, names));
  for (size_t i = 0; i < s.indices.size(); ++i)
    text += fmt::format("{} {} < {}", i == 0 ? " where" : ",", s.indices[i].name, extent(s.indices[i].extent));
  return text;
}

std::string to_string(const Formula& formula)
{
  std::string text;
  for (const FormulaTensor& t : formula.tensors) {
    if (t.role != Role::local)
      continue;
    text += fmt::format("{}: {}[", t.name, to_string(t.type.dtype));
    for (size_t d = 0; d < t.type.shape.size(); ++d)
      text += (d == 0 ? "" : ",") + extent(t.type.shape[d]);
    text += "]\n";
  }
  for (const Statement& s : formula.statements)
    text += to_string(s, formula) + "\n";
  if (!text.empty())
    text.pop_back();
  return text;
}

} // namespace cnnc
