/** @file What of a model training changes. */

import { ConfigError } from "../errors.js";
import { Adapter, type Decoder } from "../model/index.js";
import { QuantizedTensor, type Tensor } from "../tensor/index.js";

/**
 * The parameters that require a gradient. A frozen one does not.
 *
 * @throws ConfigError where there are none; `quantized-weights` where weights are quantised and no adapter is trained over them: they have
 * no gradient of their own.
 */
export function trainableParameters(model: Decoder): Map<string, Tensor> {
  const parameters = model.trainableParameters();
  const quantized = [...model.weights()].filter(([, weight]) => weight instanceof QuantizedTensor);
  if (quantized.length > 0 && ![...model.modules().values()].some((module) => module instanceof Adapter)) {
    throw new ConfigError(
      "model",
      `${quantized.length} of its weights are quantised (such as ${quantized[0][0]}) and cannot be trained as they are.`,
      {
        code: "quantized-weights",
        hint: "Turn them into f32, which takes several times the memory (--dequantize, model.dequantize()), or train an adapter over them.",
      },
    );
  }
  if (parameters.size === 0) throw new ConfigError("model", "no parameter requires a gradient, so there is nothing to train.");
  return parameters;
}
