#include "passes/check_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cnnc {

namespace {

// A tile beyond the registers is slow, and a text may ask for it; one far beyond takes the code generator ages.
constexpr int64_t registers_factor = 4, most_written_out = 4096;

struct Extent {
  std::optional<int64_t> count;
  bool can_be_cut;
};

class Check {
public:
  Check(const Nest& nest, const StageLoops& stage, const Target& target, const Location& where)
      : nest(nest),
        target(target),
        where(where)
  {
    for (const Loop* loop : stage.box)
      add(*loop, box);
    for (const Node& node : *stage.point) {
      if (!std::holds_alternative<Loop>(node.is))
        continue;
      const ReductionLoops reduction = reduction_of(node);
      has_tap = has_tap || (reduction.store && reduction.store->tap >= 0);
      if (reductions++ == 0)
        for (const Loop* loop : reduction.loops)
          add(*loop, reduced);
    }
    for (const Buffer& buffer : nest.buffers)
      if (buffer.role != BufferRole::registers)
        bytes =
            std::max(bytes, is_float(buffer.type.dtype) || buffer.type.dtype == DType::i64 ? bytes_of(buffer.type.dtype)
                                                                                           : int64_t{1});
  }

  void run(const StageSchedule& schedule)
  {
    check_lanes(schedule);
    const int64_t tile = check_steps(schedule, schedule.tile, box, "tile");
    if (reductions != 1 && !schedule.reduce.empty())
      refuse("'reduce' where the stage has {} sums", reductions);
    const int64_t steps = check_steps(schedule, schedule.reduce, reduced, "reduce");
    const int64_t accumulators = tile * (has_tap ? 2 : 1);
    if (accumulators > registers_factor * target.vector_registers)
      refuse("a tile of {} vectors, and the machine has {} registers", accumulators, target.vector_registers);
    if (accumulators * steps > most_written_out)
      refuse("{} vectors in {} steps would be written out: at most {} in all", accumulators, steps, most_written_out);
  }

private:
  using Extents = std::map<std::string, Extent>;

  template<class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> text, Arguments&&... arguments) const
  {
    throw Error(where, fmt::format("the schedule does not fit @{}: {}", nest.name,
                                   fmt::format(text, std::forward<Arguments>(arguments)...)));
  }

  void add(const Loop& loop, Extents& to) const
  {
    const std::optional<int64_t> count = trip_count(loop);
    const bool is_batch = !count && loop.begin.size() == 1 && loop.end.size() == 1 && loop.end[0].uses(batch_index);
    const bool is_plain = loop.begin.size() == 1 && loop.begin[0] == Affine(0) && loop.step == 1;
    to[nest.indices[loop.index].name] = {count, is_plain && (count || is_batch)};
  }

  void check_lanes(const StageSchedule& schedule) const
  {
    if (schedule.lanes.empty())
      return;
    const bool are_reduced = reduced.count(schedule.lanes) > 0;
    const auto at = are_reduced ? reduced.find(schedule.lanes) : box.find(schedule.lanes);
    if (!are_reduced && at == box.end())
      refuse("no index '{}' for the lanes", schedule.lanes);
    const int64_t widest = target.lanes(std::max<int64_t>(bytes, 4)), width = schedule.width;
    if (width < 2 || width > widest || (width & (width - 1)) != 0)
      refuse("lanes of {}: a power of two up to {} is wanted", width, widest);
    if (!at->second.count || !at->second.can_be_cut || *at->second.count < 2)
      refuse("'{}' cannot be the lanes", schedule.lanes);
    if (are_reduced && (reductions != 1 || has_tap))
      refuse("'{}' cannot be the lanes: only one plain sum can", schedule.lanes);
  }

  // The product of the sizes, in vectors.
  int64_t check_steps(const StageSchedule& schedule, const std::vector<StageSchedule::Step>& steps,
                      const Extents& extents, std::string_view word) const
  {
    int64_t product = 1;
    std::vector<std::string> seen;
    for (const StageSchedule::Step& step : steps) {
      const auto at = extents.find(step.index);
      if (at == extents.end())
        refuse("no index '{}' behind '{}'", step.index, word);
      if (std::find(seen.begin(), seen.end(), step.index) != seen.end())
        refuse("'{}' stands twice behind '{}'", step.index, word);
      seen.push_back(step.index);
      const bool is_lanes = step.index == schedule.lanes;
      if (at->second.count && step.size > *at->second.count)
        refuse("{}:{} is more than {}", step.index, step.size, *at->second.count);
      if (step.size > 1 && (!at->second.can_be_cut || (reductions == 0 && !is_lanes)))
        refuse("'{}' stays at 1 here", step.index);
      if (is_lanes && step.size % schedule.width != 0 && step.size != at->second.count)
        refuse("{}:{} is no multiple of the {} lanes", step.index, step.size, schedule.width);
      product *= is_lanes ? ceil_div(step.size, schedule.width) : step.size;
      if (product > most_written_out)
        refuse("'{}' would write out more than {} vectors", word, most_written_out);
    }
    for (const auto& [index, extent] : extents)
      if (std::find(seen.begin(), seen.end(), index) == seen.end() && (&extents == &box || reductions == 1))
        refuse("'{}' is missing behind '{}'", index, word);
    return product;
  }

  const Nest& nest;
  const Target& target;
  const Location& where;
  Extents box, reduced;
  int reductions = 0;
  bool has_tap = false;
  int64_t bytes = 1;
};

// What static rules do not see: the passes themselves try it.
void try_passes(Nest nest, const Target& target, const Location& where)
{
  const std::string name = nest.name;
  const auto refuse = [&](const std::string& why) {
    throw Error(where, fmt::format("the schedule does not fit @{}: {}", name, why));
  };
  Remarks remarks;
  try {
    for (const PassDef* pass = find_pass("schedule") + 1; pass < pipeline().data() + pipeline().size(); pass++)
      if (const NestPass* run = std::get_if<NestPass>(&pass->run))
        (*run)(nest, target, remarks);
    verify(nest);
  } catch (const Error& error) {
    refuse(error.what());
  } catch (const InternalError& error) {
    refuse(error.what());
  }
}

} // namespace

std::vector<StageSchedule> check_schedule(const Nest& nest, std::string_view text, const Target& target,
                                          const Location& where)
{
  const std::vector<StageSchedule> schedules = parse_schedules(text, where);
  Nest copy = nest;
  const std::vector<StageLoops> stages = find_stages(copy);
  if (schedules.size() != stages.size())
    throw Error(where, fmt::format("the schedule does not fit @{}: it has {} parts, the kernel has {} stages",
                                   nest.name, schedules.size(), stages.size()));
  for (size_t s = 0; s < stages.size(); s++)
    Check(copy, stages[s], target, where).run(schedules[s]);
  copy.schedule = text;
  try_passes(std::move(copy), target, where);
  return schedules;
}

} // namespace cnnc
