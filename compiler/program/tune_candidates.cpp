#include "compiler/program/tune_candidates.h"

#include "passes/check_schedule.h"

#include <algorithm>

namespace cnnc {

namespace {

constexpr double close = 1.3;     // times the cycles of the best
constexpr size_t most_rated = 12; // of them

std::string text_of(const std::vector<StageSchedule>& stages)
{
  std::string text;
  for (const StageSchedule& stage : stages)
    text += (text.empty() ? "" : " | ") + to_string(stage);
  return text;
}

std::vector<StageSchedule> schedules_of(const std::vector<Plan>& plans)
{
  std::vector<StageSchedule> schedules;
  for (const Plan& plan : plans)
    schedules.push_back(plan.schedule);
  return schedules;
}

std::vector<Plan> planned(const Nest& nest, const Target& target)
{
  Nest copy = nest;
  std::vector<Plan> plans;
  for (const StageLoops& stage : find_stages(copy))
    plans.push_back(plan_stage(copy, stage, target, {}));
  return plans;
}

bool fits(const Nest& nest, const std::string& text, const Target& target)
{
  try {
    check_schedule(nest, text, target, {});
    return true;
  } catch (const Error&) {
    return false;
  }
}

void add_new(std::vector<std::string>& texts, std::string text)
{
  if (std::find(texts.begin(), texts.end(), text) == texts.end())
    texts.push_back(std::move(text));
}

// The same tile in other orders, the sum cut elsewhere, with another part of it written out.
std::vector<StageSchedule> variations_of(const StageSchedule& schedule)
{
  std::vector<StageSchedule> varied;
  const auto add = [&](const auto& change) {
    StageSchedule other = schedule;
    change(other);
    if (!(other == schedule))
      varied.push_back(std::move(other));
  };
  if (!schedule.reduce.empty())
    add([](StageSchedule& s) { s.prefetches = !s.prefetches; });
  const auto lanes = std::find_if(schedule.tile.begin(), schedule.tile.end(),
                                  [&](const auto& step) { return step.index == schedule.lanes; });
  if (lanes != schedule.tile.end())
    for (size_t to = 0; to < schedule.tile.size(); to++)
      add([&](StageSchedule& s) {
        s.tile.erase(s.tile.begin() + (lanes - schedule.tile.begin()));
        s.tile.insert(s.tile.begin() + static_cast<std::ptrdiff_t>(to), *lanes);
      });
  if (!schedule.cut.empty()) {
    add([](StageSchedule& s) { s.cut.clear(); });
    for (const int64_t size : {schedule.cut[0].size * 2, schedule.cut[0].size / 2})
      if (size >= 1)
        add([&](StageSchedule& s) { s.cut[0].size = size; });
  }
  constexpr int64_t steps_in_part = 8;
  for (size_t r = 0; r < schedule.reduce.size(); r++) {
    const StageSchedule::Step& step = schedule.reduce[r];
    if (schedule.cut.empty() && step.size > 1)
      add([&](StageSchedule& s) { s.cut = {{step.index, step.size * steps_in_part}}; });
    if (step.index == schedule.lanes)
      continue;
    for (const int64_t size : {step.size * 2, step.size / 2, int64_t{3}, int64_t{1}})
      if (size >= 1)
        add([&](StageSchedule& s) { s.reduce[r].size = size; });
    if (step.size > 1 && r + 1 < schedule.reduce.size())
      add([&](StageSchedule& s) {
        s.reduce.erase(s.reduce.begin() + static_cast<std::ptrdiff_t>(r));
        s.reduce.push_back(step);
      });
  }
  return varied;
}

// The stage that the others are small beside.
size_t largest(const std::vector<Plan>& plans)
{
  return static_cast<size_t>(
      std::max_element(plans.begin(), plans.end(), [](const Plan& a, const Plan& b) { return a.cycles < b.cycles; }) -
      plans.begin());
}

} // namespace

std::string planned_schedule(const Nest& nest, const Target& target)
{
  return text_of(schedules_of(planned(nest, target)));
}

std::vector<std::string> variations(const Nest& nest, const std::string& schedule, const Target& target)
{
  const std::vector<Plan> plans = planned(nest, target);
  std::vector<StageSchedule> stages = parse_schedules(schedule, {});
  const size_t which = largest(plans);
  std::vector<std::string> texts;
  if (plans.empty() || which >= stages.size())
    return texts;
  for (StageSchedule& varied : variations_of(stages[which])) {
    std::vector<StageSchedule> other = stages;
    other[which] = std::move(varied);
    if (std::string text = text_of(other); fits(nest, text, target))
      add_new(texts, std::move(text));
  }
  return texts;
}

std::vector<std::string> candidates(const Nest& nest, const Target& target)
{
  const std::vector<Plan> plans = planned(nest, target);
  if (plans.empty())
    return {};
  const std::string planned_text = text_of(schedules_of(plans));
  const size_t which = largest(plans);
  Nest copy = nest;
  const std::vector<StageLoops> stages = find_stages(copy);
  std::vector<std::string> rated;
  for (const Plan& plan : plan_alternatives(copy, stages[which], target, close, most_rated)) {
    std::vector<StageSchedule> other = schedules_of(plans);
    other[which] = plan.schedule;
    if (std::string text = text_of(other); fits(nest, text, target))
      rated.push_back(std::move(text));
  }
  std::vector<std::string> varied = variations(nest, planned_text, target);
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::max(rated.size(), varied.size()); i++)
    for (std::vector<std::string>* from : {&rated, &varied})
      if (i < from->size() && (*from)[i] != planned_text)
        add_new(texts, (*from)[i]);
  return texts;
}

} // namespace cnnc
