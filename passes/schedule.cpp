// Decides how each stage runs, and writes it on the nest; tile, vectorize and unroll only obey.
//
//   nest @k {                        =>    nest @k schedule "tile n, o:32, h, w:14 reduce c:16, i, j lanes o:16" {
//
// Needs:  nests in canonical form, layouts chosen.
// Leaves: the decision as text, one part a stage; a schedule that is already there (the user's) is kept. Operands that
//         the hardware would fetch late are read `ahead`.
#include "passes/stage_loops.h"

#include <fmt/format.h>

namespace cnnc {

void schedule(Nest& nest, const Target& target, Remarks& remarks)
{
  if (!nest.schedule.empty())
    return;
  std::string text;
  for (StageLoops& stage : find_stages(nest)) {
    Plan plan = plan_stage(nest, stage, target, {});
    text += (text.empty() ? "" : " | ") + to_string(plan.schedule);
    for (auto [stream, ahead] : plan.streams)
      nest.buffers[stream].ahead = ahead;
    remarks.add(nest.location, fmt::format("{}: {}; about {:.0f} cycles an image", nest.name, to_string(plan.schedule),
                                           plan.cycles / 2));
  }
  nest.schedule = text;
}

} // namespace cnnc
