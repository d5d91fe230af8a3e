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

/* The only axis of this subscript, where that is the subscript times a stride, but for a constant. */
static const cnn_axis* plain_axis(const cnn_tensor* tensor, int32_t dim)
{
  const cnn_axis* only = NULL;
  for (const cnn_axis *axis = tensor->axes, *end = axis + tensor->axis_count; axis != end; ++axis) {
    if (axis->dim != dim)
      continue;
    if (only || axis->modulo != 0 || axis->divide != 1)
      return NULL;
    only = axis;
  }
  return only;
}

/* `plain` holds the elements from `first` on, `stored` is the tensor in its block. What lies side by side in both is
 * copied at once. Else a row is one subscript: rows of a filter are three elements long, so what the outer subscripts
 * add is kept from row to row, and so are the places within one. */
static void copy(const cnn_tensor* tensor, char* stored, int64_t first, int64_t count, char* plain, int into_block)
{
  enum { TABLE = 64 };
  if (count <= 0)
    return;
  const int64_t size = cnn_size_of(tensor->dtype);
  int64_t at[CNN_MAX_RANK] = {0}, offset[CNN_MAX_RANK] = {0}, in_row[TABLE];
  int64_t row = 0, end = 1;
  int32_t outer = tensor->rank; /* subscripts outside of the row */
  for (const cnn_axis* axis; outer > 0; --outer) {
    const int64_t extent = tensor->dims[outer - 1];
    if (extent != 1 && (!(axis = plain_axis(tensor, outer - 1)) || axis->stride != end))
      break;
    end *= extent;
    row += place(tensor, outer - 1, 0);
  }
  const int is_run = end > 1 || outer == 0;
  if (!is_run) {
    end = tensor->dims[--outer];
    for (int64_t x = 0; x < end && x < TABLE; ++x)
      in_row[x] = place(tensor, outer, x);
  }
  const cnn_axis* along_row = is_run ? NULL : plain_axis(tensor, outer);
  int64_t x = first % end;
  first /= end;
  for (int32_t d = outer - 1; d >= 0; --d) {
    at[d] = first % tensor->dims[d];
    first /= tensor->dims[d];
    row += offset[d] = place(tensor, d, at[d]);
  }
  while (count > 0) {
    if (is_run) {
      const int64_t here = end - x < count ? end - x : count;
      char* run = stored + (row + x) * size;
      memcpy(into_block ? run : plain, into_block ? plain : run, (size_t)(here * size));
      plain += here * size;
      count -= here;
    } else
      for (; x < end && count > 0; ++x, --count, plain += size) {
        const int64_t along = x < TABLE   ? in_row[x]
                              : along_row ? in_row[0] + x * along_row->stride
                                          : place(tensor, outer, x);
        char* element = stored + (row + along) * size;
        const char* from = into_block ? plain : element;
        char* to = into_block ? element : plain;
        if (size == 4)
          memcpy(to, from, 4);
        else
          memcpy(to, from, (size_t)size);
      }
    x = 0;
    for (int32_t d = outer - 1; d >= 0; --d) {
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
