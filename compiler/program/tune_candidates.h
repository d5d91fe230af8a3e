// What `cnnc tune` tries on a kernel.
#pragma once

#include "passes/pass.h"

#include <string>
#include <vector>

namespace cnnc {

// The text that the schedule pass would write.
std::string planned_schedule(const Nest&, const Target&);

// Other texts, in the order in which to try them: in turns what the model rates close, and what it does not rate (the
// order of the tiles, how much of a sum is written out, prefetches). All fit the nest, which is in canonical form.
std::vector<std::string> candidates(const Nest&, const Target&);

// The second kind, around one text.
std::vector<std::string> variations(const Nest&, const std::string& schedule, const Target&);

} // namespace cnnc
