#include "ir/nest.h"

#include <algorithm>

namespace cnnc {

std::string_view to_string(LoopKind kind)
{
  switch (kind) {
  case LoopKind::serial: return "for";
  case LoopKind::parallel: return "parallel";
  case LoopKind::unroll: return "unroll";
  case LoopKind::lanes: return "lanes";
  }
  return "?";
}

std::string_view to_string(BufferRole role)
{
  switch (role) {
  case BufferRole::in: return "in";
  case BufferRole::out: return "out";
  case BufferRole::inout: return "inout";
  case BufferRole::local: return "local";
  case BufferRole::registers: return "registers";
  }
  return "?";
}

namespace {

// "w", "w1", "w2", ... : the first that nobody in `all` is called.
template<class Named>
std::string unique_name(const std::string& name, const std::vector<Named>& all, std::string_view separator)
{
  auto taken = [&](const std::string& candidate) {
    return std::any_of(all.begin(), all.end(), [&](const Named& other) { return other.name == candidate; });
  };
  std::string candidate = name;
  for (int i = 1; taken(candidate) || candidate == "N"; ++i)
    candidate = name + std::string(separator) + std::to_string(i);
  return candidate;
}

template<class Nodes, class Visit>
void walk(Nodes& nodes, const Visit& visit)
{
  for (auto& node : nodes) {
    visit(node);
    if (auto* loop = std::get_if<Loop>(&node.is))
      walk(loop->body, visit);
    else if (auto* branch = std::get_if<If>(&node.is)) {
      walk(branch->then_body, visit);
      walk(branch->else_body, visit);
    }
  }
}

} // namespace

int Nest::add_index(std::string name)
{
  indices.push_back({unique_name(name, indices, "")});
  return static_cast<int>(indices.size()) - 1;
}

int Nest::add_buffer(Buffer buffer)
{
  buffer.name = unique_name(buffer.name, buffers, ".");
  buffers.push_back(std::move(buffer));
  return static_cast<int>(buffers.size()) - 1;
}

void for_each_node(std::vector<Node>& nodes, const std::function<void(Node&)>& visit)
{
  walk(nodes, visit);
}

void for_each_node(const std::vector<Node>& nodes, const std::function<void(const Node&)>& visit)
{
  walk(nodes, visit);
}

} // namespace cnnc
