// How large this machine's data caches are.
#pragma once

#include <array>
#include <cstdint>

namespace cnnc {

// Bytes of the levels 1, 2, 3 that one core sees; 0: there is none, or nobody says.
std::array<int64_t, 3> host_caches();

} // namespace cnnc
