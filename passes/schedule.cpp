// Decides how each stage runs, and writes it on the nest; tile, vectorize and unroll only obey.
//
//   nest @k {                        =>    nest @k schedule "tile n, o:32, h, w:14 reduce c:16, i, j lanes o:16" {
//
// Needs:  nests in canonical form, layouts chosen.
// Leaves: the decision as text, one part a stage; a schedule that is already there (the user's) is kept, one
//         that was measured on this machine comes before the model's. Operands that
//         the hardware would fetch late are read `ahead`.
#include "passes/check_schedule.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

void take_tuned(Nest& nest, const TunedSchedule& tuned, const Target& target, Remarks& remarks)
{
  const std::vector<StageSchedule> schedules = check_schedule(nest, tuned.text, target, tuned.where);
  const std::vector<StageLoops> stages = find_stages(nest);
  for (size_t s = 0; s < stages.size(); s++)
    for (auto [stream, ahead] : streams_of(nest, stages[s], target, schedules[s]))
      nest.buffers[stream].ahead = ahead;
  nest.schedule = tuned.text;
  const std::string place = to_string(tuned.where);
  remarks.add(nest.location,
              fmt::format("{}: {}; measured{}{}", nest.name, tuned.text, place.empty() ? "" : ", see ", place));
}

} // namespace

void schedule(Nest& nest, const Target& target, Remarks& remarks)
{
  if (!nest.schedule.empty())
    return;
  if (const auto tuned = target.tuned.find(nest.name); tuned != target.tuned.end())
    return take_tuned(nest, tuned->second, target, remarks);
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
