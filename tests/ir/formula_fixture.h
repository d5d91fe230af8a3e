// Formulas from text and tensors from a seed, for tests of what rewrites formulas.
#pragma once

#include "ir/gradient.h"
#include "ir/interpret.h"
#include "ir/random.h"

#include <doctest/doctest.h>

#include <cmath>

namespace cnnc::test {

struct Operand {
  std::string spec;
  std::vector<int64_t> dims;
  DType dtype = DType::f64;
  bool has_batch = false; // the first dimension is n
};

inline TensorType type_of(const Operand& operand)
{
  TensorType type{operand.dtype, {}};
  for (int64_t dim : operand.dims)
    type.shape.push_back({dim, false});
  if (operand.has_batch)
    type.shape[0] = {1, true};
  return type;
}

inline Formula bind_text(const std::string& text, const std::vector<Operand>& inputs,
                         const std::vector<std::string>& outputs, const Symbols& symbols = {})
{
  std::vector<BoundInput> bound;
  for (const Operand& input : inputs)
    bound.push_back({parse_operand_spec(input.spec), type_of(input)});
  std::vector<OperandSpec> specs;
  for (const std::string& output : outputs)
    specs.push_back(parse_operand_spec(output));
  Location where{std::make_shared<Source>(Source{"test", text}), 1, 1};
  Formula formula = bind_formula(text, bound, specs, symbols, where);
  verify(formula);
  return formula;
}

// What the text of a formula reads back as.
inline Formula reread(const Formula& formula)
{
  std::vector<BoundInput> inputs;
  std::vector<OperandSpec> outputs;
  for (const FormulaTensor& tensor : formula.tensors) {
    OperandSpec spec;
    spec.name = tensor.name;
    spec.dtype = tensor.type.dtype;
    for (size_t d = 0; d < tensor.type.shape.size(); d++) {
      const Dim& dim = tensor.type.shape[d];
      spec.dims.push_back(dim.batch                     ? (dim.size == 1 ? "N" : std::to_string(dim.size) + "*N")
                          : tensor.role == Role::output ? std::to_string(dim.size)
                                                        : tensor.name + "_" + std::to_string(d));
    }
    if (tensor.role == Role::input)
      inputs.push_back({spec, tensor.type});
    else if (tensor.role == Role::output)
      outputs.push_back(spec);
  }
  std::string text = to_string(formula);
  Location where{std::make_shared<Source>(Source{"reread", text}), 1, 1};
  Formula again = bind_formula(text, inputs, outputs, {}, where);
  verify(again);
  return again;
}

// Whole numbers in [-bound, bound].
inline Tensor whole_numbers(const TensorType& type, uint64_t seed, int64_t batch = 2, int64_t bound = 9)
{
  std::vector<int64_t> dims;
  for (const Dim& dim : type.shape)
    dims.push_back(dim.at(batch));
  Tensor tensor(type.dtype, dims);
  for (int64_t i = 0; i < tensor.size(); i++)
    tensor.set(i,
               std::floor(random_unit(seed_key(seed), static_cast<uint64_t>(i)) * static_cast<double>(2 * bound + 1)) -
                   static_cast<double>(bound));
  return tensor;
}

// A permutation of evenly spaced numbers in (-1, 1), none of them zero: no two are near, and none is near a bend at
// zero.
inline Tensor separated_numbers(const TensorType& type, uint64_t seed, int64_t batch = 2)
{
  Tensor tensor = whole_numbers(type, seed, batch);
  int64_t size = tensor.size();
  for (int64_t i = 0; i < size; i++)
    tensor.set(i, (2.0 * static_cast<double>(i) + 1) / static_cast<double>(size) - 1 +
                      (size % 2 == 1 ? 0.5 / static_cast<double>(size) : 0));
  for (int64_t i = size - 1; i > 0; i--) {
    auto j = static_cast<int64_t>(random_unit(seed_key(seed), static_cast<uint64_t>(i)) * static_cast<double>(i + 1));
    double a = tensor.get(i), b = tensor.get(j);
    tensor.set(i, b);
    tensor.set(j, a);
  }
  return tensor;
}

inline std::vector<Tensor> run(const Formula& formula, const std::vector<Tensor>& inputs)
{
  std::vector<const Tensor*> pointers;
  for (const Tensor& input : inputs)
    pointers.push_back(&input);
  return interpret(formula, pointers, true);
}

inline std::vector<const FormulaTensor*> with_role(const Formula& formula, Role role)
{
  std::vector<const FormulaTensor*> result;
  for (const FormulaTensor& tensor : formula.tensors)
    if (tensor.role == role)
      result.push_back(&tensor);
  return result;
}

// A gradient on its operands: the inputs, what the forward formula makes of them, and the outputs' adjoints.
inline std::vector<Tensor> run(const Gradient& gradient, const Formula& formula, const Formula& forward,
                               const std::vector<Tensor>& inputs, const std::vector<Tensor>& adjoints)
{
  std::vector<Tensor> outputs = run(forward, inputs), operands;
  for (const Gradient::Operand& operand : gradient.operands)
    operands.push_back(operand.from == Gradient::From::input    ? inputs[operand.number]
                       : operand.from == Gradient::From::output ? outputs[operand.number]
                                                                : adjoints[operand.number]);
  return run(formula, operands);
}

// Central differences of the sum of all outputs, each element times its adjoint, with respect to inputs[k].
inline Tensor differences(const Formula& formula, std::vector<Tensor> inputs, size_t k,
                          const std::vector<Tensor>& adjoints)
{
  auto loss = [&] {
    double sum = 0;
    std::vector<Tensor> outputs = run(formula, inputs);
    for (size_t o = 0; o < outputs.size(); o++)
      for (int64_t i = 0; i < adjoints[o].size(); i++)
        sum += outputs[o].get(i) * adjoints[o].get(i);
    return sum;
  };
  Tensor result = inputs[k];
  for (int64_t i = 0; i < result.size(); i++) {
    const double step = 1e-5, at = inputs[k].get(i);
    inputs[k].set(i, at + step);
    double above = loss();
    inputs[k].set(i, at - step);
    double below = loss();
    inputs[k].set(i, at);
    result.set(i, (above - below) / (2 * step));
  }
  return result;
}

inline void check_near(const Tensor& got, const Tensor& want, const std::string& what)
{
  REQUIRE_MESSAGE(got.dims == want.dims, what);
  for (int64_t i = 0; i < got.size(); i++)
    REQUIRE_MESSAGE(got.get(i) == doctest::Approx(want.get(i)).epsilon(1e-6).scale(1), what << "\nat " << i);
}

} // namespace cnnc::test
