#include "runtime/weights.h"

#include "ir/location.h"
#include "runtime/files.h"
#include "runtime/model.h"
#include "runtime/npy.h"
#include "runtime/npz.h"
#include "runtime/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace cnnc {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view npy = ".npy";
constexpr size_t folder_limit = 100000; // files looked at
constexpr int64_t slack = 16 << 20;     // bytes that a tensor of another shape may take beyond the wanted one
constexpr size_t listed = 8;            // names in a message, of each kind

// conv1/weight.npy => conv1.weight
std::string name_of(std::string path)
{
  path.resize(path.size() - npy.size());
  std::replace(path.begin(), path.end(), '/', '.');
  return path;
}

std::string list(const std::vector<std::string>& texts)
{
  const std::vector<std::string> first(texts.begin(),
                                       texts.begin() + static_cast<int64_t>(std::min(listed, texts.size())));
  std::string text = fmt::format("{}", fmt::join(first, ", "));
  return texts.size() > listed ? fmt::format("{} and {} more", text, texts.size() - listed) : text;
}

} // namespace

Weights::Weights(const std::string& path) : path_(path)
{
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    std::error_code error;
    size_t seen = 0;
    for (fs::recursive_directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      if (++seen > folder_limit)
        throw bad_file(path, fmt::format("holds more than {} files", folder_limit));
      if (at->path().extension() != npy || !at->is_regular_file(ignored))
        continue;
      const std::string file = at->path().string();
      add(name_of(fs::path(file).lexically_relative(path).generic_string()),
          [file](int64_t) { return read_npy(file); });
    }
    if (error)
      throw cannot("read", path, error.value());
    if (readers_.empty())
      throw bad_file(path, "is a folder without .npy files");
  } else if (path.ends_with(".npz")) {
    const auto archive = std::make_shared<const ZipFile>(path);
    for (const ZipFile::Member& member : archive->members())
      if (member.name.ends_with(npy))
        add(name_of(member.name), [archive, &member, path](int64_t most) {
          if (member.bytes > most)
            throw bad_file(path, fmt::format("'{}' unpacks to {} bytes: the network's tensor is much smaller",
                                             name_of(member.name), member.bytes));
          return parse_npy(archive->read(member), fmt::format("{}: {}", path, member.name));
        });
  } else if (path.ends_with(npy)) {
    add("", [path](int64_t) { return read_npy(path); });
  } else {
    const auto file = std::make_shared<const SafetensorsFile>(path);
    for (const SafetensorsFile::Entry& entry : file->entries())
      add(entry.name, [file, &entry](int64_t) {
        if (!entry.dtype)
          throw bad_file(file->path(), fmt::format("'{}' is {}, which cannot be read", entry.name, entry.stored_as));
        return file->read(entry);
      });
  }
}

void Weights::add(std::string name, Reader read)
{
  const auto [at, is_new] = readers_.emplace(std::move(name), std::move(read));
  if (!is_new)
    throw bad_file(path_, fmt::format("has '{}' twice", at->first));
}

std::vector<std::string> Weights::names() const
{
  std::vector<std::string> names;
  for (const auto& [name, read] : readers_)
    names.push_back(name);
  return names;
}

Tensor Weights::read(const std::string& name, int64_t most) const
{
  return readers_.at(name)(most);
}

std::map<std::string, Tensor> read_wanted(const Weights& weights, std::span<const WantedTensor> wanted)
{
  std::map<std::string, Tensor> tensors;
  std::vector<std::string> missing, misshapen, extra;
  // A single array has no name: it is meant for the only parameter.
  const bool is_nameless = weights.has("") && wanted.size() == 1;
  for (const WantedTensor& want : wanted) {
    const std::string name = is_nameless ? "" : want.name;
    if (!weights.has(name)) {
      if (!want.is_known)
        missing.push_back(want.name);
      continue;
    }
    int64_t elements = 1;
    for (const int64_t dim : want.dims)
      elements *= dim;
    Tensor tensor = weights.read(name, 8 * elements + slack); // f64 at most
    if (is_float(want.dtype) != is_float(tensor.dtype))
      throw bad_file(weights.path(), fmt::format("'{}' is {}, the network wants {}", want.name, to_string(tensor.dtype),
                                                 to_string(want.dtype)));
    if (tensor.dims != want.dims)
      misshapen.push_back(fmt::format("'{}' has the shape [{}], the network wants [{}]", want.name,
                                      fmt::join(tensor.dims, ","), fmt::join(want.dims, ",")));
    else
      tensors.emplace(want.name, tensor.dtype == want.dtype ? std::move(tensor) : convert(tensor, want.dtype));
  }
  if (missing.empty() && misshapen.empty())
    return tensors;
  for (const std::string& name : weights.names())
    if (std::none_of(wanted.begin(), wanted.end(), [&](const WantedTensor& want) { return want.name == name; }))
      extra.push_back(name.empty() ? "one array without a name" : name);
  std::vector<std::string> lines;
  if (missing.size() == 1) {
    const std::string near = nearest(missing[0], extra);
    lines.push_back(
        fmt::format("no tensor '{}'{}", missing[0], near.empty() ? "" : fmt::format("; it has '{}'", near)));
  } else if (!missing.empty()) {
    lines.push_back(fmt::format("missing are {}", list(missing)));
  }
  if (!misshapen.empty())
    lines.push_back(list(misshapen));
  if (!extra.empty())
    lines.push_back(fmt::format("not used: {}", list(extra)));
  throw bad_file(weights.path(), fmt::format("{}", fmt::join(lines, "\n  ")));
}

void load_weights(const cnn_model& model, void* parameters, const std::string& path)
{
  std::vector<WantedTensor> wanted;
  for (int32_t i = 0; i < model.parameter_count; ++i)
    wanted.push_back({model.parameters[i].name, dtype_of(model.parameters[i]), dims_of(model.parameters[i], 1), false});
  for (const auto& [name, tensor] : read_wanted(Weights(path), wanted))
    check(model, model.set_parameter(parameters, name.c_str(), tensor.bytes.data(), tensor.size()),
          fmt::format("set '{}'", name));
}

} // namespace cnnc
