// Parameters by name out of three kinds of files; archives are made here, byte by byte.
#include "runtime/npy.h"
#include "runtime/npz.h"
#include "runtime/safetensors.h"
#include "runtime/weights.h"
#include "tests/runtime/fixture.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstring>
#include <fmt/format.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

template<class T>
std::string le(T value)
{
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string deflated(const std::string& bytes)
{
  std::string packed(bytes.size() + 100, '\0');
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// What numpy.savez writes: the local header's sizes are in a zip64 part.
std::string archive(const std::vector<std::pair<std::string, std::string>>& members, bool pack)
{
  std::string bytes, directory;
  for (const auto& [name, content] : members) {
    const std::string data = pack ? deflated(content) : content;
    const auto sum = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
    const auto offset = static_cast<uint32_t>(bytes.size());
    const std::string middle = le<uint16_t>(0) + le<uint16_t>(pack ? 8 : 0) + le<uint32_t>(0) + le(sum);
    const std::string sizes = le(static_cast<uint32_t>(data.size())) + le(static_cast<uint32_t>(content.size()));
    const std::string wide =
        le<uint16_t>(1) + le<uint16_t>(16) + le<uint64_t>(content.size()) + le<uint64_t>(data.size());
    bytes += "PK\3\4" + le<uint16_t>(45) + middle + le<uint64_t>(~uint64_t{0}) +
             le(static_cast<uint16_t>(name.size())) + le(static_cast<uint16_t>(wide.size())) + name + wide + data;
    directory += "PK\1\2" + le<uint16_t>(45) + le<uint16_t>(45) + middle + sizes +
                 le(static_cast<uint16_t>(name.size())) + le<uint16_t>(0) + le<uint16_t>(0) + le<uint16_t>(0) +
                 le<uint16_t>(0) + le<uint32_t>(0) + le(offset) + name;
  }
  const auto count = static_cast<uint16_t>(members.size());
  return bytes + directory + "PK\5\6" + le<uint32_t>(0) + le(count) + le(count) +
         le(static_cast<uint32_t>(directory.size())) + le(static_cast<uint32_t>(bytes.size())) + le<uint16_t>(0);
}

Tensor counted(DType dtype, std::vector<int64_t> dims)
{
  Tensor tensor(dtype, std::move(dims));
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor.set(i, static_cast<double>(i) + 0.5);
  return tensor;
}

const std::vector<WantedTensor> wanted{{"conv1.weight", DType::f32, {2, 3}, false},
                                       {"conv1.bias", DType::f32, {2}, false}};

} // namespace

TEST_CASE("one network's parameters out of every form")
{
  Folder folder;
  const Tensor weight = counted(DType::f32, {2, 3}), bias = counted(DType::f64, {2}), other(DType::f32, {9});
  write_safetensors(folder / "w.safetensors",
                    {{"conv1.weight", &weight}, {"conv1.bias", &bias}, {"state.step", &other}});
  for (const bool pack : {false, true}) {
    put(folder / (pack ? "packed.npz" : "plain.npz"),
        archive({{"conv1/weight.npy", to_npy(weight)}, {"conv1.bias.npy", to_npy(bias)}, {"readme", "text"}}, pack));
  }
  std::filesystem::create_directories(folder / "net/conv1");
  write_npy(folder / "net/conv1/weight.npy", weight);
  write_npy(folder / "net/conv1.bias.npy", bias);
  for (const char* name : {"w.safetensors", "plain.npz", "packed.npz", "net"}) {
    CAPTURE(name);
    const auto tensors = read_wanted(Weights(folder / name), wanted);
    CHECK(tensors.size() == 2);
    CHECK(tensors.at("conv1.weight").bytes == weight.bytes);
    CHECK(tensors.at("conv1.bias").dtype == DType::f32);
    CHECK(tensors.at("conv1.bias").get(1) == 1.5);
  }
  const std::vector<WantedTensor> one{{"a.weight", DType::f32, {2, 3}, false}};
  CHECK(read_wanted(Weights(folder / "net/conv1/weight.npy"), one).at("a.weight").bytes == weight.bytes);
}

TEST_CASE("a mismatch lists all that does not fit")
{
  Folder folder;
  const Tensor a = counted(DType::f32, {3, 2}), b = counted(DType::f32, {4}), i = counted(DType::i32, {2});
  write_safetensors(folder / "w.safetensors", {{"conv1.weight", &a}, {"conv1.bais", &b}, {"fc.weight", &b}});
  const auto message = [&](const char* name) {
    try {
      read_wanted(Weights(folder / name), wanted);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const std::string text = message("w.safetensors");
  CHECK(text.find("no tensor 'conv1.bias'; it has 'conv1.bais'") != text.npos);
  CHECK(text.find("'conv1.weight' has the shape [3,2], the network wants [2,3]") != text.npos);
  CHECK(text.find("not used: conv1.bais, fc.weight") != text.npos);
  write_safetensors(folder / "i.safetensors", {{"conv1.weight", &i}, {"conv1.bias", &b}});
  CHECK(message("i.safetensors").find("is i32, the network wants f32") != std::string::npos);
  // What the network knows may be missing.
  std::vector<WantedTensor> known = wanted;
  for (WantedTensor& want : known)
    want.is_known = true;
  std::filesystem::create_directories(folder / "net");
  write_npy(folder / "net/x.npy", a);
  CHECK(read_wanted(Weights(folder / "net"), known).empty());
}

TEST_CASE("broken archives and folders are refused")
{
  Folder folder;
  std::filesystem::create_directories(folder / "empty");
  CHECK_THROWS_AS(Weights(folder / "empty"), Error);
  CHECK_THROWS_AS(Weights(folder / "missing.npz"), Error);
  const std::string npy = to_npy(counted(DType::f32, {2, 3}));
  for (const bool pack : {false, true}) {
    const std::string good =
        archive({{"conv1.weight.npy", npy}, {"conv1.bias.npy", to_npy(counted(DType::f32, {2}))}}, pack);
    const auto read = [&](const std::string& bytes) {
      put(folder / "bad.npz", bytes);
      return read_wanted(Weights(folder / "bad.npz"), wanted);
    };
    CHECK(read(good).size() == 2);
    for (size_t length = 0; length < good.size(); ++length)
      CHECK_THROWS_AS(read(good.substr(0, length)), Error);
    // Every byte wrong in turn: refused, or the same tensors (dates and versions mean nothing).
    const auto expected = read(good);
    for (size_t at = 0; at < good.size(); ++at)
      for (const char flip : {'\1', '\x80', '\xff'}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        try {
          const auto tensors = read(bytes);
          for (const auto& [name, tensor] : expected)
            CHECK(tensors.at(name).bytes == tensor.bytes);
        } catch (const Error&) {
        }
      }
  }
  // A small file that claims to become 4 GB.
  std::string bomb = archive({{"conv1.weight.npy", npy}}, true);
  const size_t entry = bomb.find("PK\1\2");
  bomb.replace(entry + 24, 4, "\xfe\xff\xff\xff");
  put(folder / "bomb.npz", bomb);
  CHECK_THROWS_WITH_AS(Weights(folder / "bomb.npz"), doctest::Contains("lies about the size"), Error);
}
