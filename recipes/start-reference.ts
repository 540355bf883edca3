import { defineRecipe } from "../src/train/recipe.js";

/** What `npm start` trains where nothing could be compiled: small enough for plain TypeScript to end in minutes. */
export default defineRecipe({
  description: "A 30k-parameter GPT on the characters of Tiny Shakespeare, for the reference device",
  text: "shakespeare",
  validation: 0.01,
  tokenizer: { kind: "characters" },
  model: { numLayers: 2, numHeads: 2, hiddenSize: 32, contextLength: 32, bias: false },
  train: {
    steps: 400,
    batchSize: 8,
    dtype: "f32",
    optimizer: { kind: "adamw", beta2: 0.99 },
    schedule: { kind: "cosine", rate: 4e-3, finalRate: 4e-4, warmup: 20 },
    evaluateEvery: 100,
    evaluateTokens: 2048,
    saveEvery: 100,
    sampleEvery: 100,
    sampleTokens: 60,
  },
});
