/* Elements of a tensor between a plain row-major array and the tensor's layout in a block. The compiler packs with it
 * too.
 *
 * A layout is separable: where an element lies is a sum of one number for each of its subscripts. So a row-major walk
 * adds up the outer subscripts once a row. */
#include "network.h"

#include <string.h>

int64_t cnn_size_of(cnn_dtype dtype)
{
  static const int8_t sizes[] = {4, 8, 2, 1, 1, 4, 8, 1};
  return sizes[dtype];
}

int64_t cnn_elements_of(const cnn_tensor* tensor)
{
  int64_t elements = 1;
  for (int32_t d = 0; d < tensor->rank; ++d)
    elements *= tensor->dims[d];
  return elements;
}

static int64_t place(const cnn_tensor* tensor, int32_t dim, int64_t at)
{
  int64_t offset = 0;
  for (const cnn_axis *axis = tensor->axes, *end = axis + tensor->axis_count; axis != end; ++axis) {
    if (axis->dim != dim)
      continue;
    const int64_t moved = at + axis->before;
    offset += (axis->modulo != 0 ? moved % axis->modulo : moved / axis->divide) * axis->stride;
  }
  return offset;
}

/* `plain` holds the elements from `first` on, `stored` is the tensor in its block. */
static void copy(const cnn_tensor* tensor, char* stored, int64_t first, int64_t count, char* plain, int into_block)
{
  const int64_t size = cnn_size_of(tensor->dtype);
  const int32_t last = tensor->rank - 1;
  int64_t at[CNN_MAX_RANK] = {0};
  for (int32_t d = last; d >= 0; --d) {
    at[d] = first % tensor->dims[d];
    first /= tensor->dims[d];
  }
  while (count > 0) {
    int64_t row = 0;
    for (int32_t d = 0; d < last; ++d)
      row += place(tensor, d, at[d]);
    const int64_t end = last < 0 ? 1 : tensor->dims[last];
    int64_t x = last < 0 ? 0 : at[last];
    for (; x < end && count > 0; ++x, --count, plain += size) {
      char* element = stored + (row + (last < 0 ? 0 : place(tensor, last, x))) * size;
      if (into_block)
        memcpy(element, plain, (size_t)size);
      else
        memcpy(plain, element, (size_t)size);
    }
    if (last < 0)
      return;
    at[last] = 0;
    for (int32_t d = last - 1; d >= 0 && ++at[d] == tensor->dims[d]; --d)
      at[d] = 0;
  }
}

void cnn_scatter(const cnn_tensor* tensor, void* block, int64_t first, int64_t count, const void* values)
{
  copy(tensor, (char*)block + tensor->offset, first, count, (char*)values, 1);
}

void cnn_gather(const cnn_tensor* tensor, const void* block, int64_t first, int64_t count, void* values)
{
  copy(tensor, (char*)block + tensor->offset, first, count, values, 0);
}
