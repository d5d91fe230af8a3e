/* Trains LeNet-5 from C, with nothing but the compiled network:
 *
 *   cnnc examples/lenet5.yaml --train -o lenet5.so
 *   cc -std=gnu11 -I. examples/train_lenet.c -L. -l:lenet5.so -Wl,-rpath,. -o train_lenet
 *   ./train_lenet /usr/share/datasets/fashion-mnist lenet5.safetensors */
#include "lenet5.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 28 * 28, CLASSES = 10, TRAIN = 60000, TEST = 10000, BATCH = 50, EPOCHS = 4 };
static unsigned char pixels[16 + TRAIN * PIXELS], classes[8 + TRAIN]; /* idx files: a head, then the bytes */
static float image[BATCH * PIXELS], scores[BATCH * CLASSES], loss;
static int32_t label[BATCH];

static void check(int code)
{
  if (code != CNN_OK)
    exit(fprintf(stderr, "train_lenet: %s\n", lenet5_error(code)) > 0);
}

static void read_idx(const char* folder, const char* name, unsigned char* data, size_t bytes)
{
  char command[4096];
  snprintf(command, sizeof command, "gzip -dc '%s/%s-ubyte.gz'", folder, name);
  FILE* pipe = popen(command, "r");
  check(pipe != NULL && fread(data, 1, bytes, pipe) == bytes && pclose(pipe) == 0 ? CNN_OK : CNN_CANNOT_READ);
}

/* A batch of every `step`th picture, going round: bytes to numbers between 0 and 1. */
static void gather(long first, long step)
{
  for (long i = 0; i < BATCH; ++i) {
    const long which = (first + i) * step % TRAIN;
    label[i] = classes[8 + which];
    for (long p = 0; p < PIXELS; ++p)
      image[i * PIXELS + p] = pixels[16 + which * PIXELS + p] / 255.f;
  }
}

int main(int argc, char** argv)
{
  const char* folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
  lenet5_parameters* parameters = aligned_alloc(CNN_ALIGNMENT, lenet5()->parameter_bytes);
  lenet5_state* state = aligned_alloc(CNN_ALIGNMENT, lenet5()->state_bytes);
  void* workspace = aligned_alloc(CNN_ALIGNMENT, lenet5_workspace_bytes(BATCH, 1, CNN_TRAIN)); /* forward needs less */
  check(lenet5_init_parameters(parameters, 1));
  check(lenet5_init_state(state, 1));

  read_idx(folder, "train-images-idx3", pixels, sizeof pixels);
  read_idx(folder, "train-labels-idx1", classes, sizeof classes);
  for (int epoch = 0; epoch < EPOCHS; ++epoch) {
    static const long steps[EPOCHS] = {7919, 17389, 27449, 37813}; /* primes: each epoch has an order of its own */
    const float rate = epoch + 1 < EPOCHS ? 0.05f : 0.005f;        /* the last one takes small steps */
    float sum = 0;
    check(lenet5_set_state(state, "learning_rate", &rate, 1));
    for (long first = 0; first < TRAIN; first += BATCH, sum += loss) {
      gather(first, steps[epoch]);
      check(lenet5_train_step(parameters, state, BATCH, image, label, &loss, workspace, NULL));
    }
    printf("epoch %d: loss %.4f\n", epoch + 1, sum / (TRAIN / BATCH));
  }

  int right = 0;
  read_idx(folder, "t10k-images-idx3", pixels, 16 + TEST * PIXELS);
  read_idx(folder, "t10k-labels-idx1", classes, 8 + TEST);
  for (long first = 0; first < TEST; first += BATCH) {
    gather(first, 1);
    check(lenet5_forward(parameters, BATCH, image, scores, workspace, NULL));
    for (const float* s = scores; s < scores + BATCH * CLASSES; s += CLASSES) {
      int best = 0;
      for (int c = 1; c < CLASSES; ++c)
        best = s[c] > s[best] ? c : best;
      right += best == label[(s - scores) / CLASSES];
    }
  }
  printf("%.2f %% of the test pictures are right\n", 100. * right / TEST);
  if (argc > 2)
    check(lenet5_save_parameters(parameters, argv[2]));
  return 0;
}
