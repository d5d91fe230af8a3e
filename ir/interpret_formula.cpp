// A formula, statement by statement, each as loops over the box of its indices.
//
// Where a subscript may leave its tensor, the loop of the last index in it is cut to the points that stay inside: that
// skips exactly the terms that read or write outside, and costs nothing further in. The terms of one element come in
// the order of the reduction; the loops over elements may stand anywhere, and so a long one of them goes innermost.
#include "ir/interpret.h"

#include "ir/interpret_terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cnnc {

namespace {

Numbers zeros(DType type, size_t size)
{
  Numbers result;
  result.type = type;
  if (is_float(type))
    result.reals.resize(size);
  else
    result.integers.resize(size);
  return result;
}

Numbers numbers_of(const Tensor& tensor)
{
  auto size = static_cast<size_t>(tensor.size());
  Numbers result = zeros(tensor.dtype, size);
  // The large ones first; `get` asks for the type at each element.
  if (tensor.dtype == DType::f32)
    std::copy_n(tensor.data<float>(), size, result.reals.begin());
  else if (tensor.dtype == DType::f64)
    std::copy_n(tensor.data<double>(), size, result.reals.begin());
  else if (tensor.dtype == DType::i64)
    std::copy_n(tensor.data<int64_t>(), size, result.integers.begin());
  else
    for (size_t i = 0; i < size; ++i)
      if (is_float(tensor.dtype))
        result.reals[i] = tensor.get(static_cast<int64_t>(i));
      else
        result.integers[i] = static_cast<int64_t>(tensor.get(static_cast<int64_t>(i)));
  return result;
}

Tensor tensor_of(const Numbers& numbers, std::vector<int64_t> dims, bool doubles)
{
  Tensor result(doubles && is_float(numbers.type) ? DType::f64 : numbers.type, std::move(dims));
  if (result.dtype == DType::f32)
    std::transform(numbers.reals.begin(), numbers.reals.end(), result.data<float>(),
                   [](double value) { return static_cast<float>(value); });
  else if (result.dtype == DType::f64)
    std::copy(numbers.reals.begin(), numbers.reals.end(), result.data<double>());
  else if (result.dtype == DType::i64)
    std::copy(numbers.integers.begin(), numbers.integers.end(), result.data<int64_t>());
  else
    for (int64_t i = 0, size = result.size(); i < size; ++i)
      result.set(i, is_float(result.dtype) ? numbers.reals[static_cast<size_t>(i)]
                                           : static_cast<double>(numbers.integers[static_cast<size_t>(i)]));
  return result;
}

std::vector<int64_t> dims_of(const Shape& shape, int64_t n)
{
  std::vector<int64_t> dims;
  for (const Dim& d : shape)
    dims.push_back(d.at(n));
  return dims;
}

int64_t lowest(DType type)
{
  switch (type) {
  case DType::i8: return INT8_MIN;
  case DType::i32: return INT32_MIN;
  case DType::i64: return INT64_MIN;
  default: return 0;
  }
}

int64_t highest(DType type)
{
  switch (type) {
  case DType::i8: return INT8_MAX;
  case DType::u8: return UINT8_MAX;
  case DType::i32: return INT32_MAX;
  default: return INT64_MAX;
  }
}

void fill_identity(Numbers& numbers, Update update)
{
  std::fill(numbers.reals.begin(), numbers.reals.end(), identity(update));
  std::fill(numbers.integers.begin(), numbers.integers.end(),
            update == Update::max   ? lowest(numbers.type)
            : update == Update::min ? highest(numbers.type)
                                    : 0);
}

void round_to_type(Numbers& numbers)
{
  if (numbers.type == DType::f32)
    for (double& value : numbers.reals)
      value = static_cast<float>(value);
  if (numbers.type != DType::bf16)
    return;
  Tensor one(DType::bf16, {1});
  for (double& value : numbers.reals) {
    one.set(0, value);
    value = one.get(0);
  }
}

// One statement at one batch.
class Runner {
public:
  Runner(const Statement& s, std::vector<Numbers>& tensors, const std::vector<std::vector<int64_t>>& dims, int64_t n)
      : s(s),
        tensors(tensors),
        dims(dims),
        n(n)
  {
    for (const Index& index : s.indices)
      extents.push_back(index.extent.at(n));
    // Once the walkers know the order of the loops, they know their steps.
    choose_order();
    target_offset = offset(s.target, s.at);
    add_fences(s.target, s.at);
    if (s.tap >= 0)
      tap_number = walker(tap_digits());
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn == Fn::read && !e.checked)
        add_fences(e.tensor, e.at);
    });
    if (s.update == Update::sum && is_float(tensors[static_cast<size_t>(s.target)].type))
      find_product();
    if (!product)
      steps.emplace(*s.value,
                    TermSteps::Context{[this](const Affine& a) { return walker(a); },
                                       [this](const Expr& e) { return offset(e.tensor, e.at); },
                                       [this](int t) { return &this->tensors[static_cast<size_t>(t)]; },
                                       [this](const Expr& e) { return this->dims[static_cast<size_t>(e.tensor)]; }});
  }

  void run()
  {
    if (nothing || std::find(extents.begin(), extents.end(), 0) != extents.end())
      return;
    inner.now = constants;
    inner.step.resize(constants.size());
    if (!order.empty())
      for (size_t w = 0; w < constants.size(); ++w)
        inner.step[w] = factors[w].back();
    run_loop(0);
  }

private:
  const Statement& s;
  std::vector<Numbers>& tensors;
  const std::vector<std::vector<int64_t>>& dims;
  int64_t n;
  std::vector<int64_t> extents; // of the statement's indices
  std::vector<size_t> order;    // of the loops, outermost first

  std::vector<int64_t> constants;            // for each walker
  std::vector<std::vector<int64_t>> factors; // likewise, for each loop
  Walkers inner;

  // 0 <= walker < extent, which the loop `at` must see to.
  struct Fence {
    int walker;
    int64_t extent;
  };
  std::vector<std::vector<Fence>> fences; // for each loop
  bool nothing = false;                   // a subscript that no loop changes is outside

  int target_offset = 0, tap_number = 0;
  std::optional<TermSteps> steps;
  struct Product {
    const double *a, *b;
    int a_offset, b_offset;
  };
  std::optional<Product> product;

  // ---- before the loops ----

  int64_t stride_along(int t, const std::vector<Affine>& at, int index) const
  {
    int64_t stride = 1, result = 0;
    for (size_t d = at.size(); d-- > 0; stride *= dims[static_cast<size_t>(t)][d])
      result += at[d].factor(index) * stride;
    return result;
  }

  // The loops over elements may move where each element has its own left side. The innermost one should be long, with
  // neighbours in memory.
  void choose_order()
  {
    for (size_t i = 0; i < extents.size(); ++i)
      order.push_back(i);
    fences.resize(extents.size());
    Statement elements = s;
    size_t last_reduced = extents.size();
    for (size_t i = 0; i < extents.size(); ++i)
      if (!s.is_output_index(static_cast<int>(i))) {
        elements.indices[i].extent = {1, false};
        last_reduced = i;
      }
    if (order.empty() || !is_injective(elements))
      return;
    size_t best = order.size() - 1;
    double best_score = -1;
    for (size_t i = 0; i < extents.size(); ++i) {
      int index = static_cast<int>(i);
      if (!s.is_output_index(index) && i != last_reduced)
        continue;
      double cost = 1;
      auto add_cost = [&](int64_t stride) { cost += stride == 0 || stride == 1 ? 0 : stride <= 8 ? 0.25 : 1; };
      add_cost(stride_along(s.target, s.at, index));
      for_each(*s.value, [&](const Expr& e) {
        if (e.fn == Fn::read)
          add_cost(stride_along(e.tensor, e.at, index));
      });
      double score = static_cast<double>(std::min<int64_t>(extents[i], TermSteps::lanes)) / cost;
      if (score >= best_score) {
        best_score = score;
        best = i;
      }
    }
    order.erase(order.begin() + static_cast<long>(best));
    order.push_back(best);
  }

  int walker(const Affine& a)
  {
    int64_t constant = a.constant + a.factor(batch_index) * n;
    std::vector<int64_t> own;
    for (size_t index : order)
      own.push_back(a.factor(static_cast<int>(index)));
    for (size_t w = 0; w < constants.size(); ++w)
      if (constants[w] == constant && factors[w] == own)
        return static_cast<int>(w);
    constants.push_back(constant);
    factors.push_back(std::move(own));
    return static_cast<int>(constants.size()) - 1;
  }

  int offset(int t, const std::vector<Affine>& at)
  {
    Affine sum;
    int64_t stride = 1;
    for (size_t d = at.size(); d-- > 0; stride *= dims[static_cast<size_t>(t)][d])
      sum += at[d] * stride;
    return walker(sum);
  }

  Affine tap_digits() const
  {
    Affine number;
    int64_t weight = 1;
    for (size_t i = extents.size(); i-- > 0;)
      if (!s.is_output_index(static_cast<int>(i))) {
        number += Affine::of(static_cast<int>(i), weight);
        weight *= extents[i];
      }
    return number;
  }

  void add_fences(int t, const std::vector<Affine>& at)
  {
    for (size_t d = 0; d < at.size(); ++d) {
      int64_t extent = dims[static_cast<size_t>(t)][d];
      Interval reach = range(at[d], [&](int i) {
        return Interval{0, std::max<int64_t>(extents[static_cast<size_t>(i)] - 1, 0)};
      });
      if (reach.lo >= 0 && reach.hi < extent)
        continue;
      int w = walker(at[d]);
      size_t loop = order.size();
      while (loop > 0 && factors[static_cast<size_t>(w)][loop - 1] == 0)
        --loop;
      if (loop == 0)
        nothing = true; // its only value is outside
      else
        fences[loop - 1].push_back({w, extent});
    }
  }

  void find_product()
  {
    static constexpr double one = 1;
    const Expr& e = *s.value;
    auto is_read = [](const Expr& x) { return x.fn == Fn::read && is_float(x.type) && !x.checked; };
    auto data = [&](const Expr& x) { return tensors[static_cast<size_t>(x.tensor)].reals.data(); };
    if (is_read(e))
      product = {data(e), &one, offset(e.tensor, e.at), walker(0)};
    else if (e.fn == Fn::mul && is_read(*e.args[0]) && is_read(*e.args[1]))
      product = {data(*e.args[0]), data(*e.args[1]), offset(e.args[0]->tensor, e.args[0]->at),
                 offset(e.args[1]->tensor, e.args[1]->at)};
  }

  // ---- the loops ----

  Interval bounds(size_t loop) const
  {
    Interval in{0, extents[order[loop]] - 1};
    for (const Fence& fence : fences[loop]) {
      auto w = static_cast<size_t>(fence.walker);
      int64_t base = inner.now[w], factor = factors[w][loop];
      if (factor > 0) {
        in.lo = std::max(in.lo, ceil_div(-base, factor));
        in.hi = std::min(in.hi, floor_div(fence.extent - 1 - base, factor));
      } else {
        in.lo = std::max(in.lo, ceil_div(base - fence.extent + 1, -factor));
        in.hi = std::min(in.hi, floor_div(base, -factor));
      }
    }
    return in;
  }

  void run_loop(size_t loop)
  {
    if (order.empty())
      return run_innermost({0, 0});
    Interval in = bounds(loop);
    if (in.lo > in.hi)
      return;
    if (loop + 1 == order.size())
      return run_innermost(in);
    for (size_t w = 0; w < constants.size(); ++w)
      inner.now[w] += in.lo * factors[w][loop];
    for (int64_t i = in.lo; i <= in.hi; ++i) {
      run_loop(loop + 1);
      for (size_t w = 0; w < constants.size(); ++w)
        inner.now[w] += factors[w][loop];
    }
    for (size_t w = 0; w < constants.size(); ++w)
      inner.now[w] -= (in.hi + 1) * factors[w][loop];
  }

  void run_innermost(Interval in)
  {
    if (product)
      return add_products(in);
    for (int64_t first = in.lo; first <= in.hi; first += TermSteps::lanes) {
      int count = static_cast<int>(std::min<int64_t>(TermSteps::lanes, in.hi + 1 - first));
      const TermSteps::Lane* values = steps->run(inner, first, count);
      Numbers& target = tensors[static_cast<size_t>(s.target)];
      if (is_float(target.type))
        store(target.reals, values, first, count, [](const TermSteps::Lane& v) { return v.real; });
      else
        store(target.integers, values, first, count, [&](const TermSteps::Lane& v) { return v.integer; });
    }
  }

  // The element that walker w means at point k of the innermost loop.
  int64_t at(int w, int64_t k) const
  {
    return inner.now[static_cast<size_t>(w)] + k * inner.step[static_cast<size_t>(w)];
  }

  template<class T>
  void store(std::vector<T>& target, const TermSteps::Lane* values, int64_t first, int count, const auto& value_of)
  {
    for (int k = 0; k < count; ++k) {
      auto place = static_cast<size_t>(at(target_offset, first + k));
      T value = value_of(values[k]);
      T& element = target[place];
      switch (s.update) {
      case Update::assign: element = value; break;
      case Update::sum: element = add(element, value); break;
      case Update::max:
      case Update::min:
        if (s.update == Update::max ? value > element : value < element) {
          element = value;
          if (s.tap >= 0)
            set_tap(place, at(tap_number, first + k));
        }
      }
    }
  }

  static double add(double a, double b) { return a + b; }
  int64_t add(int64_t a, int64_t b) const
  {
    int64_t args[2] = {a, b};
    return wrap(apply(Fn::add, args), tensors[static_cast<size_t>(s.target)].type);
  }

  void set_tap(size_t place, int64_t number)
  {
    Numbers& tap = tensors[static_cast<size_t>(s.tap)];
    if (is_float(tap.type))
      tap.reals[place] = static_cast<double>(number);
    else
      tap.integers[place] = number;
  }

  void add_products(Interval in)
  {
    auto w = [&](int walker) { return inner.step[static_cast<size_t>(walker)]; };
    int64_t y_step = w(target_offset), a_step = w(product->a_offset), b_step = w(product->b_offset);
    double* y = tensors[static_cast<size_t>(s.target)].reals.data() + at(target_offset, in.lo);
    const double* a = product->a + at(product->a_offset, in.lo);
    const double* b = product->b + at(product->b_offset, in.lo);
    int64_t count = in.hi + 1 - in.lo;
    if (b_step == 1 && a_step == 0) {
      std::swap(a, b);
      std::swap(a_step, b_step);
    }
    if (y_step == 1 && a_step == 1 && b_step == 0) {
      double factor = *b;
      for (int64_t k = 0; k < count; ++k)
        y[k] += a[k] * factor;
    } else if (y_step == 0) {
      double sum = *y;
      for (int64_t k = 0; k < count; ++k)
        sum += a[k * a_step] * b[k * b_step];
      *y = sum;
    } else {
      for (int64_t k = 0; k < count; ++k)
        y[k * y_step] += a[k * a_step] * b[k * b_step];
    }
  }
};

// The batch, from the inputs' dims, else `batch`.
int64_t find_batch(const Formula& formula, const std::vector<const Tensor*>& inputs, int64_t batch)
{
  std::optional<int64_t> n;
  size_t next = 0;
  for (const FormulaTensor& t : formula.tensors) {
    if (t.role != Role::input)
      continue;
    const Tensor* tensor = next < inputs.size() ? inputs[next] : nullptr;
    ++next;
    bool fits = tensor && tensor->dims.size() == t.type.shape.size() &&
                static_cast<int64_t>(tensor->bytes.size()) == tensor->size() * bytes_of(tensor->dtype) &&
                is_float(tensor->dtype) == is_float(t.type.dtype);
    for (size_t d = 0; fits && d < tensor->dims.size(); ++d) {
      const Dim& dim = t.type.shape[d];
      if (dim.batch && dim.size > 0 && !n)
        n = tensor->dims[d] / dim.size;
      fits = dim.at(n.value_or(1)) == tensor->dims[d];
    }
    if (!fits) {
      std::string found =
          tensor ? fmt::format("{}[{}]", to_string(tensor->dtype), fmt::join(tensor->dims, ",")) : "none";
      throw Error({}, fmt::format("'{}' must be {}, found {}", t.name, to_string(t.type), found));
    }
  }
  if (next != inputs.size())
    throw Error({}, fmt::format("{} inputs are wanted, found {}", next, inputs.size()));
  return n.value_or(batch);
}

} // namespace

std::vector<Tensor> interpret(const Formula& formula, const std::vector<const Tensor*>& inputs, bool doubles,
                              int64_t batch)
{
  int64_t n = find_batch(formula, inputs, batch);
  std::vector<Numbers> tensors;
  std::vector<std::vector<int64_t>> dims;
  for (const FormulaTensor& t : formula.tensors) {
    dims.push_back(dims_of(t.type.shape, n));
    if (t.role == Role::input) {
      tensors.push_back(numbers_of(*inputs[tensors.size()]));
    } else {
      Shape shape; // of this batch
      for (int64_t d : dims.back())
        shape.push_back({d, false});
      tensors.push_back(zeros(t.type.dtype, static_cast<size_t>(elements(shape))));
    }
    tensors.back().type = t.type.dtype; // an input may come in doubles
  }

  std::vector<bool> written(tensors.size());
  for (const Statement& s : formula.statements) {
    auto target = static_cast<size_t>(s.target);
    if (!written[target] && s.update != Update::assign)
      fill_identity(tensors[target], s.update);
    written[target] = true;
    Runner(s, tensors, dims, n).run();
    if (!doubles)
      round_to_type(tensors[target]);
  }

  std::vector<Tensor> outputs;
  for (size_t t = 0; t < tensors.size(); ++t)
    if (formula.tensors[t].role == Role::output)
      outputs.push_back(tensor_of(tensors[t], dims[t], doubles));
  return outputs;
}

} // namespace cnnc
