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
    offset += (axis->modulo != 0 ? moved / axis->divide % axis->modulo : moved / axis->divide) * axis->stride;
  }
  return offset;
}

/* `plain` holds the elements from `first` on, `stored` is the tensor in its block. Rows of a filter are three elements
 * long: what the outer subscripts add is kept from row to row, and so are the places within one. */
static void copy(const cnn_tensor* tensor, char* stored, int64_t first, int64_t count, char* plain, int into_block)
{
  enum { TABLE = 64 };
  const int64_t size = cnn_size_of(tensor->dtype);
  const int32_t last = tensor->rank - 1;
  if (last < 0) {
    memcpy(into_block ? stored : plain, into_block ? plain : stored, (size_t)(count > 0 ? size : 0));
    return;
  }
  int64_t at[CNN_MAX_RANK] = {0}, offset[CNN_MAX_RANK] = {0}, in_row[TABLE];
  int64_t row = 0;
  for (int32_t d = last; d >= 0; --d) {
    at[d] = first % tensor->dims[d];
    first /= tensor->dims[d];
    if (d < last)
      row += offset[d] = place(tensor, d, at[d]);
  }
  const int64_t end = tensor->dims[last];
  for (int64_t x = 0; x < end && x < TABLE; ++x)
    in_row[x] = place(tensor, last, x);
  /* One step along the row is one stride, where a single plain axis holds it. */
  const cnn_axis* only = NULL;
  int32_t axes = 0;
  for (int32_t a = 0; a < tensor->axis_count; ++a)
    if (tensor->axes[a].dim == last) {
      only = &tensor->axes[a];
      ++axes;
    }
  const int is_plain = axes == 1 && only->modulo == 0 && only->divide == 1;
  while (count > 0) {
    for (int64_t x = at[last]; x < end && count > 0; ++x, --count, plain += size) {
      const int64_t along = x < TABLE ? in_row[x] : is_plain ? in_row[0] + x * only->stride : place(tensor, last, x);
      char* element = stored + (row + along) * size;
      const char* from = into_block ? plain : element;
      char* to = into_block ? element : plain;
      if (size == 4)
        memcpy(to, from, 4);
      else
        memcpy(to, from, (size_t)size);
    }
    at[last] = 0;
    for (int32_t d = last - 1; d >= 0; --d) {
      at[d] = at[d] + 1 == tensor->dims[d] ? 0 : at[d] + 1;
      row -= offset[d];
      row += offset[d] = place(tensor, d, at[d]);
      if (at[d] != 0)
        break;
    }
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
