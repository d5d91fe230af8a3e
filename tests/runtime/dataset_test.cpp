#include "runtime/dataset.h"

#include "runtime/idx.h"
#include "runtime/image.h"
#include "runtime/npy.h"

#include "fixture.h"

#include <cmath>
#include <doctest/doctest.h>

using namespace cnnc;
using namespace cnnc::test;

namespace {

Tensor filled(std::vector<int64_t> dims, int modulo)
{
  Tensor t(DType::u8, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i)
    t.set(i, static_cast<double>(i % modulo));
  return t;
}

void put_dataset(const Folder& dir, const std::string& test = "t10k")
{
  put(dir / "train-images-idx3-ubyte", to_idx(filled({6, 4, 5}, 200)));
  put(dir / "train-labels-idx1-ubyte", to_idx(filled({6}, 3)));
  put(dir / (test + "-images-idx3-ubyte"), to_idx(filled({3, 4, 5}, 100)));
  put(dir / (test + "-labels-idx1-ubyte"), to_idx(filled({3}, 3)));
}

std::string loading(const std::string& name)
{
  return error_of([&] { load_dataset(name); });
}

Examples two_by_three()
{
  Examples e;
  e.images = Tensor(DType::u8, {2, 1, 2, 3});
  for (int i = 0; i < 12; ++i)
    e.images.set(i, i + 1);
  e.labels = {0, 1};
  return e;
}

} // namespace

TEST_CASE("dataset: a directory of four idx files, under any of their usual names")
{
  for (const char* test : {"t10k", "test", "t10k-first3"}) {
    Folder dir;
    put_dataset(dir, test);
    Dataset d = load_dataset(dir.path.string());
    CHECK(d.train.images.dims == std::vector<int64_t>{6, 1, 4, 5});
    CHECK(d.test.images.dims == std::vector<int64_t>{3, 1, 4, 5});
    CHECK(d.train.labels == std::vector<int32_t>{0, 1, 2, 0, 1, 2});
    CHECK(d.classes == 3);
    CHECK(d.class_name(2) == "2");
  }
}

TEST_CASE("dataset: what is missing, doubled or does not fit is named")
{
  Folder dir;
  CHECK(exit_code_of([&] { load_dataset(dir.path.string()); }) == 3);
  CHECK(loading(dir.path.string()).find("no file train-images-idx3-ubyte") != std::string::npos);
  put_dataset(dir);
  put(dir / "t10k-labels-idx1-ubyte", to_idx(filled({4}, 3)));
  CHECK(loading(dir.path.string()).find("has 4 labels for the 3 images") != std::string::npos);
  Tensor high = filled({3}, 3);
  high.set(1, 200);
  put(dir / "t10k-labels-idx1-ubyte", to_idx(high));
  CHECK(loading(dir.path.string()).find("image 1 has the label 200, there are 3 classes") != std::string::npos);
  put_dataset(dir);
  put(dir / "t10k-images-idx3-ubyte", to_idx(filled({3, 4, 4}, 3)));
  CHECK(loading(dir.path.string()).find("4 x 5, test images 4 x 4") != std::string::npos);
  put_dataset(dir);
  put(dir / "train-images-idx3-ubyte", to_idx(filled({0, 4, 5}, 3)));
  put(dir / "train-labels-idx1-ubyte", to_idx(filled({0}, 3)));
  CHECK(loading(dir.path.string()).find("holds no pixels") != std::string::npos);

  Folder two;
  put_dataset(two, "t10k-a");
  put(two / "t10k-b-images-idx3-ubyte", "");
  CHECK(loading(two.path.string()).find("which file is meant") != std::string::npos);

  CHECK(loading("fashion-mnits").find("is 'fashion-mnist' meant?") != std::string::npos);
  CHECK(exit_code_of([] { load_dataset("fashion-mnits"); }) == 1);
  CHECK(exit_code_of([] { load_dataset("/nowhere/at/all"); }) == 3);
}

TEST_CASE("dataset: a name is looked for under CNNC_DATA first")
{
  Folder dir;
  std::filesystem::create_directory(dir / "mnist");
  setenv("CNNC_DATA", dir.path.c_str(), 1);
  std::string error = loading("mnist");
  unsetenv("CNNC_DATA");
  CHECK(error.find(dir / "mnist") != std::string::npos);
}

TEST_CASE("dataset: pixels are scaled by mean and deviation")
{
  Examples e = two_by_three();
  ImageReader plain(e, {});
  REQUIRE(plain.size() == 6);
  std::vector<float> out(6);
  plain.read(1, 0, out.data());
  for (int i = 0; i < 6; ++i)
    CHECK(out[static_cast<size_t>(i)] == static_cast<float>((i + 7) / 255.0));
  Scaling scaling = measure(e);
  CHECK(scaling.mean[0] == doctest::Approx(6.5 / 255));
  CHECK(scaling.deviation[0] == doctest::Approx(std::sqrt(143.0 / 12) / 255));
  ImageReader scaled(e, scaling);
  double sum = 0, squares = 0;
  for (int n = 0; n < 2; ++n) {
    scaled.read(n, 0, out.data());
    for (float v : out)
      sum += v, squares += v * v;
  }
  CHECK(sum == doctest::Approx(0).epsilon(1e-5));
  CHECK(squares / 12 == doctest::Approx(1));

  Examples flat = two_by_three();
  std::fill(flat.images.bytes.begin(), flat.images.bytes.end(), std::byte{9});
  CHECK(measure(flat).deviation[0] == 1);
  CHECK(exit_code_of([&] { ImageReader(e, Scaling{{0, 0}, {1}}); }) == 1);
}

TEST_CASE("dataset: a flip mirrors, a shift moves and lets zeros in; the key decides which")
{
  Examples e = two_by_three();
  ImageReader flipping(e, {}, {true, 0});
  int flipped = 0;
  std::vector<float> out(6);
  for (uint64_t key = 1; key < 400; key += 2) {
    flipping.read(0, seed_key(key), out.data());
    bool is_flipped = out[0] == 3 / 255.0f;
    flipped += is_flipped;
    const int expected[2][6] = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}};
    for (size_t i = 0; i < 6; ++i)
      CHECK(out[i] == static_cast<float>(expected[is_flipped][i] / 255.0));
  }
  CHECK(flipped > 60);
  CHECK(flipped < 140);

  ImageReader shifting(e, {}, {false, 1});
  bool seen[3][3] = {};
  for (uint64_t key = 1; key < 400; ++key) {
    shifting.read(0, seed_key(key), out.data());
    for (int down = -1; down <= 1; ++down)
      for (int right = -1; right <= 1; ++right) {
        bool same = true;
        for (int y = 0; y < 2; ++y)
          for (int x = 0; x < 3; ++x) {
            int from_y = y - down, from_x = x - right;
            bool outside = from_y < 0 || from_y > 1 || from_x < 0 || from_x > 2;
            float expected = outside ? 0 : static_cast<float>((from_y * 3 + from_x + 1) / 255.0);
            same = same && out[static_cast<size_t>(y * 3 + x)] == expected;
          }
        seen[down + 1][right + 1] = seen[down + 1][right + 1] || same;
      }
  }
  for (auto& row : seen)
    for (bool s : row)
      CHECK(s);
}

TEST_CASE("dataset: the real Fashion-MNIST")
{
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    MESSAGE("skipped: dataset-fashion-mnist is not installed");
    return;
  }
  Dataset d = load_dataset("fashion-mnist");
  CHECK(d.train.images.dims == std::vector<int64_t>{60000, 1, 28, 28});
  CHECK(d.test.images.dims == std::vector<int64_t>{10000, 1, 28, 28});
  CHECK(d.test.labels[0] == 9);
  CHECK(d.class_name(9) == "ankle boot");
  Scaling s = measure(d.train);
  CHECK(s.mean[0] == doctest::Approx(0.2860).epsilon(0.001));
  CHECK(s.deviation[0] == doctest::Approx(0.3530).epsilon(0.001));
}

TEST_CASE("dataset: the real MNIST, where it is")
{
  std::string directory = std::string(CNNC_SOURCE_DIR) + "/../shared/data/mnist";
  if (!std::filesystem::exists(directory)) {
    MESSAGE("skipped: no " << directory);
    return;
  }
  Dataset d = load_dataset(directory);
  CHECK(d.train.count() == 60000);
  CHECK(d.test.count() == 3000);
  CHECK(d.test.labels[0] == 7);
  CHECK(d.classes == 10);
}

TEST_CASE("a folder a class: pictures are read when their turn comes")
{
  Folder dir;
  const auto put_picture = [&](const std::string& folder, const std::string& name, int64_t h, int64_t w, int value) {
    std::filesystem::create_directories(dir / folder);
    Tensor picture(DType::u8, {3, h, w});
    for (int64_t i = 0; i < picture.size(); ++i)
      picture.set(i, value + static_cast<int>(i / (h * w)));
    write_png(dir / (folder + "/" + name), picture);
  };
  put_picture("train/dog", "a.png", 6, 9, 100);
  put_picture("train/cat", "b.png", 8, 8, 10);
  put_picture("train/cat", "c.png", 4, 4, 20);
  put(dir / "train/cat/notes.txt", "no picture");
  PictureFormat format{{3, 4, 4}, {}};
  format.preprocessing.order = ChannelOrder::bgr;
  CHECK(exit_code_of([&] { load_dataset(dir.path.string(), format); }) == 3); // neither test nor val
  put_picture("val/dog", "d.png", 4, 4, 50);
  CHECK(exit_code_of([&] { load_dataset(dir.path.string()); }) == 1); // of what size?

  const Dataset data = load_dataset(dir.path.string(), format);
  CHECK(data.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(data.classes == 2);
  CHECK(data.train.labels == std::vector<int32_t>{0, 0, 1});
  CHECK(data.test.labels == std::vector<int32_t>{1});
  CHECK(data.train.dims() == std::vector<int64_t>{3, 4, 4});
  const ImageReader reader(data.train, scaling_of(format.preprocessing));
  std::vector<float> out(static_cast<size_t>(reader.size()));
  reader.read(2, 0, out.data());
  CHECK(out[0] == doctest::Approx(102 / 255.0)); // blue first
  CHECK(out[32] == doctest::Approx(100 / 255.0));

  put(dir / "train/dog/broken.png", "\x89PNG and nothing else");
  const Dataset damaged = load_dataset(dir.path.string(), format);
  const ImageReader broken(damaged.train, Scaling{});
  CHECK(error_of([&] { broken.read(3, 0, out.data()); }).find("broken.png") != std::string::npos);
  put_picture("val/cow", "e.png", 4, 4, 50);
  CHECK(error_of([&] { load_dataset(dir.path.string(), format); }).find("no class of that name") != std::string::npos);
}

TEST_CASE("arrays: any shapes, classes or numbers")
{
  Folder dir;
  const auto array = [&](const std::string& name, DType type, std::vector<int64_t> dims) {
    Tensor t(type, std::move(dims));
    for (int64_t i = 0; i < t.size(); ++i)
      t.set(i, static_cast<double>(i % 3));
    write_npy(dir / name, t);
  };
  array("train-inputs.npy", DType::f32, {5, 1, 7});
  array("train-labels.npy", DType::i64, {5});
  array("test-inputs.npy", DType::f32, {2, 1, 7});
  array("test-labels.npy", DType::i64, {2});
  const Dataset classes = load_dataset(dir.path.string());
  CHECK(classes.train.labels == std::vector<int32_t>{0, 1, 2, 0, 1});
  CHECK(classes.classes == 3);
  std::vector<float> out(7);
  ImageReader(classes.train, {}).read(1, 0, out.data());
  CHECK(out[0] == 1);
  CHECK(out[6] == 1);

  array("train-labels.npy", DType::f32, {5, 2});
  CHECK(loading(dir.path.string()).find("different shapes") != std::string::npos);
  array("test-labels.npy", DType::f32, {2, 2});
  const Dataset numbers = load_dataset(dir.path.string());
  CHECK_FALSE(numbers.train.has_classes());
  CHECK(numbers.train.label_size() == 2);
  float label[2];
  numbers.train.read_label(1, label);
  CHECK(label[0] == 2);
  CHECK(label[1] == 0);
  array("train-labels.npy", DType::f32, {4, 2});
  CHECK(loading(dir.path.string()).find("for 5 examples") != std::string::npos);
}

TEST_CASE("the file's preprocessing is what training scales by")
{
  Preprocessing p;
  p.scale = 1;
  p.mean = {104, 117, 123};
  p.std = {2};
  const Scaling scaling = scaling_of(p);
  CHECK((100 / 255.0 - scaling.mean[1]) / scaling.deviation[0] == doctest::Approx((100 - 117) / 2.0));
}
