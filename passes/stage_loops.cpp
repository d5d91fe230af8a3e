#include "passes/stage_loops.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cnnc {

namespace {

bool has_store(const std::vector<Node>& body)
{
  return std::any_of(body.begin(), body.end(), [](const Node& n) { return point_store(n) != nullptr; });
}

void find_in(std::vector<Node>& list, const Nest& nest, std::vector<const Loop*>& shared,
             std::vector<StageLoops>& found)
{
  for (Node& node : list) {
    Loop* loop = std::get_if<Loop>(&node.is);
    if (!loop)
      continue;
    StageLoops stage;
    stage.root = &node;
    stage.shared = shared;
    stage.box.push_back(loop);
    while (loop->body.size() == 1 && std::holds_alternative<Loop>(loop->body[0].is)) {
      loop = &std::get<Loop>(loop->body[0].is);
      stage.box.push_back(loop);
    }
    if (!has_store(loop->body)) {
      for (const Loop* outer : stage.box)
        shared.push_back(outer);
      find_in(loop->body, nest, shared, found);
      shared.resize(shared.size() - stage.box.size());
      continue;
    }
    if (std::any_of(loop->body.begin(), loop->body.end(), [](const Node& n) {
          const Store* store = point_store(n);
          return store ? store->update != Update::assign : !std::holds_alternative<Loop>(n.is);
        }))
      continue; // a scatter
    stage.point = &loop->body;
    found.push_back(std::move(stage));
  }
}

} // namespace

std::vector<StageLoops> find_stages(Nest& nest)
{
  std::vector<StageLoops> found;
  std::vector<const Loop*> shared;
  find_in(nest.body, nest, shared, found);
  return found;
}

const Store* point_store(const Node& node, std::vector<const If*>* conditions)
{
  const Node* at = &node;
  while (const If* check = std::get_if<If>(&at->is)) {
    if (check->then_body.size() != 1 || !check->else_body.empty())
      return nullptr;
    if (conditions)
      conditions->push_back(check);
    at = &check->then_body[0];
  }
  return std::get_if<Store>(&at->is);
}

ReductionLoops reduction_of(const Node& node)
{
  ReductionLoops result;
  const Node* at = &node;
  while (const Loop* loop = std::get_if<Loop>(&at->is)) {
    result.loops.push_back(loop);
    at = &loop->body.at(0);
  }
  result.store = std::get_if<Store>(&at->is);
  return result;
}

bool runs_vector_by_vector(const std::vector<Node>& point, const Nest& nest)
{
  constexpr int most_side_by_side = 12; // numbers of one vector
  int numbers = 0;
  for (const Node& node : point) {
    const Store* store = point_store(node);
    if (!store)
      return false;
    numbers += nest.buffers[store->target].role == BufferRole::registers;
  }
  return numbers > most_side_by_side;
}

bool reads_by_element(const WindowPart& part, int64_t parts, int64_t registers)
{
  // In parts each line is come to again for each of them: more has to be saved by it.
  const bool is_saved = parts > 1 ? part.elements * 2 <= part.products : part.elements * 3 <= part.products * 2;
  return is_saved && part.sums + part.others + 1 <= registers;
}

std::optional<int64_t> trip_count(const Loop& loop)
{
  if (loop.begin.size() != 1 || loop.end.size() != 1 || !loop.begin[0].is_constant() || !loop.end[0].is_constant())
    return std::nullopt;
  return std::max<int64_t>(0, ceil_div(loop.end[0].constant - loop.begin[0].constant, loop.step));
}

std::optional<int64_t> memory_stride(const Buffer& buffer, const std::vector<Affine>& at, int index)
{
  std::vector<int64_t> strides = axis_strides(buffer.layout, buffer.type.shape);
  int64_t stride = 0;
  for (size_t a = 0; a < buffer.layout.axes.size(); a++) {
    const Axis& axis = buffer.layout.axes[a];
    int64_t factor = at[axis.dim].factor(index);
    if (factor == 0)
      continue;
    if (axis.modulo > 0) {
      // Inside a block the outer part stands still, if whatever else is in the subscript keeps it aligned.
      if (at[axis.dim].constant % (axis.divide * axis.modulo) != 0 || factor % axis.divide != 0)
        return std::nullopt;
      stride += factor / axis.divide * strides[a];
    } else if (axis.divide == 1) {
      stride += factor * strides[a];
    }
  }
  return stride;
}

std::optional<DotProduct> dot_product(const Expr& value, const Nest& nest, const Target& target)
{
  if (value.fn != Fn::mul)
    return std::nullopt;
  DotProduct product{{}, 1};
  DType types[2];
  for (size_t i = 0; i < 2; i++) {
    const Expr& factor = *value.args[i];
    if (factor.fn != Fn::cast || factor.args[0]->fn != Fn::read || factor.args[0]->checked ||
        nest.buffers[factor.args[0]->tensor].role == BufferRole::registers)
      return std::nullopt;
    product.factors.push_back(factor.args[0].get());
    types[i] = factor.args[0]->type;
  }
  if (value.type == DType::f32 && types[0] == DType::bf16 && types[1] == DType::bf16 && target.dot_bf16)
    product.group = 2;
  else if (value.type == DType::i32 && target.dot_i8 &&
           ((types[0] == DType::u8 && types[1] == DType::i8) || (types[0] == DType::i8 && types[1] == DType::u8)))
    product.group = 4;
  else
    return std::nullopt;
  return product;
}

bool are_neighbours(const Buffer& buffer, const std::vector<Affine>& at, int index, int64_t group,
                    const std::function<int64_t(int)>& step)
{
  std::vector<int64_t> strides = axis_strides(buffer.layout, buffer.type.shape);
  int64_t stride = 0;
  for (size_t a = 0; a < buffer.layout.axes.size(); a++) {
    const Axis& axis = buffer.layout.axes[a];
    const Affine& subscript = at[axis.dim];
    const int64_t factor = subscript.factor(index);
    if (factor == 0)
      continue;
    const Affine others = subscript.without(index);
    if (factor != 1 || (others.constant + axis.before) % group != 0 ||
        std::any_of(others.terms.begin(), others.terms.end(),
                    [&](const Affine::Term& t) { return t.factor * step(t.index) % group; }))
      return false;
    if (axis.divide % group == 0)
      continue; // the same for all of a group
    if (axis.divide != 1 || (axis.modulo > 0 && axis.modulo % group != 0))
      return false;
    stride += strides[a];
  }
  return stride == 1;
}

std::string to_string(const StageSchedule& s)
{
  std::string text;
  auto list = [&](const char* word, const std::vector<StageSchedule::Step>& steps) {
    if (steps.empty())
      return;
    text += text.empty() ? word : std::string(" ") + word;
    for (size_t i = 0; i < steps.size(); i++) {
      text += i ? ", " : " ";
      text += steps[i].size == 1 ? steps[i].index : fmt::format("{}:{}", steps[i].index, steps[i].size);
    }
  };
  list("tile", s.tile);
  list("cut", s.cut);
  list("reduce", s.reduce);
  if (!s.lanes.empty())
    text += fmt::format("{}lanes {}:{}", text.empty() ? "" : " ", s.lanes, s.width);
  if (s.prefetches)
    text += text.empty() ? "prefetch" : " prefetch";
  return text;
}

std::vector<StageSchedule> parse_schedules(std::string_view text, const Location& where)
{
  std::vector<StageSchedule> result(1);
  size_t at = 0;
  auto word = [&]() -> std::string {
    while (at < text.size() && (text[at] == ' ' || text[at] == ','))
      at++;
    size_t begin = at;
    if (at < text.size() && text[at] == '|')
      return std::string(text.substr(at++, 1));
    while (at < text.size() && text[at] != ' ' && text[at] != ',' && text[at] != '|')
      at++;
    return std::string(text.substr(begin, at - begin));
  };
  std::string mode;
  for (std::string w = word(); !w.empty(); w = word()) {
    if (w == "|") {
      result.emplace_back();
      mode.clear();
      continue;
    }
    if (w == "prefetch") {
      result.back().prefetches = true;
      continue;
    }
    if (w == "tile" || w == "cut" || w == "reduce" || w == "lanes") {
      mode = w;
      continue;
    }
    StageSchedule::Step step;
    size_t colon = w.find(':');
    step.index = w.substr(0, colon);
    if (colon != std::string::npos) {
      const char *begin = w.data() + colon + 1, *end = w.data() + w.size();
      auto [rest, error] = std::from_chars(begin, end, step.size);
      if (error != std::errc() || rest != end || step.size < 1 || step.size > 4096)
        throw Error(where, fmt::format("schedule: '{}' wants a size between 1 and 4096 behind the colon", w));
    }
    if (mode == "tile")
      result.back().tile.push_back(step);
    else if (mode == "reduce")
      result.back().reduce.push_back(step);
    else if (mode == "cut")
      result.back().cut.push_back(step);
    else if (mode == "lanes") {
      result.back().lanes = step.index;
      result.back().width = step.size;
    } else
      throw Error(where, fmt::format("schedule: '{}' stands before 'tile', 'cut', 'reduce' or 'lanes'", w));
  }
  return result;
}

} // namespace cnnc
