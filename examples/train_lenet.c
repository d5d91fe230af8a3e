/* Trains LeNet-5 from C, with nothing but the compiled network:
 *
 *   cnnc examples/lenet5.yaml --train -o lenet5.so
 *   cc -std=gnu11 -I. examples/train_lenet.c -L. -l:lenet5.so -Wl,-rpath,. -o train_lenet
 *   ./train_lenet /usr/share/datasets/fashion-mnist lenet5.safetensors */
#include "lenet5.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 28 * 28, CLASSES = 10, BATCH = 64, EPOCHS = 3 };

static void check(int code)
{
  if (code == CNN_OK)
    return;
  fprintf(stderr, "train_lenet: %s\n", lenet5_error(code));
  exit(1);
}

/* What lies behind the head of an idx file, which is packed with gzip. */
static unsigned char* read_idx(const char* folder, const char* name, size_t head, size_t bytes)
{
  char command[4096];
  unsigned char* data = malloc(head + bytes);
  snprintf(command, sizeof command, "gzip -dc '%s/%s.gz'", folder, name);
  FILE* pipe = popen(command, "r");
  if (data == NULL || pipe == NULL || fread(data, 1, head + bytes, pipe) != head + bytes || pclose(pipe) != 0) {
    fprintf(stderr, "train_lenet: cannot read %s/%s.gz\n", folder, name);
    exit(1);
  }
  return data + head;
}

/* Pictures `order[0 .. count-1]`: bytes to numbers between 0 and 1. */
static void gather(const unsigned char* pixels, const unsigned char* classes, const int* order, int count, float* image,
                   int32_t* label)
{
  for (int i = 0; i < count; ++i) {
    label[i] = classes[order[i]];
    for (int p = 0; p < PIXELS; ++p)
      image[i * PIXELS + p] = pixels[(size_t)order[i] * PIXELS + p] / 255.f;
  }
}

int main(int argc, char** argv)
{
  static float image[BATCH * PIXELS], scores[BATCH * CLASSES];
  static int32_t label[BATCH];
  static int order[60000];
  const char* folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
  const unsigned char* pixels = read_idx(folder, "train-images-idx3-ubyte", 16, (size_t)60000 * PIXELS);
  const unsigned char* classes = read_idx(folder, "train-labels-idx1-ubyte", 8, 60000);
  const unsigned char* test_pixels = read_idx(folder, "t10k-images-idx3-ubyte", 16, (size_t)10000 * PIXELS);
  const unsigned char* test_classes = read_idx(folder, "t10k-labels-idx1-ubyte", 8, 10000);

  cnn_threads* threads;
  check(lenet5_threads_create(2, &threads));
  lenet5_parameters* parameters = aligned_alloc(CNN_ALIGNMENT, lenet5()->parameter_bytes);
  lenet5_state* state = aligned_alloc(CNN_ALIGNMENT, lenet5()->state_bytes);
  /* One block for both: the training step takes more than forward does. */
  void* workspace = aligned_alloc(CNN_ALIGNMENT, lenet5_workspace_bytes(BATCH, 2, CNN_TRAIN));
  check(lenet5_init_parameters(parameters, 1));
  check(lenet5_init_state(state, 1));

  for (int i = 0; i < 60000; ++i)
    order[i] = i;
  for (int epoch = 1; epoch <= EPOCHS; ++epoch) {
    float loss, sum = 0, rate = epoch == EPOCHS ? 0.005f : 0.05f; /* the last epoch with small steps */
    check(lenet5_set_state(state, "learning_rate", &rate, 1));
    for (int i = 59999; i > 0; --i) { /* a new order */
      int other = rand() % (i + 1), kept = order[i];
      order[i] = order[other];
      order[other] = kept;
    }
    for (int first = 0; first + BATCH <= 60000; first += BATCH) {
      gather(pixels, classes, order + first, BATCH, image, label);
      check(lenet5_train_step(parameters, state, BATCH, image, label, &loss, workspace, threads));
      sum += loss;
    }
    printf("epoch %d: loss %.4f\n", epoch, sum / (60000 / BATCH));
  }

  int right = 0;
  for (int i = 0; i < 10000; ++i)
    order[i] = i;
  for (int first = 0; first < 10000; first += BATCH) {
    int count = first + BATCH <= 10000 ? BATCH : 10000 - first;
    gather(test_pixels, test_classes, order + first, count, image, label);
    check(lenet5_forward(parameters, count, image, scores, workspace, threads));
    for (int i = 0; i < count; ++i) {
      int best = 0;
      for (int c = 1; c < CLASSES; ++c)
        best = scores[i * CLASSES + c] > scores[i * CLASSES + best] ? c : best;
      right += best == label[i];
    }
  }
  printf("%.2f %% of the test pictures are right\n", right / 100.);
  if (argc > 2)
    check(lenet5_save_parameters(parameters, argv[2]));
  lenet5_threads_free(threads);
  return 0;
}
