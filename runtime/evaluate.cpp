#include "runtime/evaluate.h"

#include <algorithm>

namespace cnnc {

Evaluation evaluate(const cnn_model& model, const void* parameters, const Examples& examples, const Scaling& scaling,
                    const ModelThreads& threads, int64_t batch, int64_t limit, const std::atomic<bool>* interrupt)
{
  const std::vector<int64_t>& dims = examples.images.dims;
  check_images(model, {dims.begin() + 1, dims.end()});
  int64_t classes = classes_of(model), count = limit > 0 ? std::min(limit, examples.count()) : examples.count();
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
  result.predictions.reserve(static_cast<size_t>(count));
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
    for (int64_t i = 0; i < n; ++i, scores += classes) {
      auto best = static_cast<int32_t>(std::max_element(scores, scores + classes) - scores);
      result.predictions.push_back(best);
      result.correct += best == examples.labels[static_cast<size_t>(first + i)];
    }
  }
  return result;
}

} // namespace cnnc
