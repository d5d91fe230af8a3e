#include "runtime/evaluate.h"

#include "ir/location.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace cnnc {

Evaluation evaluate(const cnn_model& model, const void* parameters, const Examples& examples, const Scaling& scaling,
                    const ModelThreads& threads, int64_t batch, int64_t limit, const std::atomic<bool>* interrupt)
{
  check_images(model, examples.dims());
  // A network tells classes apart for each image, or for each of an image's places: [n, classes, ...].
  const int64_t places = examples.has_classes() ? examples.label_size() : 1;
  const int64_t numbers = classes_of(model), classes = numbers / places;
  if (numbers % places != 0 || (!examples.has_classes() && numbers != examples.label_size()))
    throw Error({}, fmt::format("{}: its first output has {} numbers an image, the labels {}", model.name, numbers,
                                examples.label_size()));
  const int64_t count = limit > 0 ? std::min(limit, examples.count()) : examples.count();
  check_labels(examples, classes, model.name);
  ImageReader reader(examples, scaling);

  batch = std::max<int64_t>(std::min(batch, count), 1);
  Block images(batch * reader.size() * static_cast<int64_t>(sizeof(float)));
  std::vector<Block> outputs;
  std::vector<void*> output_pointers;
  for (int i = 0; i < model.output_count; ++i) {
    outputs.emplace_back(elements_of(model.outputs[i], batch) * bytes_of(dtype_of(model.outputs[i])));
    output_pointers.push_back(outputs.back().data());
  }
  Block workspace = workspace_of(model, batch, threads.count(), CNN_FORWARD);
  const void* inputs[] = {images.data()};

  Evaluation result;
  result.has_classes = examples.has_classes();
  if (result.has_classes)
    result.predictions.reserve(static_cast<size_t>(count * places));
  std::vector<std::byte> label(static_cast<size_t>(examples.label_size() * bytes_of(examples.label_type())));
  for (int64_t first = 0; first < count; first += batch) {
    if (interrupt && interrupt->load(std::memory_order_relaxed)) {
      result.interrupted = true;
      break;
    }
    int64_t n = std::min(batch, count - first);
    auto* out = static_cast<float*>(images.data());
    threads.each(n, [&](int64_t i) { reader.read(first + i, 0, out + i * reader.size()); });
    check(model, model.forward(parameters, n, inputs, output_pointers.data(), workspace.data(), threads.get()), "run");
    const auto* scores = static_cast<const float*>(output_pointers[0]);
    for (int64_t i = 0; i < n; ++i, scores += numbers) {
      examples.read_label(first + i, label.data());
      if (!examples.has_classes()) {
        const auto* wanted = reinterpret_cast<const float*>(label.data());
        for (int64_t k = 0; k < numbers; ++k)
          result.deviation += std::abs(double{scores[k]} - wanted[k]) / static_cast<double>(numbers * count);
        continue;
      }
      const auto* wanted = reinterpret_cast<const int32_t*>(label.data());
      for (int64_t place = 0; place < places; ++place) {
        int32_t best = 0;
        for (int64_t c = 1; c < classes; ++c)
          if (scores[c * places + place] > scores[best * places + place])
            best = static_cast<int32_t>(c);
        result.predictions.push_back(best);
        result.correct += best == wanted[place];
      }
    }
  }
  return result;
}

} // namespace cnnc
