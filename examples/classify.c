/* Says what is on a picture of 28 x 28 grey pixels (PGM, light on dark), with nothing but the compiled network:
 *
 *   cnnc examples/lenet5.yaml --weights lenet5.safetensors -o lenet5.so      (the weights are in the library)
 *   cc -std=gnu11 -I. examples/classify.c -L. -l:lenet5.so -Wl,-rpath,. -o classify
 *   ./classify shirt.pgm                        or:  ./classify t10k-images-idx3-ubyte 17   (picture 17 of an idx file)
 */
#include "lenet5.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 28 * 28, CLASSES = 10 };

static const char* const names[CLASSES] = {"T-shirt", "trousers", "pullover", "dress", "coat",
                                           "sandal",  "shirt",    "sneaker",  "bag",   "ankle boot"};

static int fail(const char* what, const char* why)
{
  fprintf(stderr, "classify: %s: %s\n", what, why);
  return 1;
}

static int read_picture(const char* path, long number, unsigned char* pixels)
{
  int width = 0, height = 0, most = 0;
  FILE* file = fopen(path, "rb");
  if (file == NULL)
    return 0;
  if (number >= 0)
    fseek(file, 16 + number * PIXELS, SEEK_SET); /* idx: a head of 16 bytes, then the pictures */
  else if (fscanf(file, "P5 %d %d %d", &width, &height, &most) != 3 || width != 28 || height != 28 || most != 255)
    fseek(file, 0, SEEK_END);
  else
    fgetc(file);
  size_t got = fread(pixels, 1, PIXELS, file);
  fclose(file);
  return got == PIXELS;
}

int main(int argc, char** argv)
{
  unsigned char pixels[PIXELS];
  float image[PIXELS], softmax[CLASSES];
  if (argc < 2 || !read_picture(argv[1], argc > 2 ? atol(argv[2]) : -1, pixels))
    return fail(argc < 2 ? "usage" : argv[1],
                argc < 2 ? "classify PICTURE [NUMBER]" : "no 28 x 28 picture can be read");
  for (int i = 0; i < PIXELS; ++i)
    image[i] = pixels[i] / 255.f;

  const lenet5_parameters* parameters = lenet5()->embedded;
  if (parameters == NULL)
    return fail("lenet5.so", "compile it with --weights");
  void* workspace = aligned_alloc(CNN_ALIGNMENT, lenet5_workspace_bytes(1, 1, CNN_FORWARD));
  int code = lenet5_forward(parameters, 1, image, softmax, workspace, NULL);
  if (code != CNN_OK)
    return fail("lenet5", lenet5_error(code));

  for (int y = 0; y < 28; y += 2) { /* what the network sees, in letters */
    for (int x = 0; x < 28; ++x)
      putchar(" .:-=+*#%@"[pixels[y * 28 + x] * 9 / 255]);
    putchar('\n');
  }
  for (int rank = 0; rank < 3; ++rank) {
    int best = 0;
    for (int c = 1; c < CLASSES; ++c)
      best = softmax[c] > softmax[best] ? c : best;
    printf("%5.1f %%  %s\n", 100 * softmax[best], names[best]);
    softmax[best] = -1;
  }
  free(workspace);
  return 0;
}
