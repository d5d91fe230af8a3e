/* First values of parameters and states.
 *
 *   zero               0
 *   one                1
 *   constant(0.05)     that number
 *   he(fan_in)         normal, deviation sqrt(2 / fan_in)                      He et al., arXiv 1502.01852, section 2.2
 *   glorot(in,out)     uniform in +-sqrt(6 / (in + out))                       Glorot, Bengio, AISTATS 2010, (16)
 *
 * Element i (row-major) of a tensor depends on the seed, the tensor's name and i alone: layouts and the order of
 * tensors make no difference. The numbers are those of ir/random.h. log and cos are written out, since those of libm
 * differ in the last bit from machine to machine. */
#include "network.h"

#include <string.h>

static uint64_t key_of(uint64_t seed, const char* name)
{
  uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *name != 0; ++name)
    hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
  uint64_t z = (seed ^ hash) + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) | 1;
}

static uint32_t random_bits(uint64_t key, uint64_t counter)
{
  uint64_t x = counter * key, y = x, z = y + key;
  x = x * x + y;
  x = (x >> 32) | (x << 32);
  x = x * x + z;
  x = (x >> 32) | (x << 32);
  x = x * x + y;
  x = (x >> 32) | (x << 32);
  return (uint32_t)((x * x + z) >> 32);
}

/* x in (0, 1]: x = m * 2^e with m near 1, log m = 2 atanh((m - 1) / (m + 1)). */
static double log_of(double x)
{
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = (int)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m /= 2;
    exponent += 1;
  }
  const double t = (m - 1) / (m + 1), square = t * t;
  double sum = 0;
#pragma GCC unroll 11 /* the quotients become constants */
  for (int k = 21; k >= 1; k -= 2)
    sum = sum * square + 1.0 / k;
  return exponent * 0.6931471805599453 + 2 * t * sum;
}

/* cos(2 pi u), u in [0, 1): to the nearest quarter turn, then the series. */
static double cos_of_turn(double u)
{
  const int quarter = (int)(4 * u + 0.5);
  const double a = (u - quarter * 0.25) * 6.283185307179586, square = a * a;
  double sum = 0;
  if (quarter & 1) { /* cos(a + pi/2) = -sin(a) */
#pragma GCC unroll 8
    for (int k = 17; k >= 3; k -= 2)
      sum = (sum + 1) * -square * (1.0 / (k * (k - 1)));
    sum = (sum + 1) * -a;
  } else {
#pragma GCC unroll 8
    for (int k = 16; k >= 2; k -= 2)
      sum = (sum + 1) * -square * (1.0 / (k * (k - 1)));
    sum = sum + 1;
  }
  return quarter & 2 ? -sum : sum;
}

/* Box and Muller, "A note on the generation of random normal deviates", 1958. */
static double normal(uint64_t key, uint64_t i)
{
  const double u = ((double)random_bits(key, 2 * i) + 1) * 0x1p-32, v = random_bits(key, 2 * i + 1) * 0x1p-32;
  return __builtin_sqrt(-2 * log_of(u)) * cos_of_turn(v);
}

static void store(cnn_dtype dtype, void* to, int64_t i, double value)
{
  switch (dtype) {
  case CNN_F32: ((float*)to)[i] = (float)value; break;
  case CNN_F64: ((double*)to)[i] = value; break;
  case CNN_BF16: {
    const float rounded = (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    ((uint16_t*)to)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    break;
  }
  case CNN_I8: ((int8_t*)to)[i] = (int8_t)value; break;
  case CNN_U8:
  case CNN_BOOL: ((uint8_t*)to)[i] = (uint8_t)value; break;
  case CNN_I32: ((int32_t*)to)[i] = (int32_t)value; break;
  case CNN_I64: ((int64_t*)to)[i] = (int64_t)value; break;
  }
}

/* "-1.5e-3": strtod would ask the locale what a point is. Right to the last bit up to 15 digits and 22 powers of ten.
 */
static double number(const char** text)
{
  const char* at = *text;
  const int negative = *at == '-';
  at += negative;
  double value = 0;
  int power = 0, exponent = 0;
  for (int point = 0; (*at >= '0' && *at <= '9') || (*at == '.' && !point); ++at) {
    if (*at == '.')
      point = 1;
    else {
      value = value * 10 + (*at - '0');
      power -= point;
    }
  }
  if (*at == 'e') {
    const int down = at[1] == '-';
    for (at += 1 + (at[1] == '-' || at[1] == '+'); *at >= '0' && *at <= '9' && exponent < 1000; ++at)
      exponent = exponent * 10 + (*at - '0');
    power += down ? -exponent : exponent;
  }
  double scale = 1;
  for (int i = power < 0 ? -power : power; i > 0; --i)
    scale *= 10;
  *text = at;
  value = power < 0 ? value / scale : value * scale;
  return negative ? -value : value;
}

void cnn_fill(const cnn_tensor* tensor, void* block, uint64_t seed)
{
  enum { CHUNK = 512 };
  const char* text = tensor->initial;
  double constant = 0, scale = 0;
  int is_normal = 0, is_uniform = 0;
  if (strcmp(text, "one") == 0)
    constant = 1;
  else if (strncmp(text, "constant(", 9) == 0) {
    text += 9;
    constant = number(&text);
  } else if (strncmp(text, "he(", 3) == 0) {
    text += 3;
    is_normal = 1;
    scale = __builtin_sqrt(2 / number(&text));
  } else if (strncmp(text, "glorot(", 7) == 0) {
    text += 7;
    is_uniform = 1;
    const double fan_in = number(&text);
    ++text;
    scale = __builtin_sqrt(6 / (fan_in + number(&text)));
  } else
    return; /* zero: the block is */
  const uint64_t key = key_of(seed, tensor->name);
  const int64_t elements = cnn_elements_of(tensor);
  double values[CHUNK];
  for (int64_t begin = 0; begin < elements; begin += CHUNK) {
    const int64_t count = elements - begin < CHUNK ? elements - begin : CHUNK;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t at = (uint64_t)(begin + i);
      const double value = is_normal    ? scale * normal(key, at)
                           : is_uniform ? scale * (2 * ((random_bits(key, at) >> 8) * 0x1p-24) - 1)
                                        : constant;
      store(tensor->dtype, values, i, value);
    }
    cnn_scatter(tensor, block, begin, count, values);
  }
}
