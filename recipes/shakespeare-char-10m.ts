import { defineRecipe } from "../src/train/recipe.js";

/**
 * nanoGPT's recipe for a GPU, cut to what two cores do in some twenty minutes: 10.8M parameters, and text that reads like a play. It sees each character
 * four times rather than eighty, so there is nothing yet that dropout would prevent, and it would slow the learning.
 */
export default defineRecipe({
  description: "nanoGPT's larger Shakespeare recipe: 10.8M parameters, 6 layers of 384, 256 characters of context",
  text: "shakespeare",
  validation: 0.1,
  tokenizer: { kind: "characters" },
  model: { numLayers: 6, numHeads: 6, hiddenSize: 384, contextLength: 256, bias: false, dropout: 0 },
  train: {
    steps: 1000,
    batchSize: 16,
    optimizer: { kind: "adamw", beta2: 0.99 },
    schedule: { kind: "cosine", rate: 1e-3, finalRate: 1e-4, warmup: 100 },
    sampleEvery: 250,
  },
});
