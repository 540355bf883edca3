import { defineRecipe } from "../src/train/recipe.js";

/** nanoGPT's recipe for a CPU: 0.8M parameters, a minute or so. */
export default defineRecipe({
  description: "nanoGPT's CPU recipe: a 0.8M-parameter GPT on the characters of Tiny Shakespeare",
  text: "shakespeare",
  validation: 0.1,
  tokenizer: { kind: "characters" },
  model: { numLayers: 4, numHeads: 4, hiddenSize: 128, contextLength: 64, bias: false },
  train: {
    steps: 2000,
    batchSize: 12,
    // The gradients' norm stays around 2 to the end: a bound of 1 would cut every step, and costs 0.014 nats.
    clip: 0,
    optimizer: { kind: "adamw", beta2: 0.99 },
    schedule: { kind: "cosine", rate: 1e-3, finalRate: 1e-4, warmup: 100 },
    sampleEvery: 500,
  },
});
