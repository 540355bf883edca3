/**
 * @file A program of someone who uses the library, with more of it than the README's ten lines. It is compiled against the installed package by
 * the strictest settings, and never run.
 */

import {
  ChatTemplate, Corpus, HornbookError, LanguageModel, Tensor, Tokenizer, backward, compareModels, defineRecipe, endOfText, exportModel, likelihood, loadRecipe, noGrad,
  openModel, prepareRecipe, pullModel, recipeNames, scope, tensor, train, type ChatMessage, type Generation, type ModelConfig, type Piece, type Recipe, type StepReport,
} from "hornbook";

/** Tensors: ops as functions and as methods, with results of known types. */
export async function fit(steps: number): Promise<number[]> {
  const x = Tensor.randn([8, 4], tensor.randomKey(1));
  const w = Tensor.zeros([4, 2], { dtype: "f32" });
  w.requiresGrad = true;
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const loss: Tensor = scope(() => {
      const y = x.matmul(w).sub(Tensor.ones([8, 2]));
      return tensor.mean(y.square()).add(w.abs().sum().mul(1e-3));
    });
    backward(loss);
    losses.push(await loss.item());
    noGrad(() => w.grad?.mul(0.1).reshape([-1]).softmax(-1));
  }
  const parts: Tensor[] = x.split(2, 0);
  const shape: readonly number[] = parts[0]?.transpose(0, 1).shape ?? [];
  return [...losses, ...shape];
}

/** A model trained with options that may each be absent, as a caller's own options are. */
export async function learn(path: string, options: { out?: string | undefined; signal?: AbortSignal | undefined; validation?: number | undefined }): Promise<StepReport | undefined> {
  const text = await Corpus.fromText(path, { separator: endOfText });
  const tokenizer = await Tokenizer.train(text, { vocabSize: 1024 });
  const data = await text.tokenized(tokenizer, { validation: options.validation, cache: false, signal: options.signal });
  const model = new LanguageModel(
    { vocabSize: tokenizer.vocabSize, hiddenSize: 64, numLayers: 2, numHeads: 4, numKeyValueHeads: 2, contextLength: 64, dropout: 0 },
    { seed: 1, tokenizer },
  );
  const config: ModelConfig = model.config;
  let last: StepReport | undefined;
  for await (const step of train(model, data, { steps: config.layers.length, batchSize: 4, dtype: "bf16", optimizer: { kind: "muon" }, out: options.out, signal: options.signal, tokenizer })) last = step;
  return last;
}

/** Text from a model, in each of the ways there are. */
export async function write(model: LanguageModel): Promise<string> {
  let text = "";
  for await (const piece of model.generate("Once", { temperature: 0.8, topK: 40, seed: 7, stop: ["\n\n"], logprobs: 2 })) text += told(piece);
  const [first]: Generation[] = await model.generateBatch(["a", Int32Array.of(1, 2)], { maxTokens: 3 });
  const history: ChatMessage[] = [{ role: "user", content: "Hello" }];
  const chat = model.chat({ system: "Be brief.", cache: "q8" });
  chat.reset(history);
  for await (const { text: said, droppedMessages } of chat.send("And now?")) text += droppedMessages === 0 ? said : "";
  chat.dispose();
  return text + (first?.text ?? "") + (await new ChatTemplate({ template: "{{ messages[0].content }}" }).render(history));
}

function told({ text, logprob, topLogprobs = [] }: Piece): string {
  return logprob === undefined ? text : `${text} ${logprob.toFixed(2)} of ${topLogprobs.map(({ id }) => id).join(" ")}`;
}

/** Models of others, in and out, and how good they are. */
export async function exchange(repo: string, signal?: AbortSignal): Promise<number> {
  const { path } = await pullModel({ repo, file: "Q8_0", signal, onProgress: ({ bytes, totalBytes }) => void (bytes / totalBytes) });
  await using source = await openModel(path);
  const tokenizer = await source.tokenizer();
  const exported = await exportModel(path, { format: "gguf", quantize: "Q4_K_M", signal });
  const [model, quantised] = await Promise.all([LanguageModel.load(path), LanguageModel.load(exported.path, { dequantize: true })]);
  const ids = tokenizer?.encode("A text of some length.") ?? [];
  try {
    const { perplexity } = await likelihood(model, ids);
    return perplexity + (await compareModels(model, quantised, ids)).kl.mean;
  } catch (error) {
    if (error instanceof HornbookError) throw new Error(`${error.code}: ${error.hint ?? "no hint"}`, { cause: error });
    throw error;
  }
}

export const recipe: Recipe = defineRecipe({
  description: "a small one",
  text: "shakespeare",
  validation: 0.1,
  tokenizer: { kind: "characters" },
  model: { numLayers: 2, numHeads: 2, hiddenSize: 32, contextLength: 32 },
  train: { steps: 10, schedule: { kind: "cosine", rate: 1e-3, warmup: 2 } },
});

export async function everyRecipe(signal: AbortSignal | undefined): Promise<LanguageModel[]> {
  const prepared = recipeNames().map(async (name) => prepareRecipe(await loadRecipe(name), { seed: undefined, signal }));
  return (await Promise.all(prepared)).map(({ model }) => model);
}
