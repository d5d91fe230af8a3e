/* Which of a network's variants runs: the first whose instructions this machine has. They stand best first, and cnn_cpu_has
 * keeps what it knows, so that the answer costs some compares and is the same for every call.
 */
#include "network.h"

const cnn_variant* cnn_variant_of(const cnn_network* network)
{
  const cnn_variant *variant = network->variants, *end = variant + network->variant_count;
  while (variant != end && !cnn_cpu_has(variant->needs))
    ++variant;
  return variant == end ? NULL : variant;
}
