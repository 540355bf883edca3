/** Parts that a user adds from outside: a mixer with a state, a feed-forward, a logit processor. Each trains, saves, loads, generates and is counted. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { Corpus, LanguageModel, train, type Taps } from "../src/index.js";
import { FeedForward, Linear, feedForwards, mixers, type BuildPlace, type ForwardContext } from "../src/model/index.js";
import { backward, scope, Tensor } from "../src/tensor/index.js";
import { CharTokenizer } from "../src/tokenizer/index.js";
import { addMovingAverage } from "./moving-average.js";

interface SquaredReluSpec {
  readonly kind: "squaredRelu";
  readonly width: number;
}
declare module "../src/model/feed-forwards/index.js" {
  interface FeedForwardSpecs {
    readonly squaredRelu: SquaredReluSpec;
  }
}

/** W2 relu(W1 x)^2 (So et al. 2021, Primer). */
class SquaredRelu extends FeedForward {
  readonly up: Linear;
  readonly down: Linear;

  constructor(private readonly width: number, { init, hiddenSize, std, residualStd }: BuildPlace) {
    super();
    this.up = new Linear(init, hiddenSize, width, { bias: false, std });
    this.down = new Linear(init, width, hiddenSize, { bias: false, std: residualStd });
  }
  get activationSize() {
    return { live: 2 * this.width, kept: this.width };
  }
  forward(x: Tensor, context: ForwardContext): Tensor {
    return this.down.forward(this.tap(context, "hook_post", this.up.forward(x, "relu").square()));
  }
}

addMovingAverage(mixers);
feedForwards.add({
  kind: "squaredRelu",
  schema: z.strictObject({ kind: z.literal("squaredRelu"), width: z.number().int().positive() }),
  build: (spec: SquaredReluSpec, place) => new SquaredRelu(spec.width, place),
});

it("a mixer and a feed-forward of one's own train, are saved, loaded, counted, listened to, and generate", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hornbook-parts-"));
  const text = "the cat sat on the mat and the dog sat on the log. ".repeat(60);
  const tokenizer = await CharTokenizer.fromText(text);
  const data = await (await Corpus.fromText({ text })).tokenized(tokenizer, { validation: 0.1 });
  const feedForward = { kind: "squaredRelu", width: 48 } as const;
  const model = new LanguageModel(
    {
      vocabSize: tokenizer.vocabSize, hiddenSize: 24, contextLength: 32,
      layers: [{ mixer: { kind: "movingAverage" }, feedForward }, { mixer: { kind: "attention", numHeads: 2, positions: { kind: "rope" } }, feedForward }],
    },
    { seed: 2, tokenizer },
  );
  const losses: number[] = [];
  for await (const { loss } of train(model, data, { steps: 40, batchSize: 4, dtype: "f32", evaluateEvery: 0, schedule: { kind: "constant", rate: 0.01 } })) losses.push(loss);
  expect(losses.at(-1)).toBeLessThan(losses[0] - 0.5);

  const [average, attention] = [24 * 24, 4 * 24 * 24 + 4 * 24];
  expect(model.numParameters).toBe(tokenizer.vocabSize * 24 + average + attention + 2 * (2 * 24 * 48 + 4 * 24) + 2 * 24);
  await model.save(join(folder, "model"));
  const loaded = await LanguageModel.load(join(folder, "model"));
  expect(loaded.config).toEqual(model.config);

  const heard = new Map<string, readonly number[]>();
  const gradients = new Set<string>();
  const taps: Taps = {
    wants: (name) => name.startsWith("blocks.0"),
    on: (name, { shape }) => void heard.set(name, shape),
    onGradient: (name) => void gradients.add(name),
  };
  const ids = Tensor.from(Int32Array.from(tokenizer.encode("the cat sat")), { shape: [1, 11] });
  scope(() => backward(loaded.loss(ids, ids, { taps, recompute: true })));
  expect([...heard.keys()]).toEqual(expect.arrayContaining(["blocks.0.hook_resid_pre", "blocks.0.ln1.hook_normalized", "blocks.0.mlp.hook_post"]));
  expect(gradients).toEqual(new Set(heard.keys()));

  const options = { maxTokens: 20, temperature: 0 } as const;
  const said = await model.generateText("the ", options);
  expect((await loaded.generateText("the ", options)).ids).toEqual(said.ids);
  expect((await loaded.generateText("the ", { ...options, cache: false })).ids).toEqual(said.ids);
  const batch = await loaded.generateBatch(["the ", "a", "on the log"], options);
  expect(batch[0].ids).toEqual(said.ids);
  // A logit processor of one's own: never the same token twice in a row.
  const { ids: never } = await loaded.generateText("the ", { ...options, processors: [(logits, { ids }) => void (logits[ids.at(-1)!] = -Infinity)] });
  expect(never.some((id, i) => id === never[i - 1])).toBe(false);
  for (const each of [model, loaded]) each.dispose();
  await rm(folder, { recursive: true, force: true });
});

it("a chat over a state that cannot go back answers as one that reads all of it anew", async () => {
  const tokenizer = await CharTokenizer.fromText("abcdefgh \n");
  const model = new LanguageModel(
    { vocabSize: tokenizer.vocabSize, hiddenSize: 16, contextLength: 64, layers: [{ mixer: { kind: "movingAverage" }, feedForward: { kind: "mlp" } }] },
    { seed: 5, tokenizer },
  );
  const chat = model.chat({ temperature: 0, maxTokens: 5 });
  const first = await chat.reply("abc");
  const second = await chat.reply("de");
  const expected = await model.generateText(`abc\n${first}de\n`, { temperature: 0, maxTokens: 5, cache: false });
  expect(second).toBe(expected.text);
  expect(chat.lastTurn!.reusedTokens).toBeGreaterThan(3);
  chat.dispose();
  model.dispose();
});
