/* What follows from the parameters alone, computed when they change:
 *
 *   block:  [ header | parameters | prepared values | scratch of the steps | local memory of one thread ]
 */
#include "network.h"

#include <string.h>

static void run(const cnn_network* network, const cnn_preparation* preparation, char* block, const cnn_step* step)
{
  void* arguments[step->operand_count];
  for (int32_t i = 0; i < step->operand_count; ++i) {
    const cnn_operand* operand = &step->operands[i];
    char* base = operand->place == CNN_PLACE_PARAMETER  ? block + CNN_HEADER_BYTES
                 : operand->place == CNN_PLACE_CONSTANT ? (char*)network->constants
                                                        : block + preparation->scratch;
    arguments[i] = base + operand->offset;
  }
  if (step->run == NULL)
    memcpy(arguments[0], arguments[1], (size_t)step->tasks);
  else
    step->run(arguments, 1, block + preparation->local, 0, step->tasks);
}

void cnn_prepare(const cnn_network* network, void* block)
{
  const cnn_variant* variant = cnn_variant_of(network);
  if (variant == NULL)
    return;
  const cnn_function* function = &variant->preparation.function;
  for (int64_t i = 0; i < function->step_count; ++i)
    run(network, &variant->preparation, block, &function->steps[i]);
}

void cnn_prepare_after(const cnn_network* network, void* block, int32_t parameter)
{
  const cnn_variant* variant = cnn_variant_of(network);
  if (variant == NULL || variant->preparation.function.step_count == 0)
    return;
  const cnn_preparation* preparation = &variant->preparation;
  for (int32_t i = preparation->first[parameter]; i < preparation->first[parameter + 1]; ++i)
    run(network, preparation, block, &preparation->function.steps[preparation->steps[i]]);
}
