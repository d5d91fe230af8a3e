// A head that says what the network is, a copy of cnn.h, one prototype a function with its tensors.
#include "compiler/header_writer.h"

#include "runtime/artefact/embed.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

std::string_view c_type(DType type)
{
  switch (type) {
  case DType::f32: return "float";
  case DType::f64: return "double";
  case DType::bf16: return "uint16_t";
  case DType::i8: return "int8_t";
  case DType::u8: return "uint8_t";
  case DType::i32: return "int32_t";
  case DType::i64: return "int64_t";
  case DType::boolean: return "uint8_t";
  }
  throw InternalError("a type that C does not have");
}

// Texts of users stay inside their comment, and in plain characters.
std::string comment(const std::string& text)
{
  std::string safe;
  for (const char c : text)
    safe +=
        c == '/' || c == '*' || c == '\\' || c == '?' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '_' : c;
  return safe;
}

//   image    float [n,1,28,28]                      line 2
std::string table(const std::string& title, const std::vector<Interface::TensorInfo>& tensors, bool first_values)
{
  if (tensors.empty())
    return "";
  size_t wide = 0, wide_type = 0;
  for (const auto& tensor : tensors) {
    wide = std::max(wide, comment(tensor.name).size());
    wide_type = std::max(wide_type, c_type(tensor.type.dtype).size() + to_string(tensor.type.shape).size() + 1);
  }
  std::string text = fmt::format(" * {}:\n", title);
  for (const auto& tensor : tensors) {
    std::string line =
        fmt::format(" *   {:{}}  {:{}}", comment(tensor.name), wide,
                    fmt::format("{} {}", c_type(tensor.type.dtype), to_string(tensor.type.shape)), wide_type);
    if (tensor.limit > 0)
      line += fmt::format("  in [0, {})", tensor.limit);
    if (tensor.line > 0)
      line += fmt::format("  line {}", tensor.line);
    if (first_values)
      line += "  " + comment(tensor.data ? std::string("known") : tensor.initial);
    if (first_values && tensor.rate == 0)
      line += ", frozen";
    text += line + "\n";
  }
  return text;
}

// The prototype, broken where it gets too long.
std::string prototype(const std::string& head, const std::vector<std::string>& arguments)
{
  std::string text = head + "(";
  size_t column = text.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = arguments[i] + (i + 1 < arguments.size() ? "," : ");");
    if (i > 0 && column + 1 + argument.size() > 118) {
      text += "\n" + std::string(head.size() + 1, ' ');
      column = head.size() + 1;
    } else if (i > 0) {
      text += " ";
      ++column;
    }
    text += argument;
    column += argument.size();
  }
  return text + "\n";
}

std::vector<std::string> pointers(const std::vector<Interface::TensorInfo>& tensors, bool is_const)
{
  std::vector<std::string> arguments;
  for (const auto& tensor : tensors)
    arguments.push_back(fmt::format("{}{} *{}", is_const ? "const " : "", c_type(tensor.type.dtype), tensor.c_name));
  return arguments;
}

void append(std::vector<std::string>& to, const std::vector<std::string>& more)
{
  to.insert(to.end(), more.begin(), more.end());
}

} // namespace

std::string header_text(const Interface& interface, const Target& target, const ArtefactInfo& info)
{
  const std::string& name = interface.name;
  std::string guard;
  for (const char c : name)
    guard += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  const bool trains = interface.functions[CNN_TRAIN] != nullptr;
  const bool has_gradients = interface.functions[CNN_GRADIENTS] != nullptr;

  const std::string march = comment(info.march.empty() ? target.march : info.march);
  std::string text = fmt::format("/* {}, compiled by {} for {}.\n *\n", name, compiler_version(), march);
  text += table("Inputs", interface.inputs, false);
  text += table("Outputs", interface.outputs, false);
  text += table("Inputs in training", interface.train_inputs, false);
  text += table("Parameters", interface.parameters, true);
  text += table("State", interface.states, true);
  text += fmt::format(" *\n * n is the batch. All tensors are row-major, without gaps; outputs overlap nothing else.\n"
                      " * A program in short:\n *\n"
                      " *   {0}_parameters *p = aligned_alloc(64, {0}()->parameter_bytes);\n",
                      name);
  text +=
      interface.has_known() && interface.is_embedded()
          ? fmt::format(
                " *   {0}_init_parameters(p, 0);            the weights in the library; {0}()->embedded is such a "
                "block, too\n",
                name)
          : fmt::format(" *   {0}_load_parameters(p, \"w.safetensors\");   or {0}_init_parameters(p, seed)\n", name);
  text += fmt::format(" *   void *workspace = aligned_alloc(64, {0}_workspace_bytes(batch, 1, CNN_FORWARD));\n"
                      " *   {0}_forward(p, batch, ..., workspace, NULL);\n"
                      " */\n#ifndef CNNC_{1}_H\n#define CNNC_{1}_H\n\n",
                      name, guard);
  text += artefact_header();
  text +=
      fmt::format("\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n"
                  "typedef struct {0}_parameters {0}_parameters; /* {0}()->parameter_bytes bytes, aligned to 64 */\n",
                  name);
  if (trains || has_gradients)
    text += fmt::format("typedef struct {0}_state {0}_state;           /* {0}()->state_bytes bytes, aligned to 64 */\n",
                        name);

  text += fmt::format("\n/* The descriptor: names, shapes, layouts, sizes, and these functions for untyped use. */\n"
                      "const cnn_model *{0}(void);\n\n"
                      "/* Bytes for a call; negative: minus an error code. The block is aligned to 64 bytes. */\n"
                      "int64_t {0}_workspace_bytes(int64_t batch, int threads, cnn_mode mode);\n\n",
                      name);
  std::vector<std::string> arguments{fmt::format("const {}_parameters *parameters", name), "int64_t batch"};
  append(arguments, pointers(interface.inputs, true));
  append(arguments, pointers(interface.outputs, false));
  append(arguments, {"void *workspace", "const cnn_threads *threads"});
  text +=
      "/* threads: NULL for the calling thread alone. */\n" + prototype(fmt::format("int {}_forward", name), arguments);
  if (trains) {
    arguments = {fmt::format("{}_parameters *parameters", name), fmt::format("{}_state *state", name), "int64_t batch"};
    append(arguments, pointers(interface.train_inputs, true));
    append(arguments,
           {fmt::format("{} *loss", c_type(interface.loss)), "void *workspace", "const cnn_threads *threads"});
    text += "\n/* One step: forward, loss, backward, update. loss receives the mean over the batch. */\n" +
            prototype(fmt::format("int {}_train_step", name), arguments);
  }
  if (has_gradients) {
    arguments = {fmt::format("const {}_parameters *parameters", name), fmt::format("const {}_state *state", name),
                 "int64_t batch"};
    append(arguments, pointers(interface.train_inputs, true));
    append(arguments, {fmt::format("{} *loss", c_type(interface.loss)), fmt::format("{}_parameters *gradients", name),
                       "void *workspace", "const cnn_threads *threads"});
    text += "\n/* Loss and gradients without an update; read them with get_parameter. */\n" +
            prototype(fmt::format("int {}_gradients", name), arguments);
  }
  text += fmt::format(
      "\n/* First values, from the seed; what the library knows already, from there. */\n"
      "int {0}_init_parameters({0}_parameters *parameters, uint64_t seed);\n"
      "/* .safetensors, by the names above. */\n"
      "int {0}_load_parameters({0}_parameters *parameters, const char *path);\n"
      "int {0}_save_parameters(const {0}_parameters *parameters, const char *path);\n"
      "/* One tensor in the standard layout; count is its number of elements. */\n"
      "int {0}_set_parameter({0}_parameters *parameters, const char *name, const void *values, int64_t count);\n"
      "int {0}_get_parameter(const {0}_parameters *parameters, const char *name, void *values, int64_t count);\n",
      name);
  if (trains || has_gradients)
    text += fmt::format("int {0}_init_state({0}_state *state, uint64_t seed);\n"
                        "int {0}_set_state({0}_state *state, const char *name, const void *values, int64_t count);\n"
                        "int {0}_get_state(const {0}_state *state, const char *name, void *values, int64_t count);\n",
                        name);
  text += fmt::format("\nint {0}_threads_create(int count, cnn_threads **threads);\n"
                      "void {0}_threads_free(cnn_threads *threads);\n"
                      "const char *{0}_error(int code);\n"
                      "/* Whose code runs on this machine, of {1}; NULL: none. */\n"
                      "const char *{0}_target(void);\n\n"
                      "#ifdef __cplusplus\n}}\n#endif\n#endif\n",
                      name, march);
  return text;
}

} // namespace cnnc
