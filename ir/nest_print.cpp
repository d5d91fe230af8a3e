// A nest as text. Indices are numbered anew, in the order in which the text names them: then the order of the terms of
// a subscript depends on the text alone, and printing what was read gives the same text.
#include "ir/graph_text.h"

#include <fmt/format.h>

namespace cnnc {

namespace {

constexpr size_t line_limit = 120;

std::string quoted(const std::string& text)
{
  return to_string(AttributeValue(text));
}

std::string with_sigil(const std::string& name)
{
  return name.empty() ? "%" : name[0] + print_name(std::string_view(name).substr(1));
}

class Printer {
public:
  explicit Printer(const Nest& nest) : nest(nest), rank(nest.indices.size(), -1)
  {
    for_each_node(nest.body, [&](const Node& node) {
      if (const auto* loop = std::get_if<Loop>(&node.is))
        name_index(loop->index);
    });
    for (size_t i = 0; i < rank.size(); ++i) // of loops that a pass has taken out: only nodes printed alone name them
      name_index(static_cast<int>(i));
  }

  std::string whole() const
  {
    std::string head = "nest @" + print_name(nest.name);
    std::vector<std::string> arguments, others;
    size_t width = head.size() + 4;
    for (const Buffer& buffer : nest.buffers) {
      bool argument = buffer.role <= BufferRole::inout;
      (argument ? arguments : others).push_back(text(buffer));
      width += argument ? arguments.back().size() + 2 : 0;
    }
    std::string separator = width > line_limit ? ",\n    " : ", ";
    head += width > line_limit ? "(\n    " : "(";
    for (size_t i = 0; i < arguments.size(); ++i)
      head += (i ? separator : "") + arguments[i];
    head += ")";
    if (nest.location.is_known()) {
      head += fmt::format(" at {}:{}", quoted(nest.location.source->name), nest.location.line);
      if (nest.last_line > nest.location.line)
        head += fmt::format("-{}", nest.last_line);
    }
    if (!nest.schedule.empty())
      head += "\n  schedule " + quoted(nest.schedule);
    head += " {\n";
    for (const std::string& other : others)
      head += "  " + other + "\n";
    return head + lines(nest.body, 2) + "}\n";
  }

  std::string lines(const std::vector<Node>& body, int indent) const
  {
    std::string result;
    for (const Node& node : body)
      result += lines(node, indent);
    return result;
  }

  std::string lines(const Node& node, int indent) const
  {
    std::string margin(static_cast<size_t>(indent), ' ');
    if (std::optional<std::string> short_form = one_line(node))
      if (margin.size() + short_form->size() <= line_limit)
        return margin + *short_form + "\n";
    if (const auto* loop = std::get_if<Loop>(&node.is)) {
      std::string heads = head(*loop);
      const Loop* last = loop;
      while (const Loop* inner = only_loop(*last, loop->kind)) {
        heads += ", " + range(*inner);
        last = inner;
      }
      return margin + heads + " {\n" + lines(last->body, indent + 2) + margin + "}\n";
    }
    if (const auto* branch = std::get_if<If>(&node.is)) {
      std::string result =
          margin + "if " + text(branch->condition) + " >= 0 {\n" + lines(branch->then_body, indent + 2);
      if (!branch->else_body.empty())
        result += margin + "} else {\n" + lines(branch->else_body, indent + 2);
      return result + margin + "}\n";
    }
    if (const auto* store = std::get_if<Store>(&node.is))
      return margin + text(*store) + "\n";
    if (const auto* line = std::get_if<Prefetch>(&node.is))
      return margin + text(*line) + "\n";
    const auto& zero = std::get<ZeroBorder>(node.is);
    return margin + "zero_border " + name(zero.buffer) + text(zero.at) + "\n";
  }

private:
  void name_index(int index)
  {
    if (index >= 0 && static_cast<size_t>(index) < rank.size() && rank[static_cast<size_t>(index)] < 0) {
      rank[static_cast<size_t>(index)] = static_cast<int>(names.size());
      names.push_back(nest.indices[static_cast<size_t>(index)].name);
    }
  }

  // Vector code is short: stores alone inside unrolled loops and lanes stay on one line.
  std::optional<std::string> one_line(const Node& node) const
  {
    if (const auto* store = std::get_if<Store>(&node.is))
      return text(*store);
    if (const auto* line = std::get_if<Prefetch>(&node.is))
      return text(*line);
    const auto* loop = std::get_if<Loop>(&node.is);
    if (!loop || (loop->kind != LoopKind::unroll && loop->kind != LoopKind::lanes))
      return {};
    std::string heads = head(*loop);
    while (const Loop* inner = only_loop(*loop, loop->kind)) {
      heads += ", " + range(*inner);
      loop = inner;
    }
    if (loop->body.size() != 1)
      return {};
    std::optional<std::string> inner = one_line(loop->body[0]);
    return inner ? std::optional(heads + " { " + *inner + " }") : std::nullopt;
  }

  static const Loop* only_loop(const Loop& loop, LoopKind kind)
  {
    const auto* inner = loop.body.size() == 1 ? std::get_if<Loop>(&loop.body[0].is) : nullptr;
    return inner && inner->kind == kind ? inner : nullptr;
  }

  std::string head(const Loop& loop) const { return std::string(to_string(loop.kind)) + " " + range(loop); }

  std::string range(const Loop& loop) const
  {
    std::string result = index_name(loop.index) + " in " + bound(loop.begin, "max") + ".." + bound(loop.end, "min");
    return loop.step == 1 ? result : result + fmt::format(" step {}", loop.step);
  }

  std::string bound(const std::vector<Affine>& all, std::string_view pick) const
  {
    if (all.size() == 1)
      return text(all[0]);
    std::string result = std::string(pick) + "(";
    for (size_t i = 0; i < all.size(); ++i)
      result += (i ? ", " : "") + text(all[i]);
    return result + ")";
  }

  std::string text(const Prefetch& line) const { return "prefetch " + name(line.buffer) + text(line.at); }

  std::string text(const Store& store) const
  {
    std::string result = name(store.target) + text(store.at);
    if (store.tap >= 0)
      result += ", " + name(store.tap);
    result += fmt::format(" {} {}", to_string(store.update), text(*store.value));
    return store.tap >= 0 ? result + " tap " + text(store.tap_value) : result;
  }

  static std::string text(const Buffer& buffer)
  {
    std::string result =
        fmt::format("{} {}: {}", to_string(buffer.role), with_sigil(buffer.name), cnnc::to_string(buffer.type));
    if (!is_planar(buffer.layout))
      result += " as " + cnnc::to_string(buffer.layout);
    if (buffer.offset != 0)
      result += fmt::format(" in thread {}", buffer.offset);
    if (buffer.ahead.bytes != 0)
      result += fmt::format(" ahead {}", buffer.ahead.bytes);
    if (buffer.ahead.turns > 1)
      result += fmt::format(" turns {}/{}", buffer.ahead.loop, buffer.ahead.turns);
    if (buffer.ahead.images != 0)
      result += fmt::format(" from {} images", buffer.ahead.images);
    return result;
  }

  std::string text(const Expr& e) const
  {
    // `transform` wants to share the tree: the pointer does not own it.
    ExprPtr root(std::shared_ptr<const Expr>(), &e);
    ExprPtr canonical = map_affine(root, [&](const Affine& a) { return ranked(a); });
    return cnnc::to_string(*canonical,
                           {[&](int buffer) { return name(buffer); }, [&](int i) { return ranked_name(i); }});
  }

  std::string text(const std::vector<Affine>& at) const
  {
    std::string result = "[";
    for (size_t i = 0; i < at.size(); ++i)
      result += (i ? "," : "") + text(at[i]);
    return result + "]";
  }

  std::string text(const Affine& a) const
  {
    return cnnc::to_string(ranked(a), [&](int i) { return ranked_name(i); });
  }

  Affine ranked(const Affine& a) const
  {
    return renumber(
        a, [&](int i) { return i >= 0 && static_cast<size_t>(i) < rank.size() ? rank[static_cast<size_t>(i)] : i; });
  }

  std::string ranked_name(int i) const
  {
    if (i == batch_index)
      return "N";
    return i >= 0 && static_cast<size_t>(i) < names.size() ? names[static_cast<size_t>(i)] : fmt::format("?{}", i);
  }

  std::string index_name(int index) const
  {
    bool valid = index >= 0 && static_cast<size_t>(index) < nest.indices.size();
    return valid ? nest.indices[static_cast<size_t>(index)].name : fmt::format("?{}", index);
  }

  std::string name(int buffer) const
  {
    bool valid = buffer >= 0 && static_cast<size_t>(buffer) < nest.buffers.size();
    return valid ? with_sigil(nest.buffers[static_cast<size_t>(buffer)].name) : fmt::format("?{}", buffer);
  }

  const Nest& nest;
  std::vector<int> rank;          // of each index of the nest
  std::vector<std::string> names; // by rank
};

} // namespace

std::string to_string(const Nest& nest)
{
  return Printer(nest).whole();
}

std::string to_string(const Node& node, const Nest& nest, int indent)
{
  return Printer(nest).lines(node, indent);
}

} // namespace cnnc
