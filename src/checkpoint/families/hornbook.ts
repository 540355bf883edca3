/**
 * @file Our own form, for configurations that no architecture of the ecosystem has (ALiBi with SwiGLU, RMSNorm after the addition, ...):
 * `config.json` holds the model's configuration, and tensors are called what they are called here. transformers does not open it.
 */

import type { ModelOptions } from "../../model/index.js";
import { whole, type Family } from "./family.js";

export const hornbook: Family = {
  modelType: "hornbook",
  architecture: "HornbookDecoder",
  prefix: "",

  describes: () => true,

  read(json) {
    const model = json.object("model");
    // `modelConfig` checks it field by field, as it does what a user writes.
    model.skip(...Object.keys(model.json));
    json.skip("vocab_size");
    return model.json as ModelOptions;
  },

  write: (config) => ({ vocab_size: config.vocabSize, model: config }),

  tensors: (_config, parameters) => [...parameters].map(([name, shape]) => whole(name, name, shape)),
};
