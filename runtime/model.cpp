#include "runtime/model.h"

#include "ir/location.h"

#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>

namespace cnnc {

// The two lists of element types are one list.
static_assert(static_cast<int>(DType::f32) == CNN_F32 && static_cast<int>(DType::f64) == CNN_F64 &&
              static_cast<int>(DType::bf16) == CNN_BF16 && static_cast<int>(DType::i8) == CNN_I8 &&
              static_cast<int>(DType::u8) == CNN_U8 && static_cast<int>(DType::i32) == CNN_I32 &&
              static_cast<int>(DType::i64) == CNN_I64 && static_cast<int>(DType::boolean) == CNN_BOOL);

Block Block::view(const void* bytes, int64_t size)
{
  Block block;
  block.bytes_ = {const_cast<void*>(bytes), [](void*) {}};
  block.size_ = size;
  return block;
}

Block::Block(int64_t bytes) : size_(bytes)
{
  constexpr int64_t limit = int64_t{1} << 46;
  void* p = nullptr;
  if (bytes >= 0 && bytes <= limit) {
    // Weights and maps are walked with long strides: with pages of 4 KB, an entry for each is looked up again and again.
    constexpr int64_t huge_page = 2 << 20;
    const int64_t unit = bytes >= huge_page ? huge_page : CNN_ALIGNMENT;
    auto rounded = static_cast<size_t>((bytes / unit + 1) * unit);
    p = std::aligned_alloc(static_cast<size_t>(unit), rounded);
#ifdef MADV_HUGEPAGE
    if (p && unit == huge_page)
      madvise(p, rounded, MADV_HUGEPAGE); // where the system has none, nothing is lost
#endif
    if (p)
      std::memset(p, 0, rounded);
  }
  if (!p)
    throw Error({}, fmt::format("there is no memory for a block of {} bytes", bytes));
  bytes_ = {p, std::free};
}

void check_version(const cnn_model& model)
{
  if (model.abi_version != CNN_ABI_VERSION || model.struct_size < sizeof(cnn_model))
    throw Error({},
                fmt::format("the network was compiled for version {} of the interface ({} bytes), wanted is {} ({})",
                            model.abi_version, model.struct_size, CNN_ABI_VERSION, sizeof(cnn_model)));
}

void check(const cnn_model& model, int code, std::string_view what)
{
  if (code == CNN_OK)
    return;
  std::string text = fmt::format("{}: cannot {}: {}", model.name, what, model.error(code));
  switch (code) {
  case CNN_NULL_POINTER:
  case CNN_BAD_ALIGNMENT:
  case CNN_NOT_FOUND:
  case CNN_BAD_SIZE:
  case CNN_BAD_THREADS: throw InternalError(text);
  case CNN_CANNOT_READ:
  case CNN_CANNOT_WRITE: throw Error({}, text, {}, 3);
  default: throw Error({}, text);
  }
}

ModelThreads::ModelThreads(const cnn_model& model, int count) : model_(model)
{
  if (count < 1)
    throw Error({}, fmt::format("{} threads cannot run anything", count), {}, 2);
  if (count > 1)
    check(model, model.create_threads(count, &threads_), fmt::format("start {} threads", count));
}

ModelThreads::~ModelThreads()
{
  if (threads_)
    model_.free_threads(threads_);
}

std::vector<int64_t> dims_of(const cnn_tensor& tensor, int64_t n)
{
  std::vector<int64_t> dims(tensor.dims, tensor.dims + tensor.rank);
  for (int64_t& d : dims)
    d = d < 0 ? -d * n : d;
  return dims;
}

int64_t elements_of(const cnn_tensor& tensor, int64_t n)
{
  int64_t count = 1;
  for (int64_t d : dims_of(tensor, n))
    count *= d;
  return count;
}

DType dtype_of(const cnn_tensor& tensor)
{
  return static_cast<DType>(tensor.dtype);
}

Block workspace_of(const cnn_model& model, int64_t batch, int threads, cnn_mode mode)
{
  int64_t bytes = model.workspace_bytes(batch, threads, mode);
  if (bytes < 0)
    check(model, static_cast<int>(-bytes), fmt::format("plan a batch of {} on {} threads", batch, threads));
  return Block(bytes);
}

Block first_parameters(const cnn_model& model, uint64_t seed)
{
  Block block(model.parameter_bytes);
  if (model.embedded)
    std::memcpy(block.data(), model.embedded, static_cast<size_t>(model.parameter_bytes));
  else
    check(model, model.init_parameters(block.data(), seed), "initialise the parameters");
  return block;
}

void check_images(const cnn_model& model, const std::vector<int64_t>& image)
{
  if (model.input_count != 1 || model.inputs[0].dtype != CNN_F32 || model.inputs[0].rank < 1 ||
      model.inputs[0].dims[0] != -1)
    throw Error({}, fmt::format("{}: one input of f32 images is wanted to feed it pictures", model.name));
  std::vector<int64_t> wanted = dims_of(model.inputs[0], 1);
  wanted.erase(wanted.begin());
  int64_t flat = 1;
  for (int64_t d : image)
    flat *= d;
  if (wanted != image && wanted != std::vector<int64_t>{flat})
    throw Error({}, fmt::format("{}: its input '{}' is [{}], the images are [{}]", model.name, model.inputs[0].name,
                                fmt::join(wanted, ","), fmt::join(image, ",")));
}

int64_t classes_of(const cnn_model& model)
{
  if (model.output_count < 1 || model.outputs[0].dtype != CNN_F32 || model.outputs[0].rank < 1 ||
      model.outputs[0].dims[0] != -1)
    throw Error({},
                fmt::format("{}: its first output should be f32, a number for each class of each image", model.name));
  return elements_of(model.outputs[0], 1);
}

} // namespace cnnc
