// Every buffer gets its place.
//
//   %c : f32[n,16,28,28]                          %c : f32[n,16,28,28] in image 0
//   %p : f32[n,16,14,14]                  =>      %p : f32[n,16,14,14] in image 50240
//   %d : f32[n,16,10,10]                          %d : f32[n,16,10,10] in image 0        %c is not read any more
//
// A result lives from the kernel that writes it to the last one that touches it. Values that stay within a kernel have
// no place: they are registers or locals. Outputs lie where the caller wants them. An update's value that its kernel
// wrote in place (the parameter is that nest's `inout` argument) lies where the parameter does, and so does what becomes
// a prepared value; any other is copied there by the driver at the end of the call.
//
// A part of a value has no place of its own: its whole lives from the first kernel to the last that touches any of it.
//
// What only the kernels of one run touch (see image_by_image) has memory for one image: that which is on its way. All else that a run touches lives as long as it runs: its first kernel comes again for the next image.
//
// Parameters, states and constants lie in blobs that all functions share: the same name, the same place. Prepared values
// lie behind all parameters.
//
// Needs:  kernels lowered, layouts final.
// Leaves: regions and offsets on values, offsets on locals, fixed_bytes, image_bytes and thread_bytes on functions.
#include "passes/plan_memory.h"

#include "ir/checked.h"
#include "passes/image_by_image.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace cnnc {

namespace {

// Behind each buffer: a vector that starts inside may end here.
constexpr int64_t slack = 64;

int64_t aligned_end(int64_t begin, int64_t bytes)
{
  std::optional<int64_t> end = checked_add(begin, bytes);
  if (end)
    end = checked_add(*end, alignment - 1);
  if (!end)
    throw Error({}, "the network needs more memory than can be addressed");
  return *end / alignment * alignment;
}

int64_t bytes_of(const TensorType& type, const Layout& layout)
{
  return stored_elements(layout, type.shape) * bytes_of(type.dtype) + slack;
}

Layout layout_of(const Value& value)
{
  return value.layout.value_or(planar(value.type.shape.size()));
}

class Planner {
public:
  Planner(Program& program, Remarks& remarks) : program(program), remarks(remarks) {}

  void run()
  {
    for (Nest& nest : program.nests)
      place_locals(nest);
    for (const bool prepared : {false, true})
      for (Graph& graph : program.functions)
        place_blobs(graph, prepared);
    for (Graph& graph : program.functions)
      place_results(graph);
  }

private:
  static void place_locals(Nest& nest)
  {
    int64_t end = 0;
    for (Buffer& buffer : nest.buffers)
      if (buffer.role == BufferRole::local) {
        buffer.offset = end;
        end = aligned_end(end, bytes_of(buffer.type, buffer.layout));
      }
  }

  static int64_t thread_bytes(const Nest& nest)
  {
    int64_t end = 0;
    for (const Buffer& buffer : nest.buffers)
      if (buffer.role == BufferRole::local)
        end = std::max(end, aligned_end(buffer.offset, bytes_of(buffer.type, buffer.layout)));
    return end;
  }

  // --- what all functions share

  struct Placed {
    const Graph* graph;
    Value value; // a copy: its type, layout, data, offset
  };

  void place_blobs(Graph& graph, bool prepared)
  {
    for (Value& value : graph.values) {
      if ((value.kind == ValueKind::prepared) != prepared)
        continue;
      Region region = value.kind == ValueKind::parameter  ? Region::parameter
                      : value.kind == ValueKind::prepared ? Region::parameter
                      : value.kind == ValueKind::state    ? Region::state
                      : value.kind == ValueKind::constant ? Region::constant
                                                          : Region::none;
      if (region == Region::none)
        continue;
      value.region = region;
      std::vector<Placed>& same_name = placed[{region, value.name}];
      auto found = std::find_if(same_name.begin(), same_name.end(), [&](const Placed& other) {
        return other.value.type == value.type && layout_of(other.value) == layout_of(value) &&
               (region != Region::constant || same_data(other.value, value));
      });
      if (found != same_name.end()) {
        value.offset = found->value.offset;
        continue;
      }
      // Two functions may have made different constants of one name; a parameter is one thing.
      if (region != Region::constant && !same_name.empty())
        throw InternalError(fmt::format("@{} is {} as {} in @{}, and {} as {} in @{}", value.name,
                                        to_string(same_name[0].value.type), to_string(layout_of(same_name[0].value)),
                                        same_name[0].graph->name, to_string(value.type), to_string(layout_of(value)),
                                        graph.name));
      int64_t& end = blob_bytes[region];
      value.offset = end;
      end = aligned_end(end, bytes_of(value.type, layout_of(value)));
      same_name.push_back({&graph, value});
    }
  }

  static bool same_data(const Value& a, const Value& b)
  {
    if (a.data == b.data)
      return a.data || a.data_name == b.data_name;
    return a.data && b.data && a.data->dtype == b.data->dtype && a.data->dims == b.data->dims &&
           a.data->bytes == b.data->bytes;
  }

  // --- one function

  void place_results(Graph& graph)
  {
    std::vector<std::optional<Lifetime>> lives(graph.values.size());
    const std::vector<Run> runs = runs_of(graph);
    graph.thread_bytes = 0;
    for (size_t k = 0; k < graph.kernels.size(); ++k) {
      const Kernel& kernel = graph.kernels[k];
      if (kernel.nest < 0)
        throw InternalError(fmt::format("kernel {} of @{} is not lowered", kernel.name, graph.name));
      for (int argument : kernel.arguments) {
        const Value& value = graph.values.at(static_cast<size_t>(argument));
        std::optional<Lifetime>& life = lives.at(static_cast<size_t>(value.whole < 0 ? argument : value.whole));
        if (!life)
          life = Lifetime{.bytes = 0, .first = static_cast<int>(k), .last = 0, .offset = 0};
        life->last = static_cast<int>(k);
      }
      graph.thread_bytes =
          std::max(graph.thread_bytes, thread_bytes(program.nests.at(static_cast<size_t>(kernel.nest))));
    }
    // The driver copies it at the end of the call.
    for (const StateUpdate& update : graph.updates)
      if (auto& life = lives[static_cast<size_t>(update.value)])
        life->last = static_cast<int>(graph.kernels.size());
    for (int output : graph.outputs)
      lives[static_cast<size_t>(output)].reset();
    for (const StateUpdate& update : graph.updates)
      place_prepared(graph, update, lives);

    const std::vector<bool> in_run = live_in_runs(graph, runs, lives);
    graph.fixed_bytes = place(graph, lives, in_run, Region::fixed);
    graph.image_bytes = place(graph, lives, in_run, Region::image);
    graph.run_bytes = place(graph, lives, in_run, Region::run);
    for (const StateUpdate& update : graph.updates)
      place_update(graph, update);
  }

  // For each value whether it lives in a run alone; those that do not live through all of each run that touches them.
  static std::vector<bool> live_in_runs(const Graph& graph, const std::vector<Run>& runs,
                                        std::vector<std::optional<Lifetime>>& lives)
  {
    std::vector<bool> in_run(lives.size());
    for (size_t v = 0; v < lives.size(); ++v)
      for (const Run& run : runs) {
        if (!lives[v] || lives[v]->last < run.first || lives[v]->first > run.last)
          continue;
        in_run[v] = has_batch(graph.values[v].type.shape) && lives[v]->first >= run.first && lives[v]->last <= run.last;
        if (!in_run[v]) {
          lives[v]->first = std::min(lives[v]->first, run.first);
          lives[v]->last = std::max(lives[v]->last, run.last);
        }
      }
    return in_run;
  }

  // A result that becomes a prepared value is written there at once.
  static void place_prepared(Graph& graph, const StateUpdate& update, std::vector<std::optional<Lifetime>>& lives)
  {
    Value& value = graph.values[static_cast<size_t>(update.value)];
    const Value& target = graph.values[static_cast<size_t>(update.target)];
    std::optional<Lifetime>& life = lives[static_cast<size_t>(update.value)];
    if (target.kind != ValueKind::prepared || value.kind != ValueKind::result || !life ||
        layout_of(value) != layout_of(target))
      return;
    value.region = target.region;
    value.offset = target.offset;
    life.reset();
  }

  int64_t place(Graph& graph, std::vector<std::optional<Lifetime>>& lives, const std::vector<bool>& in_run,
                Region region)
  {
    std::vector<Lifetime> buffers;
    std::vector<size_t> values;
    int64_t total = 0;
    for (size_t v = 0; v < graph.values.size(); ++v) {
      Value& value = graph.values[v];
      if ((value.kind != ValueKind::result && value.kind != ValueKind::temporary) || !lives[v] ||
          region != (in_run[v]                     ? Region::run
                     : has_batch(value.type.shape) ? Region::image
                                                   : Region::fixed))
        continue;
      lives[v]->bytes = bytes_of(value.type, layout_of(value));
      total = aligned_end(total, lives[v]->bytes);
      buffers.push_back(*lives[v]);
      values.push_back(v);
    }
    int64_t bytes = place_buffers(buffers);
    for (size_t i = 0; i < buffers.size(); ++i) {
      graph.values[values[i]].region = region;
      graph.values[values[i]].offset = buffers[i].offset;
    }
    if (!buffers.empty())
      remarks.add(graph.location,
                  fmt::format("@{}: {} buffers {} lie in {} bytes, {} without sharing", graph.name, buffers.size(),
                              region == Region::image ? "for each image"
                              : region == Region::run ? "for each image on its way"
                                                      : "for all images",
                              bytes, total));
    return bytes;
  }

  void place_update(Graph& graph, const StateUpdate& update)
  {
    Value& value = graph.values[static_cast<size_t>(update.value)];
    const Value& target = graph.values[static_cast<size_t>(update.target)];
    if (value.kind != ValueKind::result || target.kind == ValueKind::prepared)
      return;
    const Kernel& kernel = graph.kernels.at(static_cast<size_t>(graph.ops[static_cast<size_t>(value.op)].kernel));
    const Nest& nest = program.nests[static_cast<size_t>(kernel.nest)];
    auto argument = [&](int number) {
      return std::find(kernel.arguments.begin(), kernel.arguments.end(), number) - kernel.arguments.begin();
    };
    auto count = static_cast<std::ptrdiff_t>(kernel.arguments.size());
    if (argument(update.value) < count)
      return; // it has a place of its own, or is an output
    std::ptrdiff_t old = argument(update.target);
    if (old == count || nest.buffers.at(static_cast<size_t>(old)).role != BufferRole::inout)
      throw InternalError(fmt::format("kernel {} of @{} writes {} nowhere", kernel.name, graph.name, value.name));
    value.region = target.region;
    value.offset = target.offset;
    remarks.add(value.location, fmt::format("{} is written in the place of {}", value.name, target.name));
  }

  Program& program;
  Remarks& remarks;
  std::map<Region, int64_t> blob_bytes;
  std::map<std::pair<Region, std::string>, std::vector<Placed>> placed;
};

} // namespace

int64_t place_buffers(std::vector<Lifetime>& buffers)
{
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes
                                                : buffers[a].first < buffers[b].first;
  });
  int64_t end = 0;
  std::vector<size_t> taken; // by offset
  for (size_t b : order) {
    Lifetime& buffer = buffers[b];
    int64_t offset = 0;
    for (size_t t : taken) {
      const Lifetime& other = buffers[t];
      if (other.last < buffer.first || buffer.last < other.first)
        continue;
      if (aligned_end(offset, buffer.bytes) <= other.offset)
        break; // fits into the gap before it
      offset = std::max(offset, aligned_end(other.offset, other.bytes));
    }
    buffer.offset = offset;
    end = std::max(end, aligned_end(offset, buffer.bytes));
    taken.insert(std::upper_bound(taken.begin(), taken.end(), offset,
                                  [&](int64_t at, size_t t) { return at < buffers[t].offset; }),
                 b);
  }
  return end;
}

void plan_memory(Program& program, const Target&, Remarks& remarks)
{
  Planner(program, remarks).run();
}

} // namespace cnnc
