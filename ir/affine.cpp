#include "ir/affine.h"

#include <algorithm>

namespace cnnc {

Affine Affine::of(int index, int64_t factor)
{
  Affine a;
  if (factor != 0)
    a.terms.push_back({index, factor});
  return a;
}

int64_t Affine::factor(int index) const
{
  for (const Term& term : terms)
    if (term.index == index)
      return term.factor;
  return 0;
}

int Affine::bare() const
{
  return constant == 0 && terms.size() == 1 && terms[0].factor == 1 ? terms[0].index : -2;
}

Affine Affine::without(int index) const
{
  Affine a = *this;
  std::erase_if(a.terms, [&](const Term& term) { return term.index == index; });
  return a;
}

Affine& Affine::operator+=(const Affine& other)
{
  constant += other.constant;
  for (const Term& term : other.terms) {
    auto at = std::lower_bound(terms.begin(), terms.end(), term.index,
                               [](const Term& t, int index) { return t.index < index; });
    if (at == terms.end() || at->index != term.index)
      terms.insert(at, term);
    else if ((at->factor += term.factor) == 0)
      terms.erase(at);
  }
  return *this;
}

Affine& Affine::operator-=(const Affine& other)
{
  return *this += other * -1;
}

Affine& Affine::operator*=(int64_t by)
{
  constant *= by;
  if (by == 0)
    terms.clear();
  for (Term& term : terms)
    term.factor *= by;
  return *this;
}

Affine substitute(const Affine& a, int index, const Affine& by)
{
  int64_t factor = a.factor(index);
  return factor == 0 ? a : a.without(index) + by * factor;
}

Affine renumber(const Affine& a, const std::function<int(int)>& to)
{
  Affine result = a.constant;
  for (const Affine::Term& term : a.terms)
    result += Affine::of(to(term.index), term.factor);
  return result;
}

Interval range(const Affine& a, const std::function<Interval(int)>& of_index)
{
  Interval result{a.constant, a.constant};
  for (const Affine::Term& term : a.terms) {
    Interval of = of_index(term.index);
    int64_t lo = of.lo * term.factor, hi = of.hi * term.factor;
    result.lo += std::min(lo, hi);
    result.hi += std::max(lo, hi);
  }
  return result;
}

int64_t evaluate(const Affine& a, const std::function<int64_t(int)>& of_index)
{
  int64_t result = a.constant;
  for (const Affine::Term& term : a.terms)
    result += term.factor * of_index(term.index);
  return result;
}

std::string to_string(const Affine& a, const std::function<std::string(int)>& name)
{
  std::string text;
  for (const Affine::Term& term : a.terms) {
    int64_t factor = term.factor;
    if (!text.empty())
      text += factor < 0 ? " - " : " + ";
    else if (factor < 0)
      text += "-";
    factor = factor < 0 ? -factor : factor;
    text += factor == 1 ? name(term.index) : std::to_string(factor) + "*" + name(term.index);
  }
  if (text.empty())
    return std::to_string(a.constant);
  if (a.constant != 0)
    text += (a.constant < 0 ? " - " : " + ") + std::to_string(a.constant < 0 ? -a.constant : a.constant);
  return text;
}

} // namespace cnnc
