// Graphs => Interface. Sizes are checked here once, so that the runtime's arithmetic cannot overflow.
#include "compiler/interface.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <set>
#include <unordered_map>

namespace cnnc {

static_assert(static_cast<int>(DType::f32) == CNN_F32 && static_cast<int>(DType::f64) == CNN_F64 &&
              static_cast<int>(DType::bf16) == CNN_BF16 && static_cast<int>(DType::i8) == CNN_I8 &&
              static_cast<int>(DType::u8) == CNN_U8 && static_cast<int>(DType::i32) == CNN_I32 &&
              static_cast<int>(DType::i64) == CNN_I64 && static_cast<int>(DType::boolean) == CNN_BOOL);

namespace {

const std::set<std::string, std::less<>>& keywords()
{
  static const std::set<std::string, std::less<>> words{"alignas",      "alignof",
                                                        "and",          "and_eq",
                                                        "asm",          "atomic_cancel",
                                                        "auto",         "bitand",
                                                        "bitor",        "bool",
                                                        "break",        "case",
                                                        "catch",        "char",
                                                        "char16_t",     "char32_t",
                                                        "char8_t",      "class",
                                                        "co_await",     "co_return",
                                                        "co_yield",     "compl",
                                                        "concept",      "const",
                                                        "const_cast",   "consteval",
                                                        "constexpr",    "constinit",
                                                        "continue",     "decltype",
                                                        "default",      "delete",
                                                        "do",           "double",
                                                        "dynamic_cast", "else",
                                                        "enum",         "explicit",
                                                        "export",       "extern",
                                                        "false",        "float",
                                                        "for",          "friend",
                                                        "goto",         "if",
                                                        "inline",       "int",
                                                        "long",         "mutable",
                                                        "namespace",    "new",
                                                        "noexcept",     "not",
                                                        "not_eq",       "nullptr",
                                                        "operator",     "or",
                                                        "or_eq",        "private",
                                                        "protected",    "public",
                                                        "register",     "reinterpret_cast",
                                                        "requires",     "restrict",
                                                        "return",       "short",
                                                        "signed",       "sizeof",
                                                        "static",       "static_assert",
                                                        "static_cast",  "struct",
                                                        "switch",       "template",
                                                        "this",         "thread_local",
                                                        "throw",        "true",
                                                        "try",          "typedef",
                                                        "typeid",       "typename",
                                                        "typeof",       "typeof_unqual",
                                                        "union",        "unsigned",
                                                        "using",        "virtual",
                                                        "void",         "volatile",
                                                        "wchar_t",      "while",
                                                        "xor",          "xor_eq",
                                                        "linux",        "unix"};
  return words;
}

// The network's functions carry its name alone, and the descriptor has the bare name: it must not hide a function of
// the C library, of which the network itself calls some.
void check_name(const std::string& name, const Location& where)
{
  if (name.empty() || name != c_identifier(name))
    throw Error(where,
                fmt::format("'{}' cannot be the network's name: letters, digits and underscores wanted, no keyword "
                            "of C or C++, since its functions are called like it",
                            name));
  if (name == "cnn" || name.starts_with("cnn_") || name.starts_with("_"))
    throw Error(where, fmt::format("'{}' cannot be the network's name: names with cnn_ or _ in front are taken", name));
  if (name == "main" || dlsym(RTLD_DEFAULT, name.c_str()) != nullptr)
    throw Error(where,
                fmt::format("'{}' cannot be the network's name: the system's libraries have a function of it", name));
}

constexpr int64_t size_limit = int64_t{1} << 46; // of all bytes of one kind
constexpr int64_t slack = 64;                    // behind each tensor: a vector that starts inside may end there

// Unique among those of its kind, and not the name of another argument.
std::string unique_c_name(const std::string& name, std::set<std::string>& taken)
{
  std::string c_name = c_identifier(name);
  while (!taken.insert(c_name).second)
    c_name += "_";
  return c_name;
}

Interface::TensorInfo describe(const Value& value, bool in_block, std::set<std::string>& taken)
{
  Interface::TensorInfo info;
  info.name = value.name;
  if (value.name.find('\0') != std::string::npos || value.name.size() > 250)
    throw Error(value.location, "a tensor's name is longer than 250 characters");
  info.c_name = unique_c_name(value.name, taken);
  info.type = value.type;
  info.limit = value.limit;
  info.initial = value.initial.empty() ? "zero" : value.initial;
  info.rate = value.rate;
  info.line = value.location.line;
  const Shape& shape = value.type.shape;
  if (shape.size() > CNN_MAX_RANK)
    throw Error(value.location, fmt::format("'{}' has {} dimensions, {} are possible at the interface", value.name,
                                            shape.size(), +CNN_MAX_RANK));
  for (const Dim& dim : shape)
    info.dims.push_back(dim.batch ? -dim.size : dim.size);
  if (!in_block) {
    if (value.layout && !is_planar(*value.layout))
      throw InternalError(
          fmt::format("'{}' is the caller's, and has the layout {}", value.name, to_string(*value.layout)));
    return info;
  }
  if (has_batch(shape))
    throw InternalError(fmt::format("'{}' lives in a block and depends on the batch", value.name));
  const Layout layout = value.layout ? *value.layout : planar(shape.size());
  const std::vector<int64_t> extents = axis_extents(layout, shape), strides = axis_strides(layout, shape);
  for (size_t i = 0; i < layout.axes.size(); ++i) {
    const Axis& axis = layout.axes[i];
    info.axes.push_back({axis.dim, 0, axis.divide, axis.modulo, axis.before, extents[i], strides[i]});
  }
  info.offset = CNN_HEADER_BYTES + value.offset;
  info.stored = stored_elements(layout, shape);
  return info;
}

bool same_place(const Interface::TensorInfo& a, const Interface::TensorInfo& b)
{
  return a.type == b.type && a.offset == b.offset && a.stored == b.stored &&
         std::equal(a.axes.begin(), a.axes.end(), b.axes.begin(), b.axes.end(),
                    [](const cnn_axis& x, const cnn_axis& y) { return std::memcmp(&x, &y, sizeof x) == 0; });
}

// Parameters, states or prepared values of all functions, those of the first that has them first.
std::vector<Interface::TensorInfo> collect(const Functions& of, ValueKind kind)
{
  std::vector<const Graph*> functions(of.called.begin(), of.called.end());
  functions.push_back(of.prepare);
  std::vector<Interface::TensorInfo> all;
  std::unordered_map<std::string, size_t> known;
  std::set<std::string> taken;
  for (const Graph* graph : functions) {
    if (!graph)
      continue;
    for (int v : values_of(*graph, kind)) {
      const Value& value = graph->values[static_cast<size_t>(v)];
      std::set<std::string> ignored;
      const auto [at, is_new] = known.try_emplace(value.name, all.size());
      Interface::TensorInfo info = describe(value, true, is_new ? taken : ignored);
      if (is_new)
        all.push_back(std::move(info));
      else if (!same_place(all[at->second], info))
        throw InternalError(fmt::format("'{}' lies differently in '{}' than in '{}'", value.name, graph->name,
                                        functions[CNN_FORWARD]->name));
      if (value.data && value.data->dims != all[at->second].dims)
        throw InternalError(fmt::format("the data of '{}' do not have its shape", value.name));
      if (value.data && !all[at->second].data)
        all[at->second].data = value.data.get();
    }
  }
  return all;
}

int64_t aligned(int64_t bytes)
{
  return (bytes + CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT;
}

int64_t block_bytes(const std::vector<Interface::TensorInfo>& tensors)
{
  int64_t bytes = CNN_HEADER_BYTES;
  for (const Interface::TensorInfo& tensor : tensors) {
    const int64_t size = tensor.stored * bytes_of(tensor.type.dtype) + slack;
    if (tensor.stored > element_limit || tensor.offset > size_limit || tensor.offset + size > size_limit)
      throw Error({}, fmt::format("the tensors do not fit into {} TiB", size_limit >> 40));
    if (tensor.offset % CNN_ALIGNMENT != 0)
      throw InternalError(fmt::format("'{}' lies at {}, no multiple of {}", tensor.name, tensor.offset, CNN_ALIGNMENT));
    bytes = std::max(bytes, tensor.offset + size);
  }
  return aligned(bytes);
}

// What `prepare` makes, and what it needs beside, behind the parameters.
void place_prepared(Interface& interface, const std::vector<Functions>& targets)
{
  const Graph& forward = *interface.functions[CNN_FORWARD];
  interface.prepared_begin = interface.scratch = interface.local = interface.parameter_bytes;
  for (const int v : values_of(forward, ValueKind::prepared)) {
    const std::string& name = forward.values[static_cast<size_t>(v)].name;
    const bool is_made =
        interface.prepare &&
        std::any_of(interface.prepare->updates.begin(), interface.prepare->updates.end(),
                    [&](const StateUpdate& update) {
                      return interface.prepare->values[static_cast<size_t>(update.target)].name == name;
                    });
    if (!is_made)
      throw Error(forward.location,
                  fmt::format("nothing prepares '{}': there is no '{}.prepare' that updates it", name, forward.name));
  }
  if (!interface.prepare)
    return;
  const Graph& prepare = *interface.prepare;
  for (const Value& value : prepare.values)
    if (value.kind == ValueKind::input || value.kind == ValueKind::state || has_batch(value.type.shape))
      throw Error(prepare.location,
                  fmt::format("'{}' cannot have '{}': parameters alone are there", prepare.name, value.name));
  for (const Interface::TensorInfo& tensor : interface.prepared)
    interface.prepared_begin = std::min(interface.prepared_begin, tensor.offset);
  for (const Interface::TensorInfo& tensor : interface.parameters)
    if (tensor.offset >= interface.prepared_begin)
      throw InternalError(fmt::format("'{}' lies behind a prepared value", tensor.name));
  int64_t fixed = 0, thread = 0; // enough for each target
  for (const Functions& functions : targets) {
    if (!functions.prepare)
      throw InternalError("the targets have different functions");
    for (const int64_t bytes : {functions.prepare->fixed_bytes, functions.prepare->thread_bytes})
      if (bytes < 0 || bytes > size_limit)
        throw Error(prepare.location, fmt::format("the memory of '{}' has no size", prepare.name));
    fixed = std::max(fixed, functions.prepare->fixed_bytes);
    thread = std::max(thread, functions.prepare->thread_bytes);
  }
  interface.local = aligned(interface.scratch + fixed);
  interface.parameter_bytes = aligned(interface.local + thread);
}

// A block holds what the parameters became: that of a network which makes something else of them is another block.
std::string text_of_prepare(const Graph* prepare)
{
  std::string text;
  if (prepare)
    for (const Op& op : prepare->ops) {
      text += op.def->name;
      for (const auto& [name, value] : op.attributes)
        text += fmt::format(" {}={}", name, to_string(value));
      for (const std::vector<int>* values : {&op.inputs, &op.outputs})
        for (const int v : *values)
          text += " " + (v < 0 ? "_" : prepare->values[static_cast<size_t>(v)].name);
      text += '\n';
    }
  return text;
}

uint64_t fingerprint_of(const std::vector<Interface::TensorInfo>& tensors, int64_t bytes, const std::string& more = "")
{
  std::string text = fmt::format("{} {}\n{}", CNN_ABI_VERSION, bytes, more);
  for (const Interface::TensorInfo& tensor : tensors) {
    text += fmt::format("{} {} {}", tensor.name, to_string(tensor.type), tensor.offset);
    for (const cnn_axis& axis : tensor.axes)
      text +=
          fmt::format(" {},{},{},{},{},{}", axis.dim, axis.divide, axis.modulo, axis.before, axis.extent, axis.stride);
    text += '\n';
  }
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::vector<Interface::TensorInfo> callers(const Graph& graph, const std::vector<int>& values,
                                           std::set<std::string> taken)
{
  std::vector<Interface::TensorInfo> all;
  for (int v : values)
    all.push_back(describe(graph.values[static_cast<size_t>(v)], false, taken));
  return all;
}

void take_weights(Interface& interface, const NamedTensors& weights)
{
  for (Interface::TensorInfo& parameter : interface.parameters) {
    const auto found = weights.find(parameter.name);
    if (found == weights.end()) {
      std::vector<std::string> names;
      for (const auto& [name, tensor] : weights)
        names.push_back(name);
      const std::string near = nearest(parameter.name, names);
      throw Error({}, fmt::format("the weights have no '{}'{}", parameter.name,
                                  near.empty() ? "" : fmt::format(", only '{}' is near", near)));
    }
    const Tensor& tensor = found->second;
    if (tensor.dims != parameter.dims)
      throw Error({}, fmt::format("the weights' '{}' is [{}], the network wants [{}]", parameter.name,
                                  fmt::join(tensor.dims, ","), fmt::join(parameter.dims, ",")));
    parameter.data = &tensor;
  }
}

// How much one image takes in the largest tensor or in the workspace: what bounds the batch.
int64_t batch_limit(const Functions& functions)
{
  int64_t largest = 1;
  for (const Graph* graph : functions.called) {
    if (!graph)
      continue;
    largest = std::max(largest, graph->image_bytes);
    for (const Value& value : graph->values)
      if (has_batch(value.type.shape))
        largest = std::max(largest, elements(value.type.shape) * bytes_of(value.type.dtype));
  }
  return std::min<int64_t>(INT32_MAX, size_limit / largest);
}

cnn_memory memory_of(const Graph& graph)
{
  for (const int64_t bytes : {graph.fixed_bytes, graph.image_bytes, graph.thread_bytes, graph.run_bytes})
    if (bytes < 0 || bytes > size_limit)
      throw Error(graph.location, fmt::format("the workspace of '{}' has no size", graph.name));
  if (graph.fixed_bytes % CNN_ALIGNMENT != 0 || graph.image_bytes % CNN_ALIGNMENT != 0)
    throw InternalError(fmt::format("the workspace of '{}' is not in units of {} bytes", graph.name, CNN_ALIGNMENT));
  // Whole pairs of cache lines: two threads do not share one.
  const auto pairs = [](int64_t bytes) { return (bytes + 127) / 128 * 128; };
  return {graph.fixed_bytes, graph.image_bytes, pairs(graph.thread_bytes), pairs(graph.run_bytes)};
}

// Another target's functions find what lies in a block where these do.
void check_blocks(const Interface& interface, const Functions& functions)
{
  for (const auto& [kind, wanted] : {std::pair{ValueKind::parameter, &interface.parameters},
                                     {ValueKind::state, &interface.states},
                                     {ValueKind::prepared, &interface.prepared}}) {
    const std::vector<Interface::TensorInfo> found = collect(functions, kind);
    if (!std::equal(found.begin(), found.end(), wanted->begin(), wanted->end(),
                    [](const auto& a, const auto& b) { return a.name == b.name && same_place(a, b); }))
      throw InternalError("the targets want different blocks");
  }
}

// Room for each target.
void take_memory(Interface& interface, const Functions& functions)
{
  for (size_t mode = 0; mode < functions.called.size(); ++mode) {
    if ((functions.called[mode] == nullptr) != (interface.functions[mode] == nullptr))
      throw InternalError("the targets have different functions");
    if (!functions.called[mode])
      continue;
    const cnn_memory memory = memory_of(*functions.called[mode]);
    cnn_memory& enough = interface.memory[mode];
    enough.fixed = std::max(enough.fixed, memory.fixed);
    enough.per_image = std::max(enough.per_image, memory.per_image);
    enough.per_thread = std::max(enough.per_thread, memory.per_thread);
    enough.per_run = std::max(enough.per_run, memory.per_run);
  }
  interface.batch_limit = std::min(interface.batch_limit, batch_limit(functions));
}

} // namespace

std::string c_identifier(const std::string& name)
{
  std::string result;
  for (const char c : name) {
    const bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    result += is_word ? c : '_';
  }
  if (result.empty() || (result[0] >= '0' && result[0] <= '9'))
    result.insert(result.begin(), 'n');
  if (keywords().contains(result))
    result += '_';
  return result;
}

Interface::TensorInfo describe_stored(const Value& value)
{
  std::set<std::string> ignored;
  Interface::TensorInfo info = describe(value, true, ignored);
  info.offset = 0;
  return info;
}

cnn_tensor Interface::TensorInfo::describe() const
{
  return {name.c_str(),
          static_cast<cnn_dtype>(type.dtype),
          static_cast<int32_t>(dims.size()),
          dims.data(),
          limit,
          initial.c_str(),
          rate,
          offset,
          stored,
          static_cast<int32_t>(axes.size()),
          line,
          axes.data()};
}

bool Interface::has_known() const
{
  return std::any_of(parameters.begin(), parameters.end(), [](const TensorInfo& t) { return t.data != nullptr; });
}

bool Interface::is_embedded() const
{
  return std::all_of(parameters.begin(), parameters.end(), [](const TensorInfo& t) { return t.data != nullptr; });
}

Functions functions_of(const Program& program)
{
  if (program.functions.empty())
    throw InternalError("a program without functions");
  const Graph& forward = program.functions[0];
  Functions functions;
  functions.called[CNN_FORWARD] = &forward;
  for (const Graph& graph : program.functions) {
    if (graph.name == forward.name + ".train")
      functions.called[CNN_TRAIN] = &graph;
    if (graph.name == forward.name + ".gradients")
      functions.called[CNN_GRADIENTS] = &graph;
    if (graph.name == forward.name + ".prepare")
      functions.prepare = &graph;
  }
  return functions;
}

Interface interface_of(const Program& program, const ArtefactInfo& info)
{
  std::vector<Functions> targets{functions_of(program)}; // the best first
  for (const Variant& variant : info.lesser)
    targets.push_back(functions_of(variant.program));
  Interface interface;
  interface.functions = targets[0].called;
  interface.prepare = targets[0].prepare;
  const Graph& forward = *interface.functions[CNN_FORWARD];
  interface.name = info.name.empty() ? forward.name : info.name;
  check_name(interface.name, forward.location);
  if (!values_of(forward, ValueKind::state).empty())
    throw InternalError("forward reads a state, which it is not given");

  interface.parameters = collect(targets[0], ValueKind::parameter);
  interface.states = collect(targets[0], ValueKind::state);
  interface.prepared = collect(targets[0], ValueKind::prepared);
  for (size_t lesser = 1; lesser < targets.size(); ++lesser)
    check_blocks(interface, targets[lesser]);
  if (info.weights)
    take_weights(interface, *info.weights);
  interface.parameter_bytes = std::max(block_bytes(interface.parameters), block_bytes(interface.prepared));
  interface.state_bytes = block_bytes(interface.states);
  place_prepared(interface, targets);
  std::vector<Interface::TensorInfo> in_block = interface.parameters;
  in_block.insert(in_block.end(), interface.prepared.begin(), interface.prepared.end());
  interface.fingerprint = fingerprint_of(in_block, interface.parameter_bytes, text_of_prepare(interface.prepare));
  interface.state_fingerprint = fingerprint_of(interface.states, interface.state_bytes);

  const std::set<std::string> others{"parameters", "state", "batch", "loss", "gradients", "workspace", "threads"};
  std::vector<int> tensors = values_of(forward, ValueKind::input);
  const size_t input_count = tensors.size();
  tensors.insert(tensors.end(), forward.outputs.begin(), forward.outputs.end());
  interface.inputs = callers(forward, tensors, others);
  interface.outputs.assign(interface.inputs.begin() + static_cast<ptrdiff_t>(input_count), interface.inputs.end());
  interface.inputs.resize(input_count);
  for (const int mode : {CNN_TRAIN, CNN_GRADIENTS}) {
    const Graph* graph = interface.functions[static_cast<size_t>(mode)];
    if (!graph)
      continue;
    std::vector<Interface::TensorInfo> inputs = callers(*graph, values_of(*graph, ValueKind::input), others);
    const bool differs =
        !std::equal(inputs.begin(), inputs.end(), interface.train_inputs.begin(), interface.train_inputs.end(),
                    [](const auto& a, const auto& b) { return a.name == b.name && a.type == b.type; });
    if (!interface.train_inputs.empty() && differs)
      throw InternalError("train_step and gradients have different inputs");
    interface.train_inputs = std::move(inputs);
    if (graph->outputs.empty() || elements(graph->values[static_cast<size_t>(graph->outputs[0])].type.shape) != 1)
      throw InternalError(fmt::format("'{}' wants the loss as its first output, one number", graph->name));
    interface.loss = graph->values[static_cast<size_t>(graph->outputs[0])].type.dtype;
  }

  interface.batch_limit = INT32_MAX;
  for (const Functions& functions : targets)
    take_memory(interface, functions);
  return interface;
}

void pack_parameters(const Interface& interface, void* block)
{
  cnn_block_header header{};
  std::memcpy(header.magic, "cnnparam", 8);
  header.abi_version = CNN_ABI_VERSION;
  header.fingerprint = interface.fingerprint;
  header.bytes = interface.parameter_bytes;
  std::memcpy(block, &header, sizeof header);
  for (const Interface::TensorInfo& parameter : interface.parameters) {
    if (!parameter.data)
      continue;
    const cnn_tensor tensor = parameter.describe();
    if (parameter.data->dtype == parameter.type.dtype)
      cnn_scatter(&tensor, block, 0, parameter.data->size(), parameter.data->bytes.data());
    else {
      const Tensor converted = convert(*parameter.data, parameter.type.dtype);
      cnn_scatter(&tensor, block, 0, converted.size(), converted.bytes.data());
    }
  }
}

std::vector<std::byte> pack_parameters(const Interface& interface)
{
  std::vector<std::byte> block(static_cast<size_t>(interface.parameter_bytes));
  pack_parameters(interface, block.data());
  return block;
}

} // namespace cnnc
