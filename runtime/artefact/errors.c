/* What the codes mean. */
#include "network.h"

const char* cnn_error(int code)
{
  switch (code) {
  case CNN_OK: return "no error";
  case CNN_NULL_POINTER: return "a pointer that must not be NULL is NULL";
  case CNN_BAD_ALIGNMENT: return "a block of memory is not aligned to 64 bytes";
  case CNN_BAD_BATCH: return "the batch is below 1, or so large that its workspace has no size";
  case CNN_BAD_LABEL: return "a label is negative, or not below the number of classes";
  case CNN_BAD_PARAMETERS: return "this is not a parameter block of this network, or it was never initialised";
  case CNN_BAD_STATE: return "this is not a state block of this network, or it was never initialised";
  case CNN_BAD_THREADS: return "the cnn_threads are of another version, or their count is out of range";
  case CNN_NOT_FOUND: return "the network has no tensor of this name";
  case CNN_BAD_SIZE: return "the number of elements, or the mode, does not fit";
  case CNN_NOT_COMPILED: return "this function was not compiled in: compile the network with --train";
  case CNN_BAD_CPU:
    return "this machine lacks instructions that the network was compiled for: compile it with another -march or "
           "--targets";
  case CNN_NO_MEMORY: return "out of memory, or of threads";
  case CNN_CANNOT_READ: return "the file cannot be read";
  case CNN_CANNOT_WRITE: return "the file cannot be written";
  case CNN_BAD_FILE:
    return "not a .safetensors file, or it is truncated, or a parameter is missing or has another type or shape";
  }
  return "unknown error code";
}
