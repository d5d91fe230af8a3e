/* Does this machine have the instructions that the code was compiled for? Asked before the first of them runs, by code
 * that needs none of them: a message instead of SIGILL. cpuid leaves a virtual machine, which takes tens of
 * microseconds, so the answer is kept. */
#include "network.h"

#include <cpuid.h>
#include <stdatomic.h>

enum { EAX, EBX, ECX, EDX };
/* XCR0: the registers that survive a task switch. */
enum { NONE = 0, YMM = 0x06, ZMM = 0xe6 };

static const struct {
  uint32_t leaf, subleaf, word, bit, state;
} features[] = {
#define CPU_FEATURE(name, leaf, subleaf, word, bit, state) {leaf, subleaf, word, bit, state},
#include "cpu_features.def"
#undef CPU_FEATURE
};
enum { FEATURES = sizeof(features) / sizeof(features[0]) };
_Static_assert(FEATURES < 64, "one bit each, and one that says that they are known");

static uint64_t look(void)
{
  uint32_t words[4], xcr0 = 0, xcr0_high;
  uint64_t found = 0;
  /* Bit 27: the operating system has switched xgetbv on. */
  if (__get_cpuid(1, &words[EAX], &words[EBX], &words[ECX], &words[EDX]) && (words[ECX] >> 27 & 1))
    __asm__("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
  for (uint32_t i = 0; i < FEATURES; ++i) {
    if (!__get_cpuid_count(features[i].leaf, features[i].subleaf, &words[EAX], &words[EBX], &words[ECX], &words[EDX]))
      continue;
    if ((words[features[i].word] >> features[i].bit & 1) && (xcr0 & features[i].state) == features[i].state)
      found |= (uint64_t)1 << i;
  }
  return found;
}

int cnn_cpu_has(uint64_t needs)
{
  static _Atomic uint64_t known; /* with bit 63 once it is known; threads that race write the same */
  uint64_t found = atomic_load_explicit(&known, memory_order_relaxed);
  if (found == 0) {
    found = look() | (uint64_t)1 << 63;
    atomic_store_explicit(&known, found, memory_order_relaxed);
  }
  return (needs & ~found) == 0;
}
