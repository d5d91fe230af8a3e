/* Every call: check all that the caller gave, then run the function's steps. Nothing is written before all is checked.
 *
 *   workspace:  [ fixed | image 0 ... image n-1 of one tensor, then of the next | thread 0 | thread 1 | ...
 *                 | what an image on its way alone needs: on thread 0 | on thread 1 | ... ]
 *
 * Steps are for all images of the batch, each step on all threads; but of a run of steps that the compiler names so, a
 * thread takes one image after the other through all of them.
 */
#include "network.h"

#include <string.h>

typedef struct call {
  const cnn_variant* variant; /* NULL: none runs here */
  cnn_mode mode;
  int64_t n;
  char *parameters, *state, *gradients; /* behind their headers */
  const void* const* inputs;
  void* const* outputs;
  void* loss;
  char* workspace;
  const cnn_threads* threads;
} call;

/* A step with less work than this (in vectors computed, some 10 us) is not worth waking other threads. */
static const double parallel_work = 16384;

/* Images that a step computes: all, or one of them. */
typedef struct images {
  int64_t first, count;
} images;

typedef struct job {
  cnn_region run;
  void* const* arguments;
  int64_t n;
  char* local;
  int64_t per_thread;
} job;

static void run_part(void* context, int64_t begin, int64_t end, int thread)
{
  const job* job = context;
  job->run(job->arguments, job->n, job->local + thread * job->per_thread, begin, end);
}

static char* local_of(const call* call, int thread)
{
  const cnn_memory* memory = &cnn_network_data.model.memory[call->mode];
  return call->workspace + memory->fixed + call->n * memory->per_image + thread * memory->per_thread;
}

/* Of the image that goes through a run of steps on this thread. */
static char* run_memory_of(const call* call, int thread)
{
  const cnn_memory* memory = &cnn_network_data.model.memory[call->mode];
  const int64_t threads = call->threads == NULL ? 1 : call->threads->count;
  return call->workspace + memory->fixed + call->n * memory->per_image + threads * memory->per_thread +
         thread * memory->per_run;
}

static char* locate(const call* call, const cnn_operand* operand, int thread)
{
  const cnn_memory* memory = &cnn_network_data.model.memory[call->mode];
  switch (operand->place) {
  case CNN_PLACE_FIXED: return call->workspace + operand->offset;
  case CNN_PLACE_IMAGE: return call->workspace + memory->fixed + call->n * operand->offset + operand->part;
  case CNN_PLACE_PARAMETER: return call->parameters + operand->offset;
  case CNN_PLACE_STATE: return call->state + operand->offset;
  case CNN_PLACE_CONSTANT: return (char*)cnn_network_data.constants + operand->offset;
  case CNN_PLACE_RUN: return run_memory_of(call, thread) + operand->offset + operand->part;
  case CNN_PLACE_INPUT: return (char*)call->inputs[operand->index];
  case CNN_PLACE_OUTPUT: return call->outputs[operand->index];
  case CNN_PLACE_LOSS: return call->loss;
  default: return call->gradients + operand->offset;
  }
}

static void observe(const call* call, const cnn_step* step, int64_t number, int is_done)
{
  const cnn_observer* observer = call->threads == NULL ? NULL : call->threads->observer;
  if (observer == NULL)
    return;
  const double n = (double)call->n;
  const cnn_step_info info = {step->name, step->line, (int32_t)number,
                              step->operations + n * step->operations_per_image,
                              step->bytes + n * step->bytes_per_image};
  observer->step(observer->context, &info, is_done);
}

/* On this thread alone, or on all. */
static void run_step(const call* call, const cnn_step* step, images images, int thread, int on_all_threads)
{
  void* arguments[step->operand_count];
  for (int32_t i = 0; i < step->operand_count; ++i)
    arguments[i] = locate(call, &step->operands[i], thread) + images.first * step->operands[i].image_bytes;
  const int64_t tasks = step->tasks + images.count * step->tasks_per_image;
  if (step->run == NULL)
    memcpy(arguments[0], arguments[1], (size_t)tasks);
  else if (!on_all_threads || call->threads == NULL || call->threads->count == 1 || tasks == 1 ||
           step->work + (double)images.count * step->work_per_image < parallel_work)
    step->run(arguments, images.count, local_of(call, thread), 0, tasks);
  else {
    job job = {step->run, arguments, images.count, local_of(call, 0),
               cnn_network_data.model.memory[call->mode].per_thread};
    call->threads->parallel_for(call->threads->pool, tasks, run_part, &job);
  }
}

typedef struct image_job {
  const call* call;
  const cnn_step *begin, *end;
} image_job;

/* Images through a run of steps, on one thread; an observer is told of those on thread 0. */
static void run_images(void* context, int64_t begin, int64_t end, int thread)
{
  const image_job* job = context;
  const cnn_step* first = job->call->variant->functions[job->call->mode].steps;
  for (int64_t image = begin; image < end; ++image)
    for (const cnn_step* step = job->begin; step != job->end; ++step) {
      if (thread == 0)
        observe(job->call, step, step - first, 0);
      run_step(job->call, step, (images){image, 1}, thread, 0);
      if (thread == 0)
        observe(job->call, step, step - first, 1);
    }
}

static void run_all(const call* call, const cnn_step* step, images images)
{
  const int64_t number = step - call->variant->functions[call->mode].steps;
  observe(call, step, number, 0);
  run_step(call, step, images, 0, 1);
  observe(call, step, number, 1);
}

/* As many images as give each thread the same number go through the run side by side, each on one thread; those that
 * are left, one by one on all threads. */
static void run_by_image(const call* call, const cnn_step* begin, const cnn_step* end)
{
  image_job job = {call, begin, end};
  const int64_t count = call->threads == NULL ? 1 : call->threads->count, even = call->n - call->n % count;
  if (count == 1)
    run_images(&job, 0, call->n, 0);
  else if (even > 0)
    call->threads->parallel_for(call->threads->pool, even, run_images, &job);
  for (int64_t image = even; image < call->n; ++image)
    for (const cnn_step* step = begin; step != end; ++step)
      run_all(call, step, (images){image, 1});
}

static void run(const call* call)
{
  const cnn_function* function = &call->variant->functions[call->mode];
  for (const cnn_step *step = function->steps, *end = step + function->step_count; step != end;) {
    const cnn_step* next = step + (step->run_steps > 0 ? step->run_steps : 1);
    if (next > step + 1 && call->n > 1)
      run_by_image(call, step, next);
    else
      for (; step != next; ++step)
        run_all(call, step, (images){0, call->n});
    step = next;
  }
}

static int64_t workspace_bytes(cnn_mode mode, int64_t batch, int64_t threads)
{
  const cnn_memory* memory = &cnn_network_data.model.memory[mode];
  return memory->fixed + batch * memory->per_image + threads * memory->per_thread +
         (batch < threads ? 1 : threads) * memory->per_run;
}

/* Values of an integer input that are not in [0, limit). */
static int bad_labels(const cnn_tensor* tensor, int64_t batch, const void* values)
{
  int64_t count = 1;
  for (int32_t d = 0; d < tensor->rank; ++d)
    count *= tensor->dims[d] < 0 ? -tensor->dims[d] * batch : tensor->dims[d];
  const uint64_t limit = (uint64_t)tensor->limit; /* a negative value is a huge one */
  int bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    switch (tensor->dtype) {
    case CNN_I8: bad |= (uint64_t)(int64_t)((const int8_t*)values)[i] >= limit; break;
    case CNN_U8:
    case CNN_BOOL: bad |= ((const uint8_t*)values)[i] >= limit; break;
    case CNN_I32: bad |= (uint64_t)(int64_t)((const int32_t*)values)[i] >= limit; break;
    case CNN_I64: bad |= (uint64_t)((const int64_t*)values)[i] >= limit; break;
    default: return 0;
    }
  }
  return bad;
}

static int check_threads(const cnn_threads* threads)
{
  if (threads == NULL)
    return CNN_OK;
  if (threads->abi_version != CNN_ABI_VERSION || threads->struct_size != sizeof(cnn_threads) || threads->count < 1 ||
      threads->count > CNN_MAX_THREADS)
    return CNN_BAD_THREADS;
  return threads->parallel_for == NULL && threads->count > 1 ? CNN_NULL_POINTER : CNN_OK;
}

static int check(const call* call, const cnn_tensor* inputs, int32_t input_count)
{
  const cnn_network* network = &cnn_network_data;
  if (network->variants[0].functions[call->mode].step_count == 0)
    return CNN_NOT_COMPILED;
  if (call->variant == NULL)
    return CNN_BAD_CPU;
  const int code = check_threads(call->threads);
  if (code != CNN_OK)
    return code;
  if (call->n < 1 || call->n > network->batch_limit)
    return CNN_BAD_BATCH;
  if (workspace_bytes(call->mode, call->n, call->threads == NULL ? 1 : call->threads->count) > 0 &&
      call->workspace == NULL)
    return CNN_NULL_POINTER;
  if ((uintptr_t)call->workspace % CNN_ALIGNMENT != 0)
    return CNN_BAD_ALIGNMENT;
  if (input_count > 0 && call->inputs == NULL)
    return CNN_NULL_POINTER;
  for (int32_t i = 0; i < input_count; ++i)
    if (call->inputs[i] == NULL)
      return CNN_NULL_POINTER;
  for (int32_t i = 0; i < input_count; ++i)
    if (inputs[i].limit > 0 && bad_labels(&inputs[i], call->n, call->inputs[i]))
      return CNN_BAD_LABEL;
  return CNN_OK;
}

int cnn_forward(const void* parameters, int64_t batch, const void* const* inputs, void* const* outputs, void* workspace,
                const cnn_threads* threads)
{
  const cnn_model* model = &cnn_network_data.model;
  int code = cnn_check_parameters(parameters);
  if (code != CNN_OK)
    return code;
  const call call = {.variant = cnn_variant_of(&cnn_network_data),
                     .mode = CNN_FORWARD,
                     .n = batch,
                     .parameters = (char*)parameters + CNN_HEADER_BYTES,
                     .inputs = inputs,
                     .outputs = outputs,
                     .workspace = workspace,
                     .threads = threads};
  code = check(&call, model->inputs, model->input_count);
  if (code != CNN_OK)
    return code;
  if (outputs == NULL)
    return CNN_NULL_POINTER;
  for (int32_t i = 0; i < model->output_count; ++i)
    if (outputs[i] == NULL)
      return CNN_NULL_POINTER;
  run(&call);
  return CNN_OK;
}

int cnn_train_step(void* parameters, void* state, int64_t batch, const void* const* inputs, float* loss,
                   void* workspace, const cnn_threads* threads)
{
  const cnn_model* model = &cnn_network_data.model;
  int code = cnn_check_parameters(parameters);
  if (code == CNN_OK && model->state_count > 0)
    code = cnn_check_state(state);
  if (code != CNN_OK)
    return code;
  const call call = {.variant = cnn_variant_of(&cnn_network_data),
                     .mode = CNN_TRAIN,
                     .n = batch,
                     .parameters = (char*)parameters + CNN_HEADER_BYTES,
                     .state = state == NULL ? NULL : (char*)state + CNN_HEADER_BYTES,
                     .inputs = inputs,
                     .loss = loss,
                     .workspace = workspace,
                     .threads = threads};
  code = check(&call, model->train_inputs, model->train_input_count);
  if (code != CNN_OK)
    return code;
  if (loss == NULL)
    return CNN_NULL_POINTER;
  run(&call);
  cnn_prepare(&cnn_network_data, parameters);
  return CNN_OK;
}

int cnn_gradients(const void* parameters, const void* state, int64_t batch, const void* const* inputs, float* loss,
                  void* gradients, void* workspace, const cnn_threads* threads)
{
  const cnn_model* model = &cnn_network_data.model;
  int code = cnn_check_parameters(parameters);
  if (code == CNN_OK && model->state_count > 0)
    code = cnn_check_state(state);
  if (code != CNN_OK)
    return code;
  const call call = {.variant = cnn_variant_of(&cnn_network_data),
                     .mode = CNN_GRADIENTS,
                     .n = batch,
                     .parameters = (char*)parameters + CNN_HEADER_BYTES,
                     .state = state == NULL ? NULL : (char*)state + CNN_HEADER_BYTES,
                     .gradients = (char*)gradients + CNN_HEADER_BYTES,
                     .inputs = inputs,
                     .loss = loss,
                     .workspace = workspace,
                     .threads = threads};
  code = check(&call, model->train_inputs, model->train_input_count);
  if (code != CNN_OK)
    return code;
  if (loss == NULL || gradients == NULL)
    return CNN_NULL_POINTER;
  if ((uintptr_t)gradients % CNN_ALIGNMENT != 0)
    return CNN_BAD_ALIGNMENT;
  cnn_start_gradients(gradients); /* frozen parameters have no gradient: zero */
  run(&call);
  return CNN_OK;
}

int64_t cnn_workspace_bytes(int64_t batch, int threads, cnn_mode mode)
{
  if ((int)mode < CNN_FORWARD || (int)mode > CNN_GRADIENTS)
    return -CNN_BAD_SIZE;
  if (cnn_network_data.variants[0].functions[mode].step_count == 0)
    return -CNN_NOT_COMPILED;
  if (batch < 1 || batch > cnn_network_data.batch_limit)
    return -CNN_BAD_BATCH;
  if (threads < 1 || threads > CNN_MAX_THREADS)
    return -CNN_BAD_THREADS;
  return workspace_bytes(mode, batch, threads);
}

const char* cnn_target(void)
{
  const cnn_variant* variant = cnn_variant_of(&cnn_network_data);
  return variant == NULL ? NULL : variant->target;
}
