// Where a batch would leave the caches between kernels, one image after the other goes through several of them.
//
//   kernel k0 -> @a(%x, %u) {...}           kernel k0 -> @a(%x, %u) schedule {images = 0} {...}
//   kernel k1 -> @b(%u, %v) {...}     =>    kernel k1 -> @b(%u, %v) schedule {images = 0} {...}
//   kernel k2 -> @c(%v, %y) {...}           kernel k2 -> @c(%v, %y) {...}
//
// Kernels of one number are a run. For a batch of several images, each thread takes whole images through it, and what
// passes between its kernels lies in that thread's memory, for one image: %u above. Code is the same as for a batch of
// one, which goes kernel by kernel as ever.
//
// The price: the run's parameters are read again for each image, from whichever cache holds all of them; kernels that
// read each only once an image (dense layers) want many images at once and are in no run. The best division of the
// kernels into runs is found by dynamic programming over their ends.
//
// Needs:  nests as `lower` made them: images are outermost loops.
// Leaves: the run's number in Kernel::schedule; a remark for each run.
#include "passes/image_by_image.h"

#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cnnc {

namespace {

constexpr int64_t batch = 8;        // what is priced
constexpr double step_cycles = 500; // to call a kernel once more
constexpr double worth = 0.95;      // of the cycles without runs

bool counts_images(const Loop& loop)
{
  return loop.begin.size() == 1 && loop.begin[0] == Affine(0) && loop.end.size() == 1 && loop.step == 1 &&
         loop.end[0] == Affine::of(batch_index);
}

bool uses_batch(const Affine& affine)
{
  return affine.uses(batch_index);
}

// Every element with an image, read or written below the loop over images, is of that loop's image, and nothing below
// knows how many there are.
class ImageCheck {
public:
  ImageCheck(const Nest& nest, int image) : nest(nest), image(image) {}

  bool holds(const std::vector<Node>& nodes) const
  {
    return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      return std::visit([&](const auto& is) { return holds(is); }, node.is);
    });
  }

private:
  bool holds(const Loop& loop) const
  {
    return std::none_of(loop.begin.begin(), loop.begin.end(), uses_batch) &&
           std::none_of(loop.end.begin(), loop.end.end(), uses_batch) && holds(loop.body);
  }
  bool holds(const If& branch) const
  {
    return !uses_batch(branch.condition) && holds(branch.then_body) && holds(branch.else_body);
  }
  bool holds(const ZeroBorder& zero) const { return is_of_image(zero.buffer, zero.at); }
  bool holds(const Prefetch& prefetch) const { return is_of_image(prefetch.buffer, prefetch.at); }
  bool holds(const Store& store) const
  {
    // What is the same for all images, two threads would write at once.
    const BufferRole role = nest.buffers[static_cast<size_t>(store.target)].role;
    const bool is_seen = role == BufferRole::out || role == BufferRole::inout;
    bool ok = is_of_image(store.target, store.at) && (!is_seen || has_images(store.target));
    ok = ok && (store.tap < 0 || is_of_image(store.tap, store.at));
    for_each(*store.value, [&](const Expr& e) {
      if (e.fn == Fn::read)
        ok = ok && is_of_image(e.tensor, e.at);
      else
        ok = ok && std::none_of(e.at.begin(), e.at.end(), uses_batch);
    });
    return ok;
  }

  bool has_images(int buffer) const { return has_batch(nest.buffers[static_cast<size_t>(buffer)].type.shape); }

  bool is_of_image(int buffer, const std::vector<Affine>& at) const
  {
    return !has_images(buffer) || (!at.empty() && at[0].bare() == image);
  }

  const Nest& nest;
  int image;
};

// The nest does to each image what it would do to a batch of it alone, and nothing else.
bool goes_image_by_image(const Nest& nest)
{
  for (const Buffer& buffer : nest.buffers)
    if (has_batch(buffer.type.shape) && buffer.type.shape[0].size != 1)
      return false;
  return std::all_of(nest.body.begin(), nest.body.end(), [&](const Node& node) {
    const Loop* loop = std::get_if<Loop>(&node.is);
    return loop && counts_images(*loop) && ImageCheck(nest, loop->index).holds(loop->body);
  });
}

double stored_bytes(const Layout& layout, const TensorType& type)
{
  return static_cast<double>(stored_elements(layout, type.shape) * bytes_of(type.dtype));
}

double stored_bytes(const Value& value)
{
  return stored_bytes(value.layout.value_or(planar(value.type.shape.size())), value.type);
}

// A large operand without images, of which the nest's loops meet each element once an image.
class StreamCheck {
public:
  StreamCheck(const Nest& nest, const Target& target) : nest(nest), target(target) {}

  bool finds(const std::vector<Node>& nodes)
  {
    bool found = false;
    for (const Node& node : nodes)
      if (const Loop* loop = std::get_if<Loop>(&node.is)) {
        loops.push_back(loop);
        found = found || finds(loop->body);
        loops.pop_back();
      } else if (const Store* store = std::get_if<Store>(&node.is))
        for_each(*store->value, [&](const Expr& e) { found = found || (e.fn == Fn::read && is_stream(e)); });
    return found;
  }

private:
  bool is_stream(const Expr& read) const
  {
    const Buffer& buffer = nest.buffers[static_cast<size_t>(read.tensor)];
    return buffer.role == BufferRole::in && !has_batch(buffer.type.shape) &&
           stored_bytes(buffer.layout, buffer.type) > static_cast<double>(target.l1_bytes) &&
           std::all_of(loops.begin(), loops.end(), [&](const Loop* loop) {
             return counts_images(*loop) ||
                    std::any_of(read.at.begin(), read.at.end(), [&](const Affine& at) { return at.uses(loop->index); });
           });
  }

  const Nest& nest;
  const Target& target;
  std::vector<const Loop*> loops;
};

// What kernels hand on, priced in cycles for one image.
class Pricing {
public:
  Pricing(const Program& program, const Graph& graph, const Target& target)
      : graph(graph),
        target(target),
        first(graph.values.size(), std::numeric_limits<int>::max()),
        last(graph.values.size(), -1)
  {
    for (int k = 0; k < count(); ++k) {
      const Kernel& kernel = graph.kernels[static_cast<size_t>(k)];
      const Nest& nest = program.nests[static_cast<size_t>(kernel.nest)];
      fits.push_back(goes_image_by_image(nest) && !StreamCheck(nest, target).finds(nest.body));
      for (const int v : kernel.arguments) {
        int& begin = first[static_cast<size_t>(root(v))];
        begin = std::min(begin, k);
        last[static_cast<size_t>(root(v))] = k;
      }
    }
    // What the caller sees, or what outlives the call, is never between two kernels.
    const auto is_seen = [&](int v) { first[static_cast<size_t>(root(v))] = -1; };
    for (const int v : graph.outputs)
      is_seen(v);
    for (const StateUpdate& update : graph.updates)
      is_seen(update.value);
    for (size_t v = 0; v < graph.values.size(); ++v)
      if (graph.values[v].kind != ValueKind::result && graph.values[v].kind != ValueKind::temporary)
        first[v] = -1;
  }

  int count() const { return static_cast<int>(graph.kernels.size()); }
  bool may_run(int kernel) const { return fits[static_cast<size_t>(kernel)]; }

  // Kernel by kernel, all images in each.
  double apart(int kernel) const
  {
    double cycles = step_cycles / batch;
    for (const int v : arguments(kernel))
      cycles += is_of_image(v) ? touch(v, batch) : stored_bytes(value(v)) / Target::memory_rate / batch;
    return cycles;
  }

  // A run that grows at its end.
  class Run {
  public:
    Run(const Pricing& pricing, int begin) : pricing(pricing), begin(begin) {}

    void add(int kernel)
    {
      between += step_cycles;
      for (const int v : pricing.arguments(kernel)) {
        if (!pricing.is_of_image(v)) {
          parameters += stored_bytes(pricing.value(v));
          continue;
        }
        between += pricing.touch(v, batch);
        largest = std::max(largest, stored_bytes(pricing.value(v)));
      }
      for (const int v : pricing.ended_by(kernel))
        if (pricing.first[static_cast<size_t>(v)] >= begin) {
          inner++;
          for (int k = pricing.first[static_cast<size_t>(v)]; k <= kernel; ++k)
            for (const int argument : pricing.arguments(k))
              if (pricing.root(argument) == v)
                between += pricing.touch(argument, 1) - pricing.touch(argument, batch);
        }
    }

    double cycles() const
    {
      const double again = pricing.cycles_a_byte(parameters + largest);
      return between + parameters * (1 / Target::memory_rate + (batch - 1) * again) / batch;
    }
    bool hands_on() const { return inner > 0; }

  private:
    const Pricing& pricing;
    int begin, inner = 0;
    double between = 0, parameters = 0, largest = 0;
  };

private:
  const Value& value(int v) const { return graph.values[static_cast<size_t>(v)]; }
  int root(int v) const { return value(v).whole < 0 ? v : value(v).whole; }
  bool is_of_image(int v) const { return has_batch(value(v).type.shape); }
  const std::vector<int>& arguments(int kernel) const { return graph.kernels[static_cast<size_t>(kernel)].arguments; }

  std::vector<int> ended_by(int kernel) const
  {
    std::vector<int> ended;
    for (const int v : arguments(kernel))
      if (last[static_cast<size_t>(root(v))] == kernel && is_of_image(v) &&
          std::find(ended.begin(), ended.end(), root(v)) == ended.end())
        ended.push_back(root(v));
    return ended;
  }

  double cycles_a_byte(double bytes) const
  {
    return bytes <= static_cast<double>(target.l2_bytes) * 0.75  ? 0
           : bytes <= static_cast<double>(target.l3_bytes) * 0.5 ? 1 / Target::l3_rate
                                                                 : 1 / Target::memory_rate;
  }

  // To read or write the value where that of so many images stands between two kernels.
  double touch(int v, int64_t images) const
  {
    const double bytes = stored_bytes(value(v)), all = stored_bytes(value(root(v))) * static_cast<double>(images);
    return bytes * cycles_a_byte(all);
  }

  const Graph& graph;
  const Target& target;
  std::vector<int> first, last; // kernels that touch a value; first is -1 where it is never between two
  std::vector<bool> fits;
};

struct Division {
  double cycles = std::numeric_limits<double>::infinity(); // of the kernels before the end
  int begin = -1;                                          // of the last run, or of the last kernel
};

std::vector<Division> divide(const Pricing& pricing)
{
  std::vector<Division> best(static_cast<size_t>(pricing.count()) + 1);
  best[0].cycles = 0;
  const auto offer = [&](int begin, int end, double cycles) {
    Division& to = best[static_cast<size_t>(end)];
    if (const double sum = best[static_cast<size_t>(begin)].cycles + cycles; sum < to.cycles)
      to = {sum, begin};
  };
  for (int begin = 0; begin < pricing.count(); ++begin) {
    offer(begin, begin + 1, pricing.apart(begin));
    Pricing::Run run(pricing, begin);
    double apart = 0;
    for (int end = begin; end < pricing.count() && pricing.may_run(end); ++end) {
      run.add(end);
      apart += pricing.apart(end);
      if (run.hands_on() && run.cycles() < worth * apart)
        offer(begin, end + 1, run.cycles());
    }
  }
  return best;
}

std::string name_of(const Graph& graph, const Kernel& kernel)
{
  return graph.values[static_cast<size_t>(graph.ops[static_cast<size_t>(kernel.ops[0])].outputs[0])].name;
}

void mark(Graph& graph, const Pricing& pricing, Remarks& remarks)
{
  const std::vector<Division> best = divide(pricing);
  std::vector<std::pair<int, int>> runs;
  for (int end = pricing.count(); end > 0; end = best[static_cast<size_t>(end)].begin)
    if (const int begin = best[static_cast<size_t>(end)].begin; end - begin > 1)
      runs.insert(runs.begin(), {begin, end});
  for (size_t r = 0; r < runs.size(); ++r) {
    const auto [begin, end] = runs[r];
    double apart = 0;
    for (int k = begin; k < end; ++k) {
      graph.kernels[static_cast<size_t>(k)].schedule["images"] = static_cast<int64_t>(r);
      apart += pricing.apart(k);
    }
    const Kernel &first = graph.kernels[static_cast<size_t>(begin)],
                 &last = graph.kernels[static_cast<size_t>(end - 1)];
    const double together = best[static_cast<size_t>(end)].cycles - best[static_cast<size_t>(begin)].cycles;
    remarks.add(graph.ops[static_cast<size_t>(first.ops[0])].location,
                fmt::format("{} to {} take one image after the other: what is in memory costs about {:.0f} thousand "
                            "cycles an image against {:.0f} in a batch of {}",
                            name_of(graph, first), name_of(graph, last), together / 1000, apart / 1000, batch));
  }
}

} // namespace

std::vector<Run> runs_of(const Graph& graph)
{
  std::vector<Run> runs;
  int64_t before = -1;
  for (int k = 0; k < static_cast<int>(graph.kernels.size()); ++k) {
    const Attributes& schedule = graph.kernels[static_cast<size_t>(k)].schedule;
    const auto found = schedule.find("images");
    const int64_t* at = found == schedule.end() ? nullptr : std::get_if<int64_t>(&found->second);
    const int64_t number = at ? *at : -1;
    if (number >= 0 && number == before)
      runs.back().last = k;
    else if (number >= 0)
      runs.push_back({k, k});
    before = number;
  }
  return runs;
}

void image_by_image(Program& program, const Target& target, Remarks& remarks)
{
  for (Graph& graph : program.functions)
    mark(graph, Pricing(program, graph, target), remarks);
}

} // namespace cnnc
