/* The C interface of a compiled network.
 *
 * Every network `lenet5` exports its functions under its own name (lenet5_forward, ...) and one descriptor, lenet5().
 * The types here are the same for all of them; lenet5.h carries a copy of this file, so that nothing else is needed.
 *
 * Rules that hold for every call:
 * - It returns CNN_OK or an error code; lenet5_error(code) says what it means. Nothing prints, exits or throws.
 * - It allocates nothing (lenet5_threads_create and the file functions do), keeps nothing, and may be made from any
 *   number of threads at once, as long as they do not share a workspace, or write one set of parameters.
 * - Tensors at the interface are row-major, in the order that the descriptor tells (images: n, channel, row, column).
 * - Workspaces, parameters and states are blocks of memory that the caller owns, aligned to 64 bytes.
 */
#ifndef CNN_H
#define CNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CNN_ABI_VERSION 1
#define CNN_ALIGNMENT 64

enum {
  CNN_OK = 0,
  CNN_NULL_POINTER = 1,   /* a pointer that must not be NULL is NULL */
  CNN_BAD_ALIGNMENT = 2,  /* a block is not aligned to CNN_ALIGNMENT bytes */
  CNN_BAD_BATCH = 3,      /* the batch is below 1 or too large */
  CNN_BAD_LABEL = 4,      /* a label is outside [0, classes) */
  CNN_BAD_PARAMETERS = 5, /* the block is not a parameter block of this network (or was never initialised) */
  CNN_BAD_STATE = 6,      /* likewise a state block */
  CNN_BAD_THREADS = 7,    /* a cnn_threads of another version, or a count below 1 */
  CNN_NOT_FOUND = 8,      /* no tensor of that name */
  CNN_BAD_SIZE = 9,       /* a count of elements, or a mode, that does not fit */
  CNN_NOT_COMPILED = 10,  /* this function was not compiled in (--train) */
  CNN_BAD_CPU = 11,       /* this machine lacks instructions that the code needs, for whichever target */
  CNN_NO_MEMORY = 12,
  CNN_CANNOT_READ = 13,
  CNN_CANNOT_WRITE = 14,
  CNN_BAD_FILE = 15 /* not a .safetensors file, truncated, or tensors that do not fit */
};

/* What a call runs on: this thread alone (NULL), or `count` threads through parallel_for. */
typedef void (*cnn_body)(void* context, int64_t begin, int64_t end, int thread);

/* One step of a call, for profilers: (a part of) a kernel. */
typedef struct cnn_step_info {
  const char* kernel; /* "conv1, relu1": the layers in it */
  int32_t line;       /* of the first one in the network's file, 0 where unknown */
  int32_t number;     /* 0, 1, ... in the order in which the steps run */
  double operations;  /* two for each multiply-add of the layers' definitions */
  double bytes;       /* of its operands, each counted once */
} cnn_step_info;
/* Where images go through several steps one by one, a step is told again for each of them that thread 0 computes, with
 * the numbers of all images each time. */
typedef struct cnn_observer {
  void (*step)(void* context, const cnn_step_info* step, int is_done); /* 0: before it, 1: behind it */
  void* context;
} cnn_observer;

typedef struct cnn_threads {
  uint32_t abi_version; /* CNN_ABI_VERSION */
  uint32_t struct_size; /* sizeof(cnn_threads) */
  int32_t count;        /* threads that may run at once; `thread` below is less than it */
  int32_t reserved;
  /* Calls body(context, begin, end, thread) on disjoint ranges that cover [0, tasks), no two calls at the same time with
   * the same `thread`, and returns when all are done. Which thread runs which range makes no difference to the result. */
  void (*parallel_for)(void* pool, int64_t tasks, cnn_body body, void* context);
  void* pool;
  const cnn_observer* observer; /* or NULL */
} cnn_threads;

typedef enum cnn_mode { CNN_FORWARD = 0, CNN_TRAIN = 1, CNN_GRADIENTS = 2 } cnn_mode;

typedef enum cnn_dtype {
  CNN_F32 = 0,
  CNN_F64 = 1,
  CNN_BF16 = 2,
  CNN_I8 = 3,
  CNN_U8 = 4,
  CNN_I32 = 5,
  CNN_I64 = 6,
  CNN_BOOL = 7
} cnn_dtype;

/* How a parameter lies in its block, outermost axis first: coordinate = (element[dim] + before) / divide, or
 * (element[dim] + before) / divide % modulo where modulo is not 0; offset = sum of coordinate * stride (in elements). */
typedef struct cnn_axis {
  int32_t dim;
  int32_t reserved;
  int64_t divide, modulo, before, extent, stride;
} cnn_axis;

typedef struct cnn_tensor {
  const char* name;
  cnn_dtype dtype;
  int32_t rank;
  const int64_t* dims; /* an extent with the batch is negative: -1 is n, -4 is 4 * n */
  int64_t limit;       /* integer inputs: values must be in [0, limit); 0: any */
  const char* initial; /* parameters, states: "zero", "one", "constant(0.05)", "he(25)", "glorot(25,6)" */
  double rate;         /* parameters: times the learning rate; 0: frozen */
  int64_t offset;      /* parameters, states: bytes from the block's start; else 0 */
  int64_t stored;      /* elements it takes there, pads included */
  int32_t axis_count;
  int32_t line;         /* in the network's file, 0 where unknown */
  const cnn_axis* axes; /* parameters, states */
} cnn_tensor;

/* The workspace of a mode: fixed + batch * per_image + threads * per_thread + images * per_run bytes. So many images go
 * through several steps at the same time, each on its way alone: `threads` of them, or one where the batch is smaller. */
typedef struct cnn_memory {
  int64_t fixed, per_image, per_thread, per_run;
} cnn_memory;

typedef struct cnn_model {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* name;
  const char* compiler;    /* "cnnc 0.1.0" */
  const char *march, *cpu; /* each machine it was compiled for, the best first, with commas between */
  const char* features;    /* likewise, with semicolons between: "+avx2,+fma;" */
  const char* flags;
  const char* source;   /* the YAML (or IR) text */
  uint64_t fingerprint; /* of the parameters' names, shapes and layouts: what a block must carry */
  int32_t input_count, output_count, parameter_count, state_count, train_input_count;
  int32_t reserved;
  const cnn_tensor *inputs, *outputs, *parameters, *states;
  const cnn_tensor* train_inputs;       /* inputs of train_step and gradients: images, then labels */
  int64_t parameter_bytes, state_bytes; /* of the blocks, headers included */
  cnn_memory memory[3];                 /* by cnn_mode */
  const void* embedded;                 /* a parameter block inside the library, or NULL */

  /* The functions of this network with untyped tensors, for programs that load any network. `tensors`: inputs, then
   * outputs, in the descriptor's order. */
  int (*forward)(const void* parameters, int64_t batch, const void* const* inputs, void* const* outputs,
                 void* workspace, const cnn_threads* threads);
  /* One step: forward, loss, backward, update. `loss` receives the mean over the batch. */
  int (*train_step)(void* parameters, void* state, int64_t batch, const void* const* inputs, float* loss,
                    void* workspace, const cnn_threads* threads);
  /* Loss and gradients, and no update. `gradients` has the shape of a parameter block (read it with get_parameter). */
  int (*gradients)(const void* parameters, const void* state, int64_t batch, const void* const* inputs, float* loss,
                   void* gradients, void* workspace, const cnn_threads* threads);
  int64_t (*workspace_bytes)(int64_t batch, int threads, cnn_mode mode); /* negative: minus an error code */
  /* First values: counter-based random numbers from the seed, the same on every machine. */
  int (*init_parameters)(void* parameters, uint64_t seed);
  int (*init_state)(void* state, uint64_t seed);
  /* One tensor by name, in the standard layout; `count` is its number of elements. */
  int (*set_parameter)(void* parameters, const char* name, const void* values, int64_t count);
  int (*get_parameter)(const void* parameters, const char* name, void* values, int64_t count);
  int (*set_state)(void* state, const char* name, const void* values, int64_t count);
  int (*get_state)(const void* state, const char* name, void* values, int64_t count);
  /* .safetensors; every parameter must be there with its shape, others are ignored. Saving writes aside, then renames. */
  int (*load_parameters)(void* parameters, const char* path);
  int (*save_parameters)(const void* parameters, const char* path);
  int (*create_threads)(int count, cnn_threads** threads);
  void (*free_threads)(cnn_threads* threads);
  const char* (*error)(int code);
  const char* (*target)(void); /* the one of `march` whose code runs here; NULL: this machine lacks what each needs */
} cnn_model;

#ifdef __cplusplus
}
#endif
#endif
