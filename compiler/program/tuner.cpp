#include "compiler/program/tuner.h"

#include "compiler/machine.h"
#include "compiler/program/profile.h"
#include "compiler/program/random_inputs.h"
#include "compiler/program/tune_candidates.h"
#include "compiler/program/tune_check.h"
#include "runtime/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

namespace cnnc {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double counts = 0.005;  // a kernel below this part of a call is left alone
constexpr double clearly = 0.97;  // the ratio at which a challenger wins its first round,
constexpr double again = 0.98;    // and the second one
constexpr double whole = 0.995;   // and the network with all of them
constexpr double rounding = 1e-3; // outputs by another order of sums, relative to the largest
constexpr size_t fewest_pairs = 7, most_pairs = 300;
constexpr double interpreted = 1e8; // multiply-adds that the interpreter does in a second, or more

double seconds_since(Clock::time_point start)
{
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double quantile(std::vector<double> values, double part)
{
  if (values.empty())
    return 0;
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

// Times of two that ran in turns. Each pair saw the same moment of the machine, so its ratio says more than either time.
struct Turns {
  std::vector<double> planned, other;

  // The best of some calls behind each other, for each: what else the machine has to do only ever adds to a time.
  Turns undisturbed() const
  {
    constexpr size_t groups = 12;
    const size_t each = std::max<size_t>(1, planned.size() / groups);
    Turns best;
    for (size_t i = 0; i + each <= planned.size(); i += each) {
      const auto least = [&](const std::vector<double>& of) {
        const auto from = of.begin() + static_cast<std::ptrdiff_t>(i);
        return *std::min_element(from, from + static_cast<std::ptrdiff_t>(each));
      };
      best.planned.push_back(least(planned));
      best.other.push_back(least(other));
    }
    return best;
  }

  double ratio(double part) const
  {
    std::vector<double> ratios;
    for (size_t i = 0; i < planned.size(); ++i)
      ratios.push_back(other[i] / planned[i]);
    return quantile(ratios, part);
  }
  // By more than the noise: the median's rank is known to sqrt(n) / 2 pairs, twice that still wins.
  bool is_won(double below) const
  {
    const double doubt = 1 / std::sqrt(static_cast<double>(planned.size()));
    return planned.size() > 3 && ratio(0.5) < below && ratio(std::min(1.0, 0.5 + doubt)) < 1;
  }
  double planned_ms() const { return quantile(planned, 0.5); }
  double ms() const { return planned_ms() * ratio(0.5); }
};

// A compiled network with all that a call needs.
class Running {
public:
  Running(const Compiled& compiled, const TuneOptions& options)
      : loaded(load(compiled)),
        model(*loaded.model),
        batch(options.batch)
  {
    if (!model.target())
      throw Error({}, fmt::format("this machine cannot run code for {}: there is nothing to measure", model.march), {},
                  2);
    check_version(model);
    parameters = first_parameters(model, 1);
    if (!options.weights.empty())
      load_weights(model, parameters.data(), options.weights);
    threads = std::make_unique<ModelThreads>(model, options.threads);
    workspace = workspace_of(model, batch, threads->count(), CNN_FORWARD);
    inputs = random_inputs(model.inputs, model.input_count, batch, 1);
    in = data_of(inputs);
    for (int32_t o = 0; o < model.output_count; ++o)
      outputs.emplace_back(dtype_of(model.outputs[o]), dims_of(model.outputs[o], batch));
    for (Tensor& output : outputs)
      out.push_back(output.bytes.data());
    watcher = std::make_unique<Watcher>(*threads);
  }

  void call(const cnn_threads* on)
  {
    check(model, model.forward(parameters.data(), batch, in.data(), out.data(), workspace.data(), on), "run forward");
  }
  double ms()
  {
    const Clock::time_point start = Clock::now();
    call(threads->get());
    return 1000 * seconds_since(start);
  }
  const std::vector<double>& watched()
  {
    return watcher->call([this](const cnn_threads* on) { call(on); });
  }
  const std::vector<KernelTime>& kernels() const { return watcher->kernels(); }

  std::vector<Tensor> outputs;

private:
  LoadedModel loaded;
  const cnn_model& model;
  int64_t batch;
  Block parameters, workspace;
  std::unique_ptr<ModelThreads> threads;
  std::vector<Tensor> inputs;
  std::vector<const void*> in;
  std::vector<void*> out;
  std::unique_ptr<Watcher> watcher;
};

bool agree(const std::vector<Tensor>& a, const std::vector<Tensor>& b)
{
  for (size_t t = 0; t < a.size(); ++t) {
    if (!is_float(a[t].dtype)) // the place of a maximum may change with the last bit
      continue;
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < a[t].size(); ++i) {
      const double x = a[t].get(i), y = b[t].get(i);
      if (x == y || (std::isnan(x) && std::isnan(y)))
        continue;
      largest = std::max(largest, std::fabs(x));
      difference = std::max(difference, std::isfinite(x - y) ? std::fabs(x - y) : HUGE_VAL);
    }
    if (difference > rounding * largest)
      return false;
  }
  return true;
}

// What is known of a nest so far.
struct Contender {
  const Nest* nest = nullptr; // in canonical form
  std::string layers;
  double part = 0;          // of a call
  double multiply_adds = 0; // of one image
  std::vector<size_t> kernels;
  std::vector<std::string> queue; // texts to try, from `next` on
  size_t next = 0;
  std::set<std::string> tried;
  std::string best; // "" for the planned one
  double ratio = clearly;

  // The next text that was not tried, or nothing.
  std::optional<std::string> take()
  {
    while (next < queue.size())
      if (const std::string& text = queue[next++]; tried.insert(text).second)
        return text;
    return std::nullopt;
  }
};

using Schedules = std::map<std::string, TunedSchedule, std::less<>>;

class Tuner {
public:
  Tuner(const Network& network, const TuneOptions& options) : network(network), options(options)
  {
    if (options.compile.level < 2)
      throw Error({}, "there are schedules from -O2 on: below, there is nothing to tune", {}, 2);
    target = make_target(options.compile.march);
    target.tuned.clear();
  }

  TuneResult run()
  {
    lower_once();
    const Clock::time_point before = Clock::now();
    planned = std::make_unique<Running>(compiled_with({}), options);
    compile_seconds = seconds_since(before);
    find_contenders();
    result.target = target;
    result.all_kernels = lowered.functions.at(0).kernels.size();
    search();
    if (!is_interrupted())
      decide();
    result.was_interrupted = is_interrupted();
    return std::move(result);
  }

private:
  bool is_interrupted() const { return options.interrupt && *options.interrupt; }
  double left() const { return options.seconds - seconds_since(begin); }
  // Long enough to see through the noise, short beside the compiling that made it possible.
  double measuring() const { return std::min(std::max(0.2, 0.5 * compile_seconds), 0.05 * options.seconds); }
  // A compilation with its measurement; measurements have a least number of calls.
  double round_seconds() const
  {
    return compile_seconds + std::max(measuring(), 2e-3 * static_cast<double>(fewest_pairs) * call_ms);
  }
  double whole_seconds() const { return std::min(std::max(1.0, measuring()), 0.1 * options.seconds); }
  // What stands behind the last round: all winners together, those that win again together, each winner alone.
  double deciding() const
  {
    const auto winners =
        std::count_if(contenders.begin(), contenders.end(), [](const auto& c) { return !c.best.empty(); });
    const double each = 0.02 + 2 * compile_seconds / static_cast<double>(std::max<size_t>(1, lowered.nests.size()));
    return 2 * round_seconds() + whole_seconds() + static_cast<double>(winners) * each;
  }

  std::vector<std::string> passes(bool from_schedule) const
  {
    std::vector<std::string> names;
    const PassDef* schedule = find_pass("schedule");
    for (const PassDef& pass : pipeline())
      if (pass.level <= options.compile.level && (&pass >= schedule) == from_schedule)
        names.push_back(pass.name);
    return names;
  }

  // What does not depend on schedules.
  void lower_once()
  {
    CompileOptions compile = options.compile;
    compile.train = false;
    lowered = program_of(network, compile);
    if (!lowered.nests.empty())
      throw Error({}, "loops that are text already run as they stand: there is nothing to tune", {}, 2);
    run_some(lowered, target, passes(false));
  }

  static void run_some(Program& program, const Target& target, std::vector<std::string> names)
  {
    RunOptions run;
    run.verify_each = false;
    run.only = std::move(names);
    Remarks remarks;
    run_passes(program, target, run, remarks);
  }

  Compiled compiled_with(const Schedules& schedules) const
  {
    Compiled compiled;
    compiled.name = lowered.functions.at(0).name;
    compiled.program = lowered;
    compiled.target = target;
    compiled.target.tuned = schedules;
    run_some(compiled.program, compiled.target, passes(true));
    return compiled;
  }

  void find_contenders()
  {
    for (int i = 0; i < 2; ++i) // the first call is none to measure
      planned->watched();
    std::vector<std::vector<double>> calls;
    const Clock::time_point start = Clock::now();
    while (calls.size() < 3 || (calls.size() < most_pairs && seconds_since(start) < 0.2))
      calls.push_back(planned->watched());
    const std::vector<KernelTime>& kernels = planned->kernels();
    const Graph& forward = lowered.functions[0];
    if (kernels.size() < forward.kernels.size())
      throw InternalError("a kernel was not seen to run");
    std::vector<double> ms;
    for (size_t k = 0; k < kernels.size(); ++k) {
      std::vector<double> times;
      for (const std::vector<double>& call : calls)
        times.push_back(call[k]);
      ms.push_back(quantile(times, 0.5));
      call_ms += ms.back();
    }
    std::map<int, Contender> by_nest;
    for (size_t k = 0; k < forward.kernels.size(); ++k) {
      Contender& c = by_nest[forward.kernels[k].nest];
      c.nest = &lowered.nests[static_cast<size_t>(forward.kernels[k].nest)];
      if (c.kernels.size() < 3)
        c.layers += (c.layers.empty() ? "" : "; ") + kernels[k].layers;
      c.kernels.push_back(k);
      c.part += ms[k] / call_ms;
      c.multiply_adds = kernels[k].operations / 2 / static_cast<double>(options.batch);
    }
    for (auto& [number, c] : by_nest)
      if (c.part >= counts) {
        c.tried.insert(planned_schedule(*c.nest, target));
        c.queue = candidates(*c.nest, target);
        contenders.push_back(std::move(c));
      }
  }

  // Calls in turns, now this one first, now that one.
  template<class Each>
  void in_turns(const Each& pair, double seconds) const
  {
    const Clock::time_point start = Clock::now();
    for (size_t i = 0; i < most_pairs && !is_interrupted(); ++i) {
      if (i >= fewest_pairs && seconds_since(start) > seconds)
        break;
      pair(i % 2 == 0);
    }
  }

  // Of each contender, all its kernels together.
  std::vector<Turns> race(Running& other) const
  {
    std::vector<Turns> turns(contenders.size());
    planned->watched();
    other.watched();
    in_turns(
        [&](bool planned_first) {
          std::vector<double> a, b;
          if (planned_first)
            a = planned->watched();
          b = other.watched();
          if (!planned_first)
            a = planned->watched();
          for (size_t c = 0; c < contenders.size(); ++c) {
            double sum_a = 1e-9, sum_b = 1e-9;
            for (const size_t k : contenders[c].kernels) {
              sum_a += a.at(k);
              sum_b += b.at(k);
            }
            turns[c].planned.push_back(sum_a);
            turns[c].other.push_back(sum_b);
          }
        },
        measuring());
    for (Turns& of : turns)
      of = of.undisturbed();
    return turns;
  }

  Turns race_whole(Running& other) const
  {
    Turns turns;
    planned->ms();
    other.ms();
    in_turns(
        [&](bool planned_first) {
          const double first = planned_first ? planned->ms() : other.ms();
          const double second = planned_first ? other.ms() : planned->ms();
          turns.planned.push_back(planned_first ? first : second);
          turns.other.push_back(planned_first ? second : first);
        },
        whole_seconds());
    return turns.undisturbed();
  }

  void search()
  {
    while (!is_interrupted() && left() > round_seconds() + deciding()) {
      Schedules schedules;
      for (Contender& c : contenders)
        if (const std::optional<std::string> text = c.take())
          schedules[c.nest->name] = {*text, {}};
      if (schedules.empty())
        return;
      const Clock::time_point start = Clock::now();
      Running trial(compiled_with(schedules), options);
      compile_seconds = (compile_seconds + seconds_since(start)) / 2; // the machine has other work, now more, now less
      const std::vector<Turns> turns = race(trial);
      result.rounds++;
      result.schedules += static_cast<int>(schedules.size());
      if (!agree(planned->outputs, trial.outputs)) {
        say(fmt::format("round {}: results differ; none of it is kept", result.rounds));
        continue;
      }
      size_t better = 0;
      for (size_t i = 0; i < contenders.size(); ++i) {
        Contender& c = contenders[i];
        const auto tried = schedules.find(c.nest->name);
        if (tried == schedules.end() || !turns[i].is_won(c.ratio))
          continue;
        c.ratio = turns[i].ratio(0.5);
        c.best = tried->second.text;
        better++;
        // What is good may be better still.
        const std::vector<std::string> near = variations(*c.nest, c.best, target);
        c.queue.insert(c.queue.begin() + static_cast<std::ptrdiff_t>(c.next), near.begin(), near.end());
      }
      say(fmt::format("round {}: {} schedules, {} better than what was known; {:.0f} s left", result.rounds,
                      schedules.size(), better, std::max(0.0, left())));
    }
  }

  Schedules chosen() const
  {
    Schedules schedules;
    for (const Contender& c : contenders)
      if (!c.best.empty())
        schedules[c.nest->name] = {c.best, {}};
    return schedules;
  }

  // The second time, all winners together.
  void decide()
  {
    result.planned_ms = result.ms = call_ms;
    if (chosen().empty())
      return;
    auto trial = std::make_unique<Running>(compiled_with(chosen()), options);
    std::vector<Turns> turns = race(*trial);
    if (is_interrupted())
      return;
    bool is_dropped = false;
    auto winners = static_cast<double>(chosen().size());
    for (size_t i = 0; i < contenders.size(); ++i) {
      Contender& c = contenders[i];
      if (c.best.empty())
        continue;
      const double seconds = std::max(0.1, left() - round_seconds() - whole_seconds()) / winners--;
      if (turns[i].is_won(again) && is_right(c, seconds))
        continue;
      c.best.clear();
      is_dropped = true;
    }
    if (chosen().empty())
      return;
    if (is_dropped)
      trial = std::make_unique<Running>(compiled_with(chosen()), options);
    const Turns all = race_whole(*trial);
    if (is_interrupted())
      return;
    result.planned_ms = result.ms = all.planned_ms();
    result.ratio = all.ratio(0.5);
    result.is_whole_faster = all.is_won(whole) && agree(planned->outputs, trial->outputs);
    if (!result.is_whole_faster)
      return;
    result.ms = all.ms();
    for (size_t i = 0; i < contenders.size(); ++i)
      if (const Contender& c = contenders[i]; !c.best.empty())
        result.kernels.push_back({c.nest->name, c.layers, c.best, turns[i].planned_ms(), turns[i].ms()});
  }

  // By the planned kernel, and by the interpreter where it does not take longer.
  bool is_right(const Contender& c, double seconds) const
  {
    const std::string why = difference(*c.nest, c.best, target, c.multiply_adds / interpreted < seconds);
    if (!why.empty())
      say(fmt::format("{}: the schedule {} {}; it is not kept", c.layers, c.best, why));
    return why.empty();
  }

  void say(const std::string& line) const
  {
    if (options.say)
      options.say(line);
  }

  const Network& network;
  const TuneOptions& options;
  const Clock::time_point begin = Clock::now();
  Target target;
  Program lowered; // canonical nests
  std::unique_ptr<Running> planned;
  double compile_seconds = 0, call_ms = 0;
  std::vector<Contender> contenders;
  TuneResult result;
};

} // namespace

TuneResult tune(const Network& network, const TuneOptions& options)
{
  return Tuner(network, options).run();
}

} // namespace cnnc
