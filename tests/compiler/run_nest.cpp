#include "tests/compiler/run_nest.h"

#include "passes/pass.h"

#include "compiler/compile_nest.h"
#include "compiler/jit.h"
#include "ir/interpret.h"
#include "ir/random.h"
#include "tests/compiler/guarded.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace cnnc::test {

namespace {

int64_t stored_bytes(const Buffer& buffer, int64_t batch)
{
  return stored_elements(buffer.layout, buffer.type.shape) * bytes_of(buffer.type.dtype) *
         (has_batch(buffer.type.shape) ? batch : 1);
}

// visit(index in the logical order, element of the stored order)
template<class Visit>
void for_each_element(const Buffer& buffer, int64_t batch, const Visit& visit)
{
  const Shape& shape = buffer.type.shape;
  std::vector<int64_t> at(shape.size()), strides = axis_strides(buffer.layout, shape);
  int64_t count = elements(shape) * (has_batch(shape) ? batch : 1);
  for (int64_t i = 0; i < count; ++i) {
    visit(i, offset_of(buffer.layout, strides, at.data()));
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d].at(batch))
        break;
      at[d] = 0;
    }
  }
}

bool is_argument(const Buffer& buffer)
{
  return buffer.role <= BufferRole::inout;
}

} // namespace

Nest parse(const std::string& text)
{
  Nest nest = parse_nest(std::make_shared<Source>(Source{"test.ir", text}));
  verify(nest);
  return nest;
}

std::vector<Tensor> random_arguments(const Nest& nest, int64_t batch, uint64_t seed)
{
  std::vector<Tensor> tensors;
  uint64_t key = seed_key(seed), counter = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (!is_argument(buffer))
      continue;
    std::vector<int64_t> dims;
    for (const Dim& dim : buffer.type.shape)
      dims.push_back(dim.at(batch));
    Tensor tensor(buffer.type.dtype, dims);
    bool floats = is_float(tensor.dtype);
    for (int64_t i = 0; i < tensor.size(); ++i) {
      double unit = random_unit(key, counter++);
      double value = floats ? unit * 4 - 2 : std::floor(unit * (tensor.dtype == DType::boolean ? 2 : 8));
      if (buffer.role == BufferRole::out)
        value = floats ? std::numeric_limits<double>::quiet_NaN() : 77;
      tensor.set(i, value);
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

RunResult run_compiled(const Nest& nest, const Target& target, const std::vector<Tensor>& arguments, int64_t batch,
                       bool at_end, int64_t chunk)
{
  CompiledNest compiled = compile_nest(nest, target);
  Jit jit;
  jit.add(compiled.bytes);

  std::vector<std::unique_ptr<Guarded>> memory;
  std::vector<void*> pointers;
  int64_t local_bytes = 0;
  size_t argument = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (buffer.role == BufferRole::local)
      local_bytes = std::max(local_bytes, buffer.offset + stored_bytes(buffer, 1));
    if (!is_argument(buffer))
      continue;
    auto bytes = std::make_unique<Guarded>(static_cast<size_t>(stored_bytes(buffer, batch)), at_end);
    // What an output holds before the call is not zero: its borders have to be written.
    std::memset(bytes->data, buffer.role == BufferRole::out ? 0x7f : 0, bytes->size);
    size_t size = static_cast<size_t>(bytes_of(buffer.type.dtype));
    const Tensor& tensor = arguments.at(argument++);
    for_each_element(buffer, batch, [&](int64_t i, int64_t element) {
      std::memcpy(bytes->data + static_cast<size_t>(element) * size,
                  tensor.bytes.data() + static_cast<size_t>(i) * size, size);
    });
    pointers.push_back(bytes->data);
    memory.push_back(std::move(bytes));
  }
  Guarded local(static_cast<size_t>((local_bytes + 63) / 64 * 64), at_end); // 64-byte aligned either way
  std::memset(local.data, 0x7f, local.size);

  for (const CompiledNest::Region& region : compiled.regions) {
    auto* run = jit.find<RegionFunction>(region.symbol);
    int64_t tasks = evaluate(region.tasks, [&](int) { return batch; });
    for (int64_t begin = 0; begin < tasks; begin += chunk)
      run(pointers.data(), batch, local.data, begin, std::min(begin + chunk, tasks));
  }

  RunResult result;
  argument = 0;
  for (const Buffer& buffer : nest.buffers) {
    if (!is_argument(buffer))
      continue;
    Tensor tensor(buffer.type.dtype, arguments.at(argument).dims);
    size_t size = static_cast<size_t>(bytes_of(buffer.type.dtype));
    Guarded& bytes = *memory.at(argument++);
    for_each_element(buffer, batch, [&](int64_t i, int64_t element) {
      std::memcpy(tensor.bytes.data() + static_cast<size_t>(i) * size, bytes.data + static_cast<size_t>(element) * size,
                  size);
      std::memset(bytes.data + static_cast<size_t>(element) * size, 0, size);
    });
    bool zero = true;
    for (size_t i = 0; i < bytes.size; ++i)
      zero = zero && bytes.data[i] == std::byte{0};
    result.tensors.push_back(std::move(tensor));
    result.borders_are_zero.push_back(zero);
  }
  return result;
}

Nest scheduled(const std::string& text, const Target& target)
{
  Nest nest = parse(text);
  Remarks remarks;
  for (const PassDef* pass = find_pass("schedule") + 1; pass < pipeline().data() + pipeline().size(); pass++)
    if (const NestPass* run = std::get_if<NestPass>(&pass->run))
      (*run)(nest, target, remarks);
  verify(nest);
  return nest;
}

double worst_difference(const std::string& text, const Target& target, int64_t batch, uint64_t seed)
{
  Nest nest = parse(text);
  std::vector<Tensor> arguments = random_arguments(nest, batch, seed), expected = arguments;
  std::vector<Tensor*> pointers;
  for (Tensor& tensor : expected)
    pointers.push_back(&tensor);
  interpret(nest, pointers, batch);
  double worst = 0;
  for (bool at_end : {true, false}) {
    RunResult got = run_compiled(nest, target, arguments, batch, at_end, at_end ? 3 : 1000);
    for (size_t a = 0; a < expected.size(); ++a)
      for (int64_t i = 0; i < expected[a].size(); ++i) {
        double want = expected[a].get(i), have = got.tensors[a].get(i);
        if (want == have || (std::isnan(want) && std::isnan(have)))
          continue;
        double difference = std::fabs(want - have) / (1 + std::fabs(want));
        worst = std::max(worst, std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity());
      }
  }
  return worst;
}

} // namespace cnnc::test
