/* Parameters and states: a header that says whose they are, then the tensors, each in its own layout (elements.c). */
#include "network.h"

#include <string.h>

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

static void start(void* block, const char* magic, uint64_t fingerprint, int64_t bytes, int64_t zeros)
{
  memset(block, 0, (size_t)zeros);
  cnn_block_header* header = block;
  memcpy(header->magic, magic, 8);
  header->abi_version = CNN_ABI_VERSION;
  header->fingerprint = fingerprint;
  header->bytes = bytes;
}

void cnn_start_parameters(void* block)
{
  const cnn_model* model = &cnn_network_data.model;
  start(block, parameter_magic, model->fingerprint, model->parameter_bytes, model->parameter_bytes);
}

void cnn_start_gradients(void* block)
{
  const cnn_model* model = &cnn_network_data.model;
  const cnn_preparation* preparation = &cnn_network_data.variants[0].preparation;
  start(block, parameter_magic, model->fingerprint, model->parameter_bytes,
        preparation->function.step_count == 0 ? model->parameter_bytes : preparation->begin);
}

int cnn_can_prepare(void)
{
  const cnn_network* network = &cnn_network_data;
  return network->variants[0].preparation.function.step_count == 0 || cnn_variant_of(network) != NULL ? CNN_OK
                                                                                                      : CNN_BAD_CPU;
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
  int code = writable(block);
  if (code != CNN_OK)
    return code;
  if (network->model.embedded != NULL) {
    memcpy(block, network->model.embedded, (size_t)network->model.parameter_bytes);
    return CNN_OK;
  }
  code = cnn_can_prepare();
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
  cnn_prepare(network, block);
  return CNN_OK;
}

int cnn_init_state(void* block, uint64_t seed)
{
  const cnn_network* network = &cnn_network_data;
  const int code = writable(block);
  if (code != CNN_OK)
    return code;
  start(block, state_magic, network->state_fingerprint, network->model.state_bytes, network->model.state_bytes);
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

static int find_parameter(const void* block, const char* name, int64_t elements, const void* values,
                          const cnn_tensor** found)
{
  const cnn_model* model = &cnn_network_data.model;
  const int code = cnn_check_parameters(block);
  return code != CNN_OK ? code : find(model->parameters, model->parameter_count, name, elements, values, found);
}

static int find_state(const void* block, const char* name, int64_t elements, const void* values,
                      const cnn_tensor** found)
{
  const cnn_model* model = &cnn_network_data.model;
  const int code = cnn_check_state(block);
  return code != CNN_OK ? code : find(model->states, model->state_count, name, elements, values, found);
}

int cnn_set_parameter(void* block, const char* name, const void* values, int64_t count)
{
  const cnn_tensor* tensor;
  int code = find_parameter(block, name, count, values, &tensor);
  if (code == CNN_OK)
    code = cnn_can_prepare();
  if (code != CNN_OK)
    return code;
  cnn_scatter(tensor, block, 0, count, values);
  cnn_prepare_after(&cnn_network_data, block, (int32_t)(tensor - cnn_network_data.model.parameters));
  return CNN_OK;
}

int cnn_get_parameter(const void* block, const char* name, void* values, int64_t count)
{
  const cnn_tensor* tensor;
  const int code = find_parameter(block, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_gather(tensor, block, 0, count, values);
  return code;
}

int cnn_set_state(void* block, const char* name, const void* values, int64_t count)
{
  const cnn_tensor* tensor;
  const int code = find_state(block, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_scatter(tensor, block, 0, count, values);
  return code;
}

int cnn_get_state(const void* block, const char* name, void* values, int64_t count)
{
  const cnn_tensor* tensor;
  const int code = find_state(block, name, count, values, &tensor);
  if (code == CNN_OK)
    cnn_gather(tensor, block, 0, count, values);
  return code;
}
