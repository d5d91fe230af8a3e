// [0,4,1,5,2,6,3,7]  =>  y[2*q + r] = x[q + 4*r] where q < 4, r < 2
#include "ir/shape_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

bool is_one(const Dim& dim)
{
  return dim == Dim{1, false};
}

// One index that is a digit of a dimension of either side.
struct Digit {
  size_t from, to; // which dimension
  Dim extent;
};

// The rest of a dimension after digits were taken from its inside: nothing where `extent` is no digit of it.
std::optional<Dim> without(const Dim& dim, const Dim& extent)
{
  if (extent.batch)
    return dim == extent ? std::optional(Dim{1, false}) : std::nullopt;
  if (dim.size % extent.size != 0)
    return std::nullopt;
  return Dim{dim.size / extent.size, dim.batch};
}

// The common refinement, outermost digit first; nothing where there is none.
std::optional<std::vector<Digit>> refine(const Shape& from, const Shape& to)
{
  std::vector<Digit> digits;
  size_t f = from.size(), t = to.size();
  Dim rest_from, rest_to;
  while (true) {
    while (is_one(rest_from) && f > 0)
      rest_from = from[--f];
    while (is_one(rest_to) && t > 0)
      rest_to = to[--t];
    if (is_one(rest_from) && is_one(rest_to))
      break;
    // The smaller one; n is larger than any number.
    auto before = [](const Dim& a, const Dim& b) { return a.batch != b.batch ? b.batch : a.size < b.size; };
    Dim extent = before(rest_to, rest_from) ? rest_to : rest_from;
    std::optional<Dim> left_from = without(rest_from, extent), left_to = without(rest_to, extent);
    if (is_one(extent) || !left_from || !left_to)
      return std::nullopt;
    rest_from = *left_from;
    rest_to = *left_to;
    digits.push_back({f, t, extent});
  }
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// Each dimension as the digits that are its own.
Texts as_digits(const std::vector<Digit>& digits, size_t rank, size_t Digit::*side)
{
  Texts result(rank);
  std::vector<int64_t> stride(rank, 1);
  for (size_t k = digits.size(); k-- > 0;) {
    const size_t d = digits[k].*side;
    std::string term = times(fmt::format("i{}", k), stride[d]);
    result[d] = result[d].empty() ? term : term + " + " + result[d];
    stride[d] *= digits[k].extent.size;
  }
  for (std::string& text : result)
    if (text.empty())
      text = "0";
  return result;
}

// All indices as one subscript: the element's number.
std::string flat(const Shape& shape)
{
  std::string text;
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    std::string term = times(fmt::format("i{}", d), stride);
    text = text.empty() ? term : term + " + " + text;
    stride *= shape[d].size;
  }
  return text.empty() ? "0" : text;
}

bool is_batch_outermost(const Shape& shape)
{
  if (!has_batch(shape))
    return true;
  for (const Dim& dim : shape)
    if (dim.batch)
      return true;
    else if (!is_one(dim))
      return false;
  return true;
}

} // namespace

Texts index_names(size_t rank, std::string_view letter)
{
  Texts names;
  for (size_t d = 0; d < rank; ++d)
    names.push_back(fmt::format("{}{}", letter, d));
  return names;
}

std::string list(const Texts& texts)
{
  return fmt::format("{}", fmt::join(texts, ","));
}

std::string extent_text(const Dim& dim)
{
  return dim.batch ? fmt::format("{}*N", dim.size) : std::to_string(dim.size);
}

std::string ranges(const Texts& indices, const Shape& shape)
{
  Texts texts;
  for (size_t d = 0; d < shape.size(); ++d)
    texts.push_back(fmt::format("{} < {}", indices[d], extent_text(shape[d])));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string where(const std::string& ranges)
{
  return ranges.empty() ? "" : " where " + ranges;
}

std::string extents(const Shape& shape)
{
  Texts texts;
  for (const Dim& dim : shape)
    texts.push_back(extent_text(dim));
  return list(texts);
}

std::string plus(int64_t constant)
{
  return constant == 0 ? "" : constant < 0 ? fmt::format(" - {}", -constant) : fmt::format(" + {}", constant);
}

std::string times(std::string_view index, int64_t factor)
{
  return factor == 0 ? "0" : factor == 1 ? std::string(index) : fmt::format("{}*{}", factor, index);
}

std::string behind_channel(std::string_view text, const OpCall& op)
{
  std::string rest, result;
  for (size_t d = 2; d < op.shape(0).size(); ++d)
    rest += fmt::format(",i{}", d);
  for (const char c : text)
    result += c == '@' ? rest : std::string(1, c);
  return result;
}

size_t axis_of(int64_t axis, size_t rank)
{
  const auto count = static_cast<int64_t>(rank);
  if (axis < -count || axis >= count)
    throw Error({}, fmt::format("axis {} of a tensor of {} dimension{}", axis, rank, rank == 1 ? "" : "s"));
  return static_cast<size_t>(axis < 0 ? axis + count : axis);
}

std::vector<size_t> axes_of(const std::vector<int64_t>& axes, size_t rank)
{
  std::vector<size_t> result;
  for (const int64_t axis : axes) {
    result.push_back(axis_of(axis, rank));
    if (std::find(result.begin(), result.end() - 1, result.back()) != result.end() - 1)
      throw Error({}, fmt::format("axis {} is given twice", result.back()));
  }
  return result;
}

std::string reshape_text(const OpCall& op, const Shape& to)
{
  const Shape& from = op.shape(0);
  const std::string& x = op.inputs[0].spec.name;
  int64_t have = 1, want = 1;
  bool overflow = false;
  for (const Dim& dim : from)
    have *= dim.size; // checked when the type was made
  for (const Dim& dim : to)
    overflow = overflow || __builtin_mul_overflow(want, dim.size, &want);
  if (overflow || have != want || has_batch(from) != has_batch(to))
    throw Error({}, fmt::format("{} cannot become {}: the elements are not as many", to_string(from), to_string(to)));
  if (have == 0)
    return fmt::format("y[{}] = {}[{}]{}", list(index_names(to.size())), x, list(Texts(from.size(), "0")),
                       where(ranges(index_names(to.size()), to)));
  if (const auto digits = refine(from, to)) {
    Shape range;
    for (const Digit& digit : *digits)
      range.push_back(digit.extent);
    return fmt::format("y[{}] = {}[{}]{}", list(as_digits(*digits, to.size(), &Digit::to)), x,
                       list(as_digits(*digits, from.size(), &Digit::from)),
                       where(ranges(index_names(range.size()), range)));
  }
  if (!is_batch_outermost(from) || !is_batch_outermost(to))
    throw Error({}, fmt::format("{} cannot become {}: the batch would be mixed with what stands before it",
                                to_string(from), to_string(to)));
  const Texts source = index_names(from.size()), target = index_names(to.size());
  return fmt::format("row: {}[{}]\n"
                     "row[{}] = {}[{}]{}\n"
                     "y[{}] = row[{}]{}",
                     to_string(op.inputs[0].type->dtype), extent_text({have, has_batch(from)}), flat(from), x,
                     list(source), where(ranges(source, from)), list(target), flat(to), where(ranges(target, to)));
}

std::vector<Progression> progressions(const std::vector<int64_t>& values)
{
  std::vector<Progression> runs;
  // First single entries as they follow each other, then runs of equal ones, and so on.
  for (size_t k = 0; k < values.size();) {
    Progression run{static_cast<int64_t>(k), values[k], {}};
    size_t end = k + 1;
    while (end < values.size() && values[k] != no_entry && values[end] != no_entry &&
           (end == k + 1 || values[end] - values[end - 1] == values[k + 1] - values[k]))
      ++end;
    if (end - k > 1)
      run.digits.push_back({static_cast<int64_t>(end - k), 1, values[k + 1] - values[k]});
    if (values[k] != no_entry)
      runs.push_back(run);
    k = end;
  }
  auto is_alike = [](const Progression& a, const Progression& b) {
    return std::equal(a.digits.begin(), a.digits.end(), b.digits.begin(), b.digits.end(), [](auto& x, auto& y) {
      return x.count == y.count && x.step == y.step && x.value_step == y.value_step;
    });
  };
  for (bool changed = true; changed;) {
    changed = false;
    std::vector<Progression> merged;
    for (size_t k = 0; k < runs.size();) {
      Progression run = runs[k];
      size_t end = k + 1;
      while (end < runs.size() && is_alike(runs[k], runs[end]) &&
             runs[end].first - runs[end - 1].first == runs[k + 1].first - run.first &&
             runs[end].start - runs[end - 1].start == runs[k + 1].start - run.start)
        ++end;
      if (end - k > 1) {
        run.digits.insert(run.digits.begin(), {static_cast<int64_t>(end - k), runs[k + 1].first - run.first,
                                               runs[k + 1].start - run.start});
        changed = true;
      }
      merged.push_back(std::move(run));
      k = end;
    }
    runs = std::move(merged);
  }
  if (runs.size() > progression_limit)
    throw Error({},
                fmt::format("{} positions follow no pattern: more than {} pieces", values.size(), progression_limit));
  return runs;
}

std::string gather_text(std::string_view to, std::string_view read, const Shape& shape, size_t axis,
                        const std::vector<int64_t>& from)
{
  std::string text;
  for (const Progression& run : progressions(from)) {
    Texts target = index_names(shape.size()), source = target, range;
    for (size_t d = 0; d < shape.size(); ++d)
      if (d != axis)
        range.push_back(fmt::format("i{} < {}", d, extent_text(shape[d])));
    target[axis] = std::to_string(run.first);
    source[axis] = std::to_string(run.start);
    for (size_t k = 0; k < run.digits.size(); ++k) {
      const Progression::Digit& digit = run.digits[k];
      const std::string index = fmt::format("j{}", k);
      target[axis] += " + " + times(index, digit.step);
      if (digit.value_step != 0)
        source[axis] += (digit.value_step < 0 ? " - " : " + ") + times(index, std::abs(digit.value_step));
      range.push_back(fmt::format("{} < {}", index, digit.count));
    }
    text += fmt::format("{}[{}] = {}[{}]{}\n", to, list(target), read, list(source),
                        where(fmt::format("{}", fmt::join(range, ", "))));
  }
  return text;
}

} // namespace cnnc
