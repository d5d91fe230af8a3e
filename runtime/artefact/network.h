/* What the compiler tells the runtime of a network, and what the files of this folder share.
 *
 *   lenet5_forward(p, batch, image, softmax, workspace, threads)         made by the compiler: gathers the tensors
 *     => cnn_forward(p, batch, {image}, {softmax}, workspace, threads)   calls.c: checks, then
 *          => variant->functions[CNN_FORWARD].steps[...]                 one region of a kernel each, in this order
 *
 * This folder travels in every compiled network: C11, libc and libm, nothing else; no constructors, no global state but
 * the answer of cpuid. One network is linked with one copy of it. Names with `cnn` in front are its own.
 */
#ifndef CNN_NETWORK_H
#define CNN_NETWORK_H

#include "cnn.h"

#include <assert.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CNN_MAX_RANK = 8, CNN_MAX_THREADS = 1024, CNN_HEADER_BYTES = 64 };

/* Where an operand lies. `index` numbers the caller's inputs and outputs. */
enum {
  CNN_PLACE_FIXED = 0,     /* workspace + offset */
  CNN_PLACE_IMAGE = 1,     /* workspace + fixed + n * offset + part */
  CNN_PLACE_PARAMETER = 2, /* behind the header of the parameters' block, + offset */
  CNN_PLACE_STATE = 3,
  CNN_PLACE_CONSTANT = 4,
  CNN_PLACE_INPUT = 5,
  CNN_PLACE_OUTPUT = 6,
  CNN_PLACE_LOSS = 7,
  CNN_PLACE_GRADIENT = 8, /* behind the header of the gradients' block, + offset */
  CNN_PLACE_RUN = 9       /* in the workspace, of the one image that is on its way + offset + part */
};

typedef struct cnn_operand {
  int32_t place, index;
  int64_t offset;      /* bytes */
  int64_t part;        /* bytes of an image before the operand, where that is a part of what lies at `offset` */
  int64_t image_bytes; /* from one image to the next; 0: it is the same for all, or of one alone */
} cnn_operand;

/* Tasks [begin, end) of one top-level loop of a kernel. `local` is this thread's part of the workspace. */
typedef void (*cnn_region)(void* const* arguments, int64_t n, void* local, int64_t begin, int64_t end);

typedef struct cnn_step {
  cnn_region run; /* NULL: operands[0] becomes a copy of operands[1], of tasks + n * tasks_per_image bytes */
  const cnn_operand* operands;
  int32_t operand_count, line;
  int64_t tasks, tasks_per_image;
  int64_t run_steps;           /* > 0: images go through so many steps, from this one on, one after the other */
  double work, work_per_image; /* roughly how many vectors it computes: little work stays on one thread */
  double operations, operations_per_image, bytes, bytes_per_image; /* as cnn_step_info tells them */
  const char* name;                                                /* the layers of the kernel */
} cnn_step;

typedef struct cnn_function {
  const cnn_step* steps;
  int64_t step_count; /* 0: not compiled */
} cnn_function;

/* Values that follow from the parameters alone lie behind them in their block. Some of the steps write them, the others
 * what these need. Steps run on one thread and use nothing but the block. */
typedef struct cnn_preparation {
  cnn_function function; /* CNN_PLACE_FIXED: block + scratch + offset; no steps: nothing is prepared */
  int64_t begin;         /* offset in a block: the parameters end here */
  int64_t scratch, local;
  /* A parameter's steps, ascending: steps[first[i]] ... steps[first[i + 1] - 1]. */
  const int32_t *first, *steps;
} cnn_preparation;

/* The network for one of the targets that it was compiled for: tables over its own kernels. */
typedef struct cnn_variant {
  const char* target;        /* "x86-64-v3" */
  uint64_t needs;            /* rows of cpu_features.def */
  cnn_function functions[3]; /* by cnn_mode; compiled for every target or for none */
  cnn_preparation preparation;
} cnn_variant;

typedef struct cnn_network {
  cnn_model model;
  const cnn_variant* variants; /* the best first; they share blocks, constants and sizes */
  int64_t variant_count;
  uint64_t state_fingerprint;
  int64_t batch_limit;     /* the largest batch for which no size overflows */
  const void* constants;   /* blob, or NULL */
  const void* known;       /* a parameter block with the values that are known now, or NULL */
  const uint8_t* is_known; /* for each parameter; NULL where `known` is */
} cnn_network;

extern const cnn_network cnn_network_data;

typedef struct cnn_block_header {
  char magic[8]; /* "cnnparam" or "cnnstate" */
  uint32_t abi_version, reserved;
  uint64_t fingerprint;
  int64_t bytes; /* of the block */
  uint8_t zero[32];
} cnn_block_header;

static_assert(sizeof(cnn_block_header) == CNN_HEADER_BYTES, "the tensors behind the header stay aligned");
static_assert(sizeof(cnn_operand) == 32 && sizeof(cnn_step) == 104 && sizeof(cnn_axis) == 48 &&
                  sizeof(cnn_tensor) == 80 && sizeof(cnn_model) == 384 && sizeof(cnn_preparation) == 56 &&
                  sizeof(cnn_variant) == 120 && sizeof(cnn_network) == 440,
              "the compiler writes these tables: compiler/llvm/emit_model.cpp");

/* cpu.c: does this machine have all that `needs` names? */
int cnn_cpu_has(uint64_t needs);

/* variants.c: the best one that this machine runs, or NULL. The compiler calls it too. */
const cnn_variant* cnn_variant_of(const cnn_network* network);

/* pool.c */
int cnn_threads_create(int count, cnn_threads** threads);
void cnn_threads_free(cnn_threads* threads);

/* calls.c */
int cnn_forward(const void* parameters, int64_t batch, const void* const* inputs, void* const* outputs, void* workspace,
                const cnn_threads* threads);
int cnn_train_step(void* parameters, void* state, int64_t batch, const void* const* inputs, float* loss,
                   void* workspace, const cnn_threads* threads);
int cnn_gradients(const void* parameters, const void* state, int64_t batch, const void* const* inputs, float* loss,
                  void* gradients, void* workspace, const cnn_threads* threads);
int64_t cnn_workspace_bytes(int64_t batch, int threads, cnn_mode mode);

const char* cnn_target(void); /* of the variant that runs here, or NULL */

/* blocks.c */
int cnn_check_parameters(const void* block);
int cnn_check_state(const void* block);
int cnn_can_prepare(void);              /* CNN_OK, or why prepare.c's code must not run here */
void cnn_start_parameters(void* block); /* zeros, then the header */
void cnn_start_gradients(void* block);  /* likewise, but nothing is prepared there */
int cnn_init_parameters(void* block, uint64_t seed);
int cnn_init_state(void* block, uint64_t seed);
int cnn_set_parameter(void* block, const char* name, const void* values, int64_t count);
int cnn_get_parameter(const void* block, const char* name, void* values, int64_t count);
int cnn_set_state(void* block, const char* name, const void* values, int64_t count);
int cnn_get_state(const void* block, const char* name, void* values, int64_t count);

/* prepare.c: after all parameters have changed, or the one of this number. The compiler calls it too. */
void cnn_prepare(const cnn_network* network, void* block);
void cnn_prepare_after(const cnn_network* network, void* block, int32_t parameter);

/* elements.c */
int64_t cnn_size_of(cnn_dtype dtype);
int64_t cnn_elements_of(const cnn_tensor* tensor);
/* Elements first ... first + count - 1, counted row-major, between their places in a block and a plain array. */
void cnn_scatter(const cnn_tensor* tensor, void* block, int64_t first, int64_t count, const void* values);
void cnn_gather(const cnn_tensor* tensor, const void* block, int64_t first, int64_t count, void* values);

/* initial.c: one tensor's first values, by its `initial`; the block is all zero there. */
void cnn_fill(const cnn_tensor* tensor, void* block, uint64_t seed);

/* safetensors.c */
int cnn_load_parameters(void* block, const char* path);
int cnn_save_parameters(const void* block, const char* path);

/* errors.c */
const char* cnn_error(int code);

#ifdef __cplusplus
}
#endif

#endif
