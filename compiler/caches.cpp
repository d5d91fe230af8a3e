// Asked of the processor: the C library sums up a third level over all groups of cores on some machines, of which one core
// sees a part.
//
//   size = ways * partitions * line * sets     each of the four less one, in EBX and ECX
#include "compiler/caches.h"

#include <cpuid.h>
#include <unistd.h>

namespace cnnc {

std::array<int64_t, 3> host_caches()
{
  std::array<int64_t, 3> bytes{};
  for (const uint32_t leaf : {0x4u, 0x8000001du}) // Intel's and AMD's, of one form
    for (uint32_t number = 0; number < 16; ++number) {
      uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
      if (!__get_cpuid_count(leaf, number, &eax, &ebx, &ecx, &edx))
        break;
      const uint32_t type = eax & 31, level = eax >> 5 & 7; // 1: data, 2: instructions, 3: both
      if (type == 0)
        break;
      if ((type != 1 && type != 3) || level < 1 || level > bytes.size() || bytes[level - 1] != 0)
        continue;
      bytes[level - 1] =
          ((ebx >> 22) + int64_t{1}) * ((ebx >> 12 & 1023) + 1) * ((ebx & 4095) + 1) * (ecx + int64_t{1});
    }
  constexpr std::array names{_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
  for (size_t level = 0; level < bytes.size(); ++level)
    if (bytes[level] == 0)
      if (const long size = sysconf(names[level]); size > 0)
        bytes[level] = size;
  return bytes;
}

} // namespace cnnc
