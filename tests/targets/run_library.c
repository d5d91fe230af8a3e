/* What a library computes on the processor that this runs on:  run_library lenet5.so lenet5
 *
 *   x86-64-v3        whose code runs; "none"
 *   0                the code of the call; numbers only where it is 0
 *   0.0912...        every output; with the training step, the loss of two steps
 *
 * Parameters are first values, inputs numbers that depend on nothing but their place. It needs no instruction beyond the
 * baseline.
 */
#include "runtime/artefact/cnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 2, MOST = 8 };

static void* block(int64_t bytes)
{
  void* at = aligned_alloc(CNN_ALIGNMENT, (size_t)(bytes + 2 * CNN_ALIGNMENT) / CNN_ALIGNMENT * CNN_ALIGNMENT);
  if (at == NULL)
    exit(70);
  return at;
}

static int64_t elements(const cnn_tensor* tensor)
{
  int64_t count = 1;
  for (int32_t d = 0; d < tensor->rank; ++d)
    count *= tensor->dims[d] < 0 ? -tensor->dims[d] * BATCH : tensor->dims[d];
  return count;
}

static void* input(const cnn_tensor* tensor)
{
  const int64_t count = elements(tensor);
  float* reals = block(count * 4);
  int32_t* labels = (int32_t*)(void*)reals;
  for (int64_t i = 0; i < count; ++i)
    if (tensor->dtype == CNN_F32)
      reals[i] = (float)(i * 37 % 101) / 50 - 1;
    else
      labels[i] = (int32_t)(i % tensor->limit);
  return reals;
}

int main(int count, char** arguments)
{
  void* library = count == 3 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  void* symbol = library == NULL ? NULL : dlsym(library, arguments[2]);
  if (symbol == NULL) {
    fprintf(stderr, "cannot load %s\n", count == 3 ? dlerror() : "nothing");
    return 3;
  }
  const cnn_model* model = (*(const cnn_model* (**)(void)) & symbol)();
  puts(model->target() == NULL ? "none" : model->target());
  if (model->input_count > MOST || model->output_count > MOST || model->train_input_count > MOST)
    return 70;

  const void* inputs[MOST];
  void* outputs[MOST];
  for (int32_t i = 0; i < model->input_count; ++i)
    inputs[i] = input(&model->inputs[i]);
  for (int32_t i = 0; i < model->output_count; ++i)
    outputs[i] = block(elements(&model->outputs[i]) * 4);
  void* parameters = block(model->parameter_bytes);
  int code = model->init_parameters(parameters, 1);
  void* workspace = block(model->workspace_bytes(BATCH, 1, CNN_FORWARD));
  if (code == CNN_OK)
    code = model->forward(parameters, BATCH, inputs, outputs, workspace, NULL);
  printf("%d\n", code);
  for (int32_t i = 0; code == CNN_OK && i < model->output_count; ++i)
    for (int64_t k = 0; k < elements(&model->outputs[i]); ++k)
      printf("%.9g\n", (double)((const float*)outputs[i])[k]);

  const int64_t bytes = model->workspace_bytes(BATCH, 1, CNN_TRAIN);
  if (code != CNN_OK || bytes < 0)
    return 0;
  for (int32_t i = 0; i < model->train_input_count; ++i)
    inputs[i] = input(&model->train_inputs[i]);
  void* state = block(model->state_bytes);
  workspace = block(bytes);
  code = model->init_state(state, 1);
  for (int step = 0; code == CNN_OK && step < 2; ++step) {
    float loss = 0;
    code = model->train_step(parameters, state, BATCH, inputs, &loss, workspace, NULL);
    printf("%.9g\n", (double)loss);
  }
  return code;
}
