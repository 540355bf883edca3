/** In a file of its own, and so a process: nothing else is there for the collector to free in between. */

import { expect, it } from "vitest";
import { Decoder } from "../model/index.js";
import { memory } from "../tensor/index.js";
import { generate, generateBatch, generateText, type TextCodec } from "./index.js";

const model = new Decoder({ vocabSize: 40, hiddenSize: 32, numLayers: 2, numHeads: 4, contextLength: 24 });
const options = { prompts: [[3, 14, 15, 9, 26], [1]], maxTokens: 30, onContextFull: "slide" } as const;

it("is as before when generation is done, left, aborted, or fails", async () => {
  const before = memory.live;
  await generateBatch(model, options);
  expect(memory.live).toBe(before);

  let count = 0;
  for await (const piece of generate(model, options)) {
    expect(piece.row).toBe(count % 2);
    expect(memory.live).toBeGreaterThan(before);
    if (++count === 9) break;
  }
  expect(memory.live).toBe(before);

  const controller = new AbortController();
  const reason = new Error("enough");
  count = 0;
  const run = async () => {
    for await (const _ of generate(model, { ...options, signal: controller.signal })) if (++count === 5) controller.abort(reason);
  };
  await expect(run()).rejects.toBe(reason);
  expect(count).toBe(5);
  expect(memory.live).toBe(before);
  await expect(generateText(model, { ids: [1], signal: AbortSignal.abort(reason) })).rejects.toBe(reason);

  const broken: TextCodec = {
    vocabSize: 40, bosId: undefined, eosId: undefined,
    encode: () => Int32Array.of(1),
    decodeStream: () => ({
      push: () => {
        throw reason;
      },
      end: () => "",
    }),
  };
  await expect(generateText(model, { prompt: "x", tokenizer: broken })).rejects.toBe(reason);
  expect(memory.live).toBe(before);
});

it("is flat while tokens come, but for the cache", async () => {
  const live = new Set<number>();
  let count = 0;
  // The first token reads the prompt; what the next one is made in is kept, and from there on a step is queued ahead, but for the last.
  for await (const _ of generate(model, { ids: [1], temperature: 0, maxTokens: 20 })) if (++count > 1 && count < 19) live.add(memory.live);
  expect(live.size).toBe(1);
});
