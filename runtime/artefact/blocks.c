/* Parameters and states: a header that says whose they are, then the tensors, each in its own layout.
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

static const char parameter_magic[8] = {'c', 'n', 'n', 'p', 'a', 'r', 'a', 'm'};
static const char state_magic[8] = {'c', 'n', 'n', 's', 't', 'a', 't', 'e'};

static int check(const void* block, const char* magic, uint64_t fingerprint, int64_t bytes, int otherwise)
{
  if (block == NULL)
    return CNN_NULL_POINTER;
  if ((uintptr_t)block % CNN_ALIGNMENT != 0)
    return CNN_BAD_ALIGNMENT;
  const cnn_block_header* header = block;
  if (memcmp(header->magic, magic, 8) != 0 || header->abi_version != CNN_ABI_VERSION ||
      header->fingerprint != fingerprint || header->bytes != bytes)
    return otherwise;
  return CNN_OK;
}

int cnn_check_parameters(const void* block)
{
  const cnn_model* model = &cnn_network_data.model;
  return check(block, parameter_magic, model->fingerprint, model->parameter_bytes, CNN_BAD_PARAMETERS);
}

int cnn_check_state(const void* block)
{
  return check(block, state_magic, cnn_network_data.state_fingerprint, cnn_network_data.model.state_bytes,
               CNN_BAD_STATE);
}

static void start(void* block, const char* magic, uint64_t fingerprint, int64_t bytes)
{
  memset(block, 0, (size_t)bytes);
  cnn_block_header* header = block;
  memcpy(header->magic, magic, 8);
  header->abi_version = CNN_ABI_VERSION;
  header->fingerprint = fingerprint;
  header->bytes = bytes;
}

void cnn_start_parameters(void* block)
{
  const cnn_model* model = &cnn_network_data.model;
  start(block, parameter_magic, model->fingerprint, model->parameter_bytes);
}

static int writable(const void* block)
{
  if (block == NULL)
    return CNN_NULL_POINTER;
  return (uintptr_t)block % CNN_ALIGNMENT != 0 ? CNN_BAD_ALIGNMENT : CNN_OK;
}

int cnn_init_parameters(void* block, uint64_t seed)
{
  const cnn_network* network = &cnn_network_data;
  const int code = writable(block);
  if (code != CNN_OK)
    return code;
  cnn_start_parameters(block);
  for (int32_t i = 0; i < network->model.parameter_count; ++i) {
    const cnn_tensor* tensor = &network->model.parameters[i];
    if (network->known != NULL && network->is_known[i])
      memcpy((char*)block + tensor->offset, (const char*)network->known + tensor->offset,
             (size_t)(tensor->stored * cnn_size_of(tensor->dtype)));
    else
      cnn_fill(tensor, block, seed);
  }
  return CNN_OK;
}

int cnn_init_state(void* block, uint64_t seed)
{
  const cnn_network* network = &cnn_network_data;
  const int code = writable(block);
  if (code != CNN_OK)
    return code;
  start(block, state_magic, network->state_fingerprint, network->model.state_bytes);
  for (int32_t i = 0; i < network->model.state_count; ++i)
    cnn_fill(&network->model.states[i], block, seed);
  return CNN_OK;
}

static int find(const cnn_tensor* tensors, int32_t count, const char* name, int64_t elements, const void* values,
                const cnn_tensor** found)
{
  if (name == NULL || values == NULL)
    return CNN_NULL_POINTER;
  for (int32_t i = 0; i < count; ++i) {
    if (strcmp(tensors[i].name, name) != 0)
      continue;
    *found = &tensors[i];
    return cnn_elements_of(*found) == elements ? CNN_OK : CNN_BAD_SIZE;
  }
  return CNN_NOT_FOUND;
}

int cnn_set_parameter(void* block, const char* name, const void* values, int64_t count)
{
  const cnn_model* model = &cnn_network_data.model;
  const cnn_tensor* tensor;
  int code = cnn_check_parameters(block);
  if (code == CNN_OK)
    code = find(model->parameters, model->parameter_count, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_scatter(tensor, block, 0, count, values);
  return code;
}

int cnn_get_parameter(const void* block, const char* name, void* values, int64_t count)
{
  const cnn_model* model = &cnn_network_data.model;
  const cnn_tensor* tensor;
  int code = cnn_check_parameters(block);
  if (code == CNN_OK)
    code = find(model->parameters, model->parameter_count, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_gather(tensor, block, 0, count, values);
  return code;
}

int cnn_set_state(void* block, const char* name, const void* values, int64_t count)
{
  const cnn_model* model = &cnn_network_data.model;
  const cnn_tensor* tensor;
  int code = cnn_check_state(block);
  if (code == CNN_OK)
    code = find(model->states, model->state_count, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_scatter(tensor, block, 0, count, values);
  return code;
}

int cnn_get_state(const void* block, const char* name, void* values, int64_t count)
{
  const cnn_model* model = &cnn_network_data.model;
  const cnn_tensor* tensor;
  int code = cnn_check_state(block);
  if (code == CNN_OK)
    code = find(model->states, model->state_count, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_gather(tensor, block, 0, count, values);
  return code;
}
