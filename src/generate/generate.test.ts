import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { ConfigError, DataError, TokenizerError } from "../errors.js";
import { Decoder, Head, type ModelOptions } from "../model/index.js";
import { QuantizedTensor, Random, Tensor, type Weight } from "../tensor/index.js";
import { Tokenizer } from "../tokenizer/index.js";
import { CachedContext, generate, generateBatch, generateText, type GenerateOptions, type GenerationSettingsInput, type Piece, type TextCodec } from "./index.js";
import { encodePrompt } from "./sequence.js";

const sizes = { vocabSize: 40, hiddenSize: 32, numLayers: 2, numHeads: 4, contextLength: 24 };
const variants: [string, Partial<ModelOptions>][] = [
  ["learned positions", {}],
  ["rope, grouped heads, qk-norm", { position: "rope", numKeyValueHeads: 2, qkNorm: true, norm: "rmsnorm", feedForward: "swiglu", bias: false }],
  ["alibi, post-norm", { position: "alibi", normPlacement: "post" }],
  ["sinusoidal, sliding window", { position: "sinusoidal", slidingWindow: 5 }],
];

/** A random model whose weights are large enough that its choices differ. */
function makeModel(options: Partial<ModelOptions> = {}): Decoder {
  const model = new Decoder({ ...sizes, tieEmbeddings: false, ...options });
  const random = new Random(3);
  for (const parameter of model.parameters().values()) {
    if (parameter.rank === 2) parameter.write(Float32Array.from({ length: parameter.size }, () => (random.uniform() - 0.5) * 0.8));
  }
  return model;
}

/** Counts the tokens that the model reads from here on. */
function tokensFed(model: Decoder): { count: number; restore: () => void } {
  const spy = vi.spyOn(model, "hidden");
  return {
    get count() {
      return spy.mock.calls.reduce((sum, [ids]) => sum + ids.shape[0] * ids.shape[1], 0);
    },
    restore: () => spy.mockRestore(),
  };
}

const prompt = [3, 14, 15, 9, 26];
const greedy = { temperature: 0, maxTokens: 12 } as const;
const idsOf = async (model: Decoder, options: GenerateOptions) => (await generateText(model, options)).ids;
async function collect(pieces: AsyncIterable<Piece>): Promise<Piece[]> {
  const all: Piece[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

/** Bytes as tokens, and 256 for the end. */
const bytes: TextCodec = {
  vocabSize: 257,
  bosId: undefined,
  eosId: 256,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  decodeStream: () => {
    const decoder = new TextDecoder();
    return { push: (id) => (id === 256 ? "" : decoder.decode(Uint8Array.of(id), { stream: true })), end: () => decoder.decode() };
  },
};

/** A model that says what it is told to, whatever it reads. */
class Parrot extends Decoder {
  override readonly head: Head;

  constructor(script: ArrayLike<number>, contextLength = 64) {
    super({ vocabSize: 257, hiddenSize: 8, numLayers: 1, numHeads: 1, contextLength });
    this.head = new ScriptedHead(script, this.unembed);
  }
}

class ScriptedHead extends Head {
  #said = 0;

  constructor(private readonly script: ArrayLike<number>, weight: Weight) {
    super({ weight: () => weight });
  }

  override logits(h: Tensor): Tensor {
    const rows = h.size / h.shape[h.rank - 1];
    const logits = new Float32Array(rows * 257);
    for (let row = 0; row < rows; row++) logits[row * 257 + this.script[this.#said % this.script.length]] = 10;
    this.#said++;
    return Tensor.from(logits, { shape: [...h.shape.slice(0, -1), 257], device: h.device });
  }
}
const say = (text: string, options: Partial<GenerationSettingsInput> = {}) =>
  collect(generate(new Parrot([...new TextEncoder().encode(text), 256]), { prompt: "x", tokenizer: bytes, temperature: 0, ...options }));

describe.each(variants)("with %s", (_, options) => {
  const model = makeModel(options);

  it("the cache changes nothing: greedy, sampled, and sliding", async () => {
    const ways: GenerationSettingsInput[] = [
      greedy,
      { maxTokens: 12, temperature: 1.2, topK: 20, topP: 0.9, repetitionPenalty: 1.3, seed: 5 },
      { temperature: 0, maxTokens: 40, onContextFull: "slide" },
    ];
    for (const settings of ways) {
      const cached = await generateText(model, { ids: prompt, ...settings });
      const plain = await generateText(model, { ids: prompt, ...settings, cache: false });
      expect({ ...cached, tokensPerSecond: 0, cacheBytes: 0 }).toEqual({ ...plain, tokensPerSecond: 0, cacheBytes: 0 });
      expect(new Set(cached.ids).size).toBeGreaterThan(2);
    }
  });

  it("nor does reading the prompt in parts, or going on in what another prompt left", async () => {
    const long = Array.from({ length: 17 }, (_, i) => (i * 7) % 40);
    const plain = await generateText(model, { ids: long, ...greedy, cache: false });
    expect((await generateText(model, { ids: long, ...greedy, prefillChunk: 3 })).ids).toEqual(plain.ids);
    const prompts = [long, [5, 6], Array.from({ length: 9 }, (_, i) => i)];
    const [together, inParts] = [await generateBatch(model, { prompts, ...greedy }), await generateBatch(model, { prompts, ...greedy, prefillChunk: 4 })];
    expect(inParts.map(({ ids }) => ids)).toEqual(together.map(({ ids }) => ids));

    const context = new CachedContext();
    const fed = tokensFed(model);
    try {
      for (const [ids, computed] of [[long.slice(0, 9), 9], [long, 8], [long, 1], [[...long.slice(0, 5), 39, 38], 2], [[1, 2, 3], 3], [long, 17]] as const) {
        const before = fed.count;
        const { ids: said } = await generateText(model, { ids, ...greedy, maxTokens: 3, context, prefillChunk: 4 });
        expect(said).toEqual((await generateText(model, { ids, ...greedy, maxTokens: 3, cache: false })).ids);
        // Those of the prompt that are new, two of the three that followed (the last is not read; a step that is only queued again is not
        // counted, and a part of one token is read by such a step), and those without a cache.
        const followed = model.device.record === undefined ? 2 : computed % 4 === 1 ? 0 : 1;
        expect(fed.count - before).toBe(computed + followed + 3 * ids.length + 3);
        expect(context.reused).toBe(ids.length - computed);
        // What was said is held too, but does not belong to the next prompt here.
        expect(context.ids).toEqual([...ids, ...said.slice(0, 2)]);
      }
      await generateText(model, { ids: long, temperature: 0, maxTokens: 30, onContextFull: "slide", context });
      expect((await generateText(model, { ids: long, ...greedy, context })).ids).toEqual(plain.ids);
      // Where a step was queued beyond the token that ends this, that token has been read.
      const read = model.device.record === undefined ? 0 : 1;
      const { ids: said } = await generateText(model, { ids: long, ...greedy, stopIds: [plain.ids[3]], context });
      expect(context.ids).toEqual([...long, ...said.slice(0, said.length - 1 + read)]);
      const next = { ids: [...long, ...said, 5], ...greedy, maxTokens: 2 };
      expect(await idsOf(model, { ...next, context })).toEqual(await idsOf(model, { ...next, cache: false }));
      expect(context.reused).toBe(long.length + said.length - 1 + read);
      // Another dtype is another cache.
      await generateText(model, { ids: long, ...greedy, context, cache: "bf16" });
      expect(context.reused).toBe(0);
    } finally {
      fed.restore();
      context.dispose();
    }
  });

  it("a cache of bf16 or of 8-bit integers is smaller, and computes nearly the same", async () => {
    const ids = Array.from({ length: 16 }, (_, i) => (i * 7) % 40);
    const run = (cache: GenerationSettingsInput["cache"]) => generateText(model, { ids, ...greedy, maxTokens: 6, logprobs: 40, cache });
    const exact = await run(true);
    for (const [cache, bytes, error] of [["bf16", 2, 0.1], ["q8", 1 + 4 / 8, 0.1]] as const) {
      const rounded = await run(cache);
      expect(rounded.cacheBytes).toBe((exact.cacheBytes / 4) * bytes);
      // The first token follows from what was read in one pass, the others from the cache alone; only where they agree so far can they be compared.
      for (let i = 0; i < 6 && (i === 0 || rounded.ids[i - 1] === exact.ids[i - 1]); i++) {
        const byId = new Map(rounded.topLogprobs![i].map(({ id, logprob }) => [id, logprob]));
        const worst = Math.max(...exact.topLogprobs![i].map(({ id, logprob }) => Math.abs(byId.get(id)! - logprob)));
        expect({ cache, i, worst }).toMatchObject({ worst: expect.toSatisfy((w: number) => w < error) as number });
      }
    }
    expect((await run("f32")).ids).toEqual(exact.ids);
    expect(exact.cacheBytes).toBeGreaterThan(0);
  });

  it("a batch of unequal prompts gives what each gives alone, while some end early", async () => {
    const prompts = [prompt, [7], Array.from({ length: 20 }, (_, i) => (i * 11) % 40), [1, 2, 3, 4, 5, 6, 7, 8]];
    for (const settings of [{ ...greedy, stopIds: [] }, { ...greedy, maxTokens: 30, stopIds: [0, 1, 2, 3, 4] }, { ...greedy, cache: false }, { temperature: 0, maxTokens: 30, onContextFull: "slide" as const }]) {
      const together = await generateBatch(model, { prompts, ...settings });
      for (const [row, ids] of prompts.entries()) {
        expect({ ...together[row], tokensPerSecond: 0, cacheBytes: 0 }).toEqual({ ...(await generateText(model, { ids, ...settings })), tokensPerSecond: 0, cacheBytes: 0 });
      }
    }
  });
});

describe("choosing", () => {
  const model = makeModel();

  it("temperature 0 takes the best of the model's logits, whatever the seed", async () => {
    const ids = await idsOf(model, { ids: prompt, ...greedy, seed: 9 });
    const logits = await model.logits(Tensor.from([[...prompt, ...ids.slice(0, -1)]], { dtype: "i32" })).data();
    const best = ids.map((_, i) => {
      const row = Array.from(logits.subarray((prompt.length - 1 + i) * 40, (prompt.length + i) * 40));
      return row.indexOf(Math.max(...row));
    });
    expect(ids).toEqual(best);
  });

  it("the same seed gives the same text, another seed another; rows of a batch differ", async () => {
    const settings = { maxTokens: 12, temperature: 2, seed: 4 };
    const ids = await idsOf(model, { ids: prompt, ...settings });
    expect(await idsOf(model, { ids: prompt, ...settings })).toEqual(ids);
    expect(await idsOf(model, { ids: prompt, ...settings, seed: 5 })).not.toEqual(ids);
    const [first, second] = await generateBatch(model, { prompts: [prompt, prompt], ...settings });
    expect(first.ids).toEqual(ids);
    expect(second.ids).not.toEqual(ids);
  });

  it("log-probabilities are those of the model, before temperature and filters", async () => {
    const { ids, logprobs, topLogprobs } = await generateText(model, { ids: prompt, maxTokens: 6, temperature: 2, topK: 3, seed: 1, logprobs: 4 });
    const logits = model.logits(Tensor.from([[...prompt, ...ids.slice(0, -1)]], { dtype: "i32" }));
    const expected = await logits.logSoftmax(-1).data();
    ids.forEach((id, i) => {
      const row = Array.from(expected.subarray((prompt.length - 1 + i) * 40, (prompt.length + i) * 40));
      expect(logprobs![i]).toBeCloseTo(row[id], 4);
      const best = row.map((logprob, id) => ({ id, logprob })).sort((a, b) => b.logprob - a.logprob).slice(0, 4);
      expect(topLogprobs![i].map(({ id }) => id)).toEqual(best.map(({ id }) => id));
      best.forEach(({ logprob }, rank) => expect(topLogprobs![i][rank].logprob).toBeCloseTo(logprob, 4));
    });
    const [piece] = await collect(generate(model, { ids: prompt, maxTokens: 1 }));
    expect(piece).not.toHaveProperty("logprob");
  });

  it("bf16 computes nearly the same distribution", async () => {
    const settings = { ids: prompt, ...greedy, maxTokens: 1, logprobs: 40 };
    const [exact, rounded] = [await generateText(model, settings), await generateText(model, { ...settings, dtype: "bf16" })];
    const byId = new Map(rounded.topLogprobs![0].map(({ id, logprob }) => [id, logprob]));
    for (const { id, logprob } of exact.topLogprobs![0]) expect(Math.abs(byId.get(id)! - logprob)).toBeLessThan(0.15);
  });

  it("does not choose ids that the tokenizer does not have", async () => {
    const tokenizer = { ...bytes, vocabSize: 5, eosId: undefined };
    const { ids } = await generateText(model, { ids: prompt, tokenizer, maxTokens: 18, temperature: 5 });
    expect(Math.max(...ids)).toBeLessThan(5);
  });
});

describe("text", () => {
  it("goes on behind a prompt's text with the space that a text would not begin with", async () => {
    const tokenizer = await Tokenizer.load(fileURLToPath(new URL("../../test/fixtures/tokenizers/llama-2.json", import.meta.url)));
    const model = new Decoder({ vocabSize: tokenizer.vocabSize, hiddenSize: 16, numLayers: 1, numHeads: 2, contextLength: 32 }, { seed: 5 });
    const prompt = "the cat";
    const before = encodePrompt(tokenizer, prompt);
    let withSpace = 0;
    for (let seed = 0; seed < 30; seed++) {
      const { ids, text } = await generateText(model, { prompt, tokenizer, maxTokens: 2, temperature: 1, seed });
      // Bytes that are no character: a stream has given what was whole before them.
      if (text.includes("\ufffd")) continue;
      withSpace += text.startsWith(" ") ? 1 : 0;
      expect(prompt + text).toBe(tokenizer.decode([...before, ...ids], { skipSpecialTokens: true }));
      // After ids it is a text of its own.
      expect((await generateText(model, { ids: before, tokenizer, maxTokens: 2, temperature: 1, seed })).text).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
    }
    expect(withSpace).toBeGreaterThan(2);
    model.dispose();
  });

  it("comes in whole characters", async () => {
    const pieces = await say("añ→😀é");
    expect(pieces.map(({ text }) => text)).toEqual(["a", "", "ñ", "", "", "→", "", "", "", "😀", "", "é", ""]);
    expect(pieces.at(-1)).toMatchObject({ id: 256, finishReason: "stop", stoppedBy: 256 });
  });

  it("that breaks off within a character says so with U+FFFD", async () => {
    const pieces = await say("a😀", { maxTokens: 3 });
    expect(pieces.map(({ text }) => text)).toEqual(["a", "", "\uFFFD"]);
    expect(pieces.at(-1)?.finishReason).toBe("length");
  });

  it("ends before a stop string, of which no part is emitted", async () => {
    const pieces = await say("one\ntwo\n\nthree", { stop: ["\n\n", "zzz"] });
    expect(pieces.map(({ text }) => text)).toEqual(["o", "n", "e", "", "\nt", "w", "o", "", ""]);
    expect(pieces.at(-1)).toMatchObject({ finishReason: "stop", stoppedBy: "\n\n" });
    const { text } = await generateText(new Parrot(bytes.encode("ab\n")), { prompt: "x", tokenizer: bytes, temperature: 0, stop: "b\nX", maxTokens: 3 });
    expect(text).toBe("ab\n");
  });

  it("goes past the end of text when told to", async () => {
    const pieces = await say("a", { stopIds: [], maxTokens: 4 });
    expect(pieces.map(({ id }) => id)).toEqual([97, 256, 97, 256]);
    expect(pieces.map(({ text }) => text).join("")).toBe("aa");
  });

  it("begins with the token that begins texts where the tokenizer wants it, or where it is asked for", async () => {
    const promptOf = async (codec: TextCodec, options: GenerationSettingsInput = {}) =>
      (await generateText(new Parrot([97]), { prompt: "x", tokenizer: codec, maxTokens: 1, ...options })).promptIds;
    const wanting = { ...bytes, bosId: 255, addsBos: true };
    expect(await promptOf(wanting)).toEqual([255, 120]);
    expect(await promptOf(wanting, { addBos: false })).toEqual([120]);
    expect(await promptOf({ ...wanting, addsBos: false })).toEqual([120]);
    expect(await promptOf({ ...wanting, addsBos: false }, { addBos: true })).toEqual([255, 120]);
  });

  it("begins from the end of text where the prompt is empty", async () => {
    const { promptIds } = await generateText(new Parrot([97]), { prompt: "", tokenizer: bytes, maxTokens: 1 });
    expect(promptIds).toEqual([256]);
  });
});

describe("a quantised unembedding", () => {
  const quantized = (options: Partial<ModelOptions>) => {
    const model = makeModel({ contextLength: 64, vocabSize: 300, tieEmbeddings: true, ...options });
    model.replace(new Map([["embed", QuantizedTensor.quantize(model.embed as Tensor, "q8_0", { split: true })]]));
    return model;
  };

  it("gives the tokens that all logits give: greedy, among the k best, alone and in a batch", async () => {
    const ways: GenerationSettingsInput[] = [
      { temperature: 0 }, { topK: 1 }, { topK: 20, seed: 3 }, { topK: 50, topP: 0.9, temperature: 1.4, seed: 4 }, { topK: 256, minP: 0.02, seed: 5 }, { topK: 299, seed: 6 },
    ];
    for (const options of [{}, { logitSoftcap: 5 }]) {
      const model = quantized(options);
      const all = vi.spyOn(model.head, "logits");
      for (const settings of ways) {
        const given = { prompts: [prompt, [7], [8, 9]], maxTokens: 16, ...settings };
        all.mockClear();
        const found = await generateBatch(model, given);
        const few = !("logitSoftcap" in options) && settings.topK !== 299;
        expect(all.mock.calls.length > 0).toBe(!few);
        // Who asks for probabilities has all logits computed.
        const expected = await generateBatch(model, { ...given, logprobs: 0 });
        expect(found.map(({ ids }) => ids)).toEqual(expected.map(({ ids }) => ids));
        expect(await idsOf(model, { ids: prompt, maxTokens: 16, ...settings })).toEqual(found[0].ids);
      }
      model.dispose();
    }
  });

  it("leaves out what is no token of the tokenizer, and says where a logit is not finite", async () => {
    const model = quantized({});
    const settings = { prompt: "ab", tokenizer: { ...bytes, vocabSize: 257 }, maxTokens: 20, stopIds: [] };
    for (const way of [{ temperature: 0 }, { topK: 40, seed: 2 }]) {
      const { ids } = await generateText(model, { ...settings, ...way });
      expect(Math.max(...ids)).toBeLessThan(257);
      expect(ids).toEqual((await generateText(model, { ...settings, ...way, logprobs: 0 })).ids);
    }
    [...model.parameters()].find(([name]) => name.startsWith("finalNorm"))![1].fill(Infinity);
    for (const way of [{ temperature: 0 }, { topK: 40 }]) await expect(generateText(model, { ids: prompt, ...way })).rejects.toMatchObject({ code: "not-finite" });
    model.dispose();
  });
});

describe("a full context", () => {
  const model = makeModel();

  it("ends the text and says so", async () => {
    const { ids, finishReason, droppedTokens } = await generateText(model, { ids: prompt, temperature: 0 });
    // All 24 positions are read; the token after the last is the last.
    expect(ids.length).toBe(24 - prompt.length + 1);
    expect({ finishReason, droppedTokens }).toEqual({ finishReason: "context", droppedTokens: 0 });
  });

  it("slides when asked, and tells how much fell out", async () => {
    const pieces = await collect(generate(model, { ids: prompt, temperature: 0, maxTokens: 40, onContextFull: "slide" }));
    expect(pieces.length).toBe(40);
    const dropped = pieces.map(({ droppedTokens }) => droppedTokens);
    expect(dropped.slice(0, 19)).toEqual(new Array(19).fill(0));
    // The sequence has 25 tokens; 12 stay.
    expect(dropped[19]).toBe(13);
    expect(pieces[39].droppedTokens).toBe(26);
    // What follows depends on those 12 alone.
    const all = [...prompt, ...pieces.map(({ id }) => id)];
    expect(await idsOf(model, { ids: all.slice(13, 25), temperature: 0, maxTokens: 10 })).toEqual(all.slice(25, 35));
  });

  it("refuses a prompt that is longer, or cuts it when asked and says so", async () => {
    const long = Array.from({ length: 30 }, (_, i) => i);
    await expect(generateText(model, { ids: long })).rejects.toThrow(ConfigError);
    await expect(generateText(model, { ids: long })).rejects.toMatchObject({ code: "context-exceeded" });
    await expect(generateText(model, { ids: long })).rejects.toThrow("30 tokens do not fit the model's context of 24");
    const cut = await generateText(model, { ids: long, truncatePrompt: true, temperature: 0, onContextFull: "slide", maxTokens: 1 });
    expect(cut).toMatchObject({ promptIds: long.slice(6), droppedTokens: 6 });
    expect(cut.ids).toEqual(await idsOf(model, { ids: long.slice(6), temperature: 0, maxTokens: 1 }));
  });
});

describe("wrong use", () => {
  const model = makeModel();

  it("names ids outside the vocabulary, and where", async () => {
    for (const bad of [40, -1, 1.5, NaN]) {
      await expect(generateText(model, { ids: [1, bad] })).rejects.toThrow(TokenizerError);
      await expect(generateText(model, { ids: [1, bad] })).rejects.toThrow(`token id ${bad} at position 1`);
    }
    await expect(generateText(model, { prompt: "é", tokenizer: bytes })).rejects.toThrow("The tokenizer is not this model's");
  });

  it("refuses an empty prompt, a text without a tokenizer, and settings that cannot be", async () => {
    await expect(generateText(model, { ids: [] })).rejects.toThrow(DataError);
    await expect(generateText(model, { prompt: "a" })).rejects.toMatchObject({ field: "tokenizer" });
    await expect(generateText(model, { prompts: [[1]] })).rejects.toMatchObject({ field: "prompts" });
    const wrong: [keyof GenerationSettingsInput, GenerationSettingsInput][] = [
      ["maxTokens", { maxTokens: 0 }], ["temperature", { temperature: -1 }], ["temperature", { temperature: NaN }], ["topK", { topK: 1.5 }], ["topP", { topP: 0 }],
      ["minP", { minP: 2 }], ["repetitionPenalty", { repetitionPenalty: 0 }], ["seed", { seed: -1 }], ["stop", { stop: "" }], ["logprobs", { logprobs: -1 }],
    ];
    for (const [field, settings] of wrong) await expect(generateText(model, { ids: [1], ...settings })).rejects.toMatchObject({ name: "ConfigError", field });
  });
});
