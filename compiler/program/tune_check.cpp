#include "compiler/program/tune_check.h"

#include "compiler/compile_nest.h"
#include "compiler/jit.h"
#include "ir/interpret.h"
#include "ir/random.h"
#include "runtime/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cnnc {

namespace {

bool is_argument(const Buffer& buffer)
{
  return buffer.role == BufferRole::in || buffer.role == BufferRole::out || buffer.role == BufferRole::inout;
}

int64_t bytes_of_one(const Buffer& buffer)
{
  return stored_elements(buffer.layout, buffer.type.shape) * bytes_of(buffer.type.dtype);
}

// visit(index in the logical order, element of the stored order), for one image
template<class Visit>
void for_each_element(const Buffer& buffer, const Visit& visit)
{
  const Shape& shape = buffer.type.shape;
  std::vector<int64_t> at(shape.size());
  const std::vector<int64_t> strides = axis_strides(buffer.layout, shape);
  for (int64_t i = 0; i < elements(shape); ++i) {
    visit(i, offset_of(buffer.layout, strides, at.data()));
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d].at(1))
        break;
      at[d] = 0;
    }
  }
}

// Floats in [-2, 2). Integers may be subscripts: 0 is always one.
std::vector<Tensor> random_arguments(const Nest& nest)
{
  std::vector<Tensor> tensors;
  const uint64_t key = seed_key(1);
  uint64_t counter = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (!is_argument(buffer))
      continue;
    std::vector<int64_t> dims;
    for (const Dim& dim : buffer.type.shape)
      dims.push_back(dim.at(1));
    Tensor tensor(buffer.type.dtype, dims);
    for (int64_t i = 0; is_float(tensor.dtype) && i < tensor.size(); ++i)
      tensor.set(i, 4 * random_unit(key, counter++) - 2);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Nest finished(Nest nest, const Target& target)
{
  Remarks remarks;
  for (const PassDef* pass = find_pass("schedule"); pass < pipeline().data() + pipeline().size(); pass++)
    if (const NestPass* run = std::get_if<NestPass>(&pass->run))
      (*run)(nest, target, remarks);
  return nest;
}

std::vector<Tensor> run_compiled(const Nest& canonical, const Target& target, const std::vector<Tensor>& arguments)
{
  Nest nest = finished(canonical, target);
  int64_t local_bytes = 64;
  for (Buffer& buffer : nest.buffers)
    if (buffer.role == BufferRole::local) {
      buffer.offset = local_bytes;
      local_bytes += (bytes_of_one(buffer) + 63) / 64 * 64;
    }
  const CompiledNest compiled = compile_nest(nest, target);
  Jit jit;
  jit.add(compiled.bytes);
  std::vector<Block> memory;
  std::vector<void*> pointers;
  size_t argument = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (!is_argument(buffer))
      continue;
    memory.emplace_back(bytes_of_one(buffer) + 64); // vectors may end behind the last element
    auto* to = static_cast<std::byte*>(memory.back().data());
    const Tensor& from = arguments[argument++];
    const auto size = static_cast<size_t>(bytes_of(buffer.type.dtype));
    for_each_element(buffer, [&](int64_t i, int64_t element) {
      std::memcpy(to + static_cast<size_t>(element) * size, from.bytes.data() + static_cast<size_t>(i) * size, size);
    });
    pointers.push_back(to);
  }
  const Block local(local_bytes);
  for (const CompiledNest::Region& region : compiled.regions)
    jit.find<RegionFunction>(region.symbol)(pointers.data(), 1, local.data(), 0,
                                            evaluate(region.tasks, [](int) { return int64_t{1}; }));
  std::vector<Tensor> results;
  argument = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (!is_argument(buffer))
      continue;
    const auto* from = static_cast<const std::byte*>(pointers[argument]);
    Tensor tensor(buffer.type.dtype, arguments[argument++].dims);
    const auto size = static_cast<size_t>(bytes_of(buffer.type.dtype));
    for_each_element(buffer, [&](int64_t i, int64_t element) {
      std::memcpy(tensor.bytes.data() + static_cast<size_t>(i) * size, from + static_cast<size_t>(element) * size,
                  size);
    });
    results.push_back(std::move(tensor));
  }
  return results;
}

// The largest difference, relative to 1 + |value|; infinity where only one is a number.
double worst(const std::vector<Tensor>& a, const std::vector<Tensor>& b)
{
  double worst = 0;
  for (size_t t = 0; t < a.size(); ++t)
    for (int64_t i = 0; i < a[t].size(); ++i) {
      const double x = a[t].get(i), y = b[t].get(i);
      if (x == y || (std::isnan(x) && std::isnan(y)))
        continue;
      const double difference = std::fabs(x - y) / (1 + std::fabs(x));
      worst = std::max(worst, std::isfinite(difference) ? difference : HUGE_VAL);
    }
  return worst;
}

} // namespace

std::string difference(const Nest& nest, const std::string& schedule, const Target& target, bool interprets)
{
  constexpr double rounding = 1e-3; // of sums in another order
  const std::vector<Tensor> arguments = random_arguments(nest);
  Target plain = target, tuned = target;
  plain.tuned.clear();
  tuned.tuned[nest.name] = {schedule, {}};
  const std::vector<Tensor> by_plan = run_compiled(nest, plain, arguments);
  const std::vector<Tensor> by_this = run_compiled(nest, tuned, arguments);
  if (const double d = worst(by_plan, by_this); d > rounding)
    return fmt::format("differs by {:.2g} from the planned one", d);
  if (!interprets)
    return {};
  std::vector<Tensor> expected = arguments;
  std::vector<Tensor*> pointers;
  for (Tensor& tensor : expected)
    pointers.push_back(&tensor);
  interpret(nest, pointers, 1);
  if (const double d = worst(expected, by_this); d > std::max(rounding, 2 * worst(expected, by_plan)))
    return fmt::format("differs by {:.2g} from the interpreter", d);
  return {};
}

} // namespace cnnc
