// The one scheduler: which index lies in the lanes, how many accumulators stand in registers, in what order it runs.
//
//   for each index and width of the lanes { for each tile that fits the registers {
//     with its reduction in loops or written out, its sum whole or cut: its price } }
//   =>  the schedule of the cheapest, and what that asks for ahead
//
// All candidates are enumerated and priced by one model of a core: see plan_price.h.
#include "passes/plan_cut.h"
#include "passes/plan_order.h"
#include "passes/plan_price.h"
#include "passes/plan_streams.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr double most_kept = 2;    // times the best schedule's cycles, of what is kept beside it
constexpr int64_t most_images = 8; // in a tile

class Planner {
public:
  explicit Planner(StageFacts facts) : stage(std::move(facts)) {}

  Plan best()
  {
    consider(-1, 1, false);
    for (const Dimension& d : stage.box)
      if (d.extent && !d.fixed && *d.extent > 1)
        for (int64_t width = stage.full_width; width >= 4; width /= 2)
          consider(d.index, width, false);
    if (stage.reductions == 1 && !stage.has_tap)
      for (const Dimension& d : stage.reduced)
        if (d.extent && !d.fixed && *d.extent >= stage.full_width / 2)
          consider(d.index, stage.full_width, true);
    return with_streams(result);
  }

  std::vector<Plan> alternatives(double within, size_t most)
  {
    keeps_rated = true;
    best();
    std::sort(rated.begin(), rated.end(), [](const Plan& a, const Plan& b) { return a.cycles < b.cycles; });
    const double limit = result.cycles * within;
    std::vector<Plan> plans;
    for (const Plan& plan : rated) {
      if (plan.cycles > limit || plans.size() == most)
        break;
      Plan full = with_streams(plan);
      if (std::none_of(plans.begin(), plans.end(), [&](const Plan& p) { return p.schedule == full.schedule; }))
        plans.push_back(std::move(full));
    }
    return plans;
  }

private:
  Plan with_streams(Plan plan) const
  {
    plan.streams = find_streams(stage, plan.schedule);
    plan.schedule.prefetches = should_prefetch(stage, plan.schedule);
    return plan;
  }

  void consider(int lanes, int64_t width, bool are_reduced)
  {
    Candidate candidate = first_candidate(stage, lanes, width, are_reduced);
    enumerate(0, candidate);
  }

  void enumerate(size_t d, Candidate& candidate)
  {
    if (d == stage.box.size()) {
      rate_tile(candidate);
      return;
    }
    const Dimension& dimension = stage.box[d];
    const bool has_lanes = dimension.index == candidate.lanes.index;
    const bool can_tile = !dimension.fixed && stage.reductions > 0;
    const int64_t most = has_lanes          ? ceil_div(*dimension.extent, candidate.lanes.width)
                         : !can_tile        ? 1
                         : dimension.extent ? *dimension.extent
                                            : most_images;
    int64_t& size = has_lanes ? candidate.tile.blocks : candidate.tile.sizes[d];
    for (size = 1; size <= most && fits(candidate); size++)
      enumerate(d + 1, candidate);
    size = 1;
  }

  void rate_tile(Candidate& candidate)
  {
    for (const bool all : {false, true}) {
      candidate.inside = all ? std::vector<double>{} : shares_inside(candidate); // all steps are there in each tile
      candidate.is_written_out = all;
      if (!all || can_be_written_out(candidate))
        rate_cuts(candidate);
    }
    candidate.is_written_out = false;
  }

  void rate_cuts(Candidate& candidate)
  {
    const std::optional<Cut> cut = cut_of(candidate);
    candidate.cut.reset();
    if (!cut || !cut->is_needed)
      rate(candidate);
    candidate.cut = cut;
    if (cut)
      rate(candidate);
  }

  void rate(const Candidate& candidate)
  {
    const double cycles = price_of(candidate);
    const bool is_kept = keeps_rated && (result.cycles == 0 || cycles < result.cycles * most_kept);
    const bool is_best = result.cycles == 0 || cycles < result.cycles * 0.9999;
    if (!is_kept && !is_best)
      return;
    Plan plan{schedule_of(candidate), cycles, {}};
    if (is_kept)
      rated.push_back(plan);
    if (is_best)
      result = std::move(plan);
  }

  const StageFacts stage;
  Plan result;
  bool keeps_rated = false; // all that may be asked for, not the best alone
  std::vector<Plan> rated;
};

} // namespace

Plan plan_stage(const Nest& nest, const StageLoops& stage, const Target& target, const std::vector<bool>& free_layout)
{
  return Planner(find_facts(nest, stage, target, free_layout)).best();
}

std::vector<Plan> plan_alternatives(const Nest& nest, const StageLoops& stage, const Target& target, double within,
                                    size_t most)
{
  return Planner(find_facts(nest, stage, target, {})).alternatives(within, most);
}

std::vector<std::pair<int, Ahead>> streams_of(const Nest& nest, const StageLoops& stage, const Target& target,
                                              const StageSchedule& schedule)
{
  return find_streams(find_facts(nest, stage, target, {}), schedule);
}

} // namespace cnnc
