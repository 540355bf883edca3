import { defineRecipe } from "../src/train/recipe.js";

/** What `npm start` trains, in about two minutes on two cores: a small GPT that has learned how a play is laid out, and most of its words. */
export default defineRecipe({
  description: "A 2.7M-parameter GPT on the characters of Tiny Shakespeare",
  text: "shakespeare",
  validation: 0.1,
  tokenizer: { kind: "characters" },
  model: { numLayers: 6, numHeads: 6, hiddenSize: 192, contextLength: 128, bias: false },
  train: {
    steps: 900,
    batchSize: 16,
    optimizer: { kind: "adamw", beta2: 0.99 },
    schedule: { kind: "cosine", rate: 2e-3, finalRate: 1e-4, warmup: 50 },
    evaluateEvery: 180,
    evaluateTokens: 16_384,
    saveEvery: 180,
    sampleEvery: 180,
  },
});
