/**
 * Rows of a batch that join, leave and fork at random: each has the tokens, and the logits to the last bit, that it has alone. On layers with
 * full attention, with a window, and with a recurrence that has no undo.
 */

import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Decoder, mixers, type LayerOptions } from "../model/index.js";
import { addMovingAverage } from "../../test/moving-average.js";
import { generationSettings, type GenerationSettingsInput } from "./options.js";
import { Scheduler } from "./scheduler.js";
import { Sequence, type Piece } from "./sequence.js";
import { SequenceState } from "./sequence-state.js";
import { readLast } from "./prefill.js";

addMovingAverage(mixers);

const attention = { kind: "attention", numHeads: 4, numKeyValueHeads: 2, positions: { kind: "rope" } } as const;
const feedForward = { kind: "gated", intermediateSize: 48 } as const;
const layers = {
  attention: [{ mixer: attention, feedForward }, { mixer: { ...attention, window: 5 }, feedForward }],
  recurrent: [{ mixer: attention, feedForward }, { mixer: { kind: "movingAverage", decay: 0.9 }, feedForward }],
} satisfies Record<string, LayerOptions[]>;

describe.each(Object.entries(layers))("with %s layers", (_, layers) => {
  const model = new Decoder({ vocabSize: 61, hiddenSize: 32, contextLength: 64, layers, head: { tied: true } }, { seed: 4 });
  afterAll(() => model.dispose());

  const sequenceOf = (row: number, ids: number[], settings: GenerationSettingsInput) => new Sequence(row, ids, 0, 64, generationSettings({ ...settings, logprobs: 3 }), undefined);
  const options = { dtype: "f32", cache: "f32", prefillChunk: 5 } as const;
  const alone = async (row: number, ids: number[], settings: GenerationSettingsInput): Promise<Piece[]> => {
    const scheduler = new Scheduler(model, options);
    scheduler.add(sequenceOf(row, ids, settings));
    const pieces: Piece[] = [];
    while (scheduler.size > 0) pieces.push(...(await scheduler.step()));
    scheduler.dispose();
    return pieces;
  };

  const request = fc.record({
    ids: fc.array(fc.nat(60), { minLength: 1, maxLength: 17 }),
    maxTokens: fc.integer({ min: 1, max: 9 }),
    temperature: fc.constantFrom(0, 0.8),
    /** Steps of the others before this one joins. */
    joins: fc.nat(8),
    /** Its pieces before it leaves. */
    leaves: fc.option(fc.nat(6)),
  });

  it("each row has the tokens and probabilities that it has alone, whoever joins and leaves", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 2, maxLength: 6 }), async (requests) => {
        const scheduler = new Scheduler(model, options);
        const sequences = requests.map(({ ids, joins: _joins, leaves: _leaves, ...settings }, row) => sequenceOf(row, ids, settings));
        const pieces = requests.map((): Piece[] => []);
        for (let step = 0; step <= 8 || scheduler.size > 0; step++) {
          requests.forEach(({ joins }, row) => joins === step && scheduler.add(sequences[row]));
          for (const piece of await scheduler.step()) pieces[piece.row].push(piece);
          requests.forEach(({ leaves }, row) => leaves !== null && pieces[row].length > leaves && scheduler.remove(sequences[row]));
        }
        scheduler.dispose();
        for (const [row, { ids, maxTokens, temperature, leaves }] of requests.entries()) {
          const expected = await alone(row, ids, { maxTokens, temperature });
          expect(pieces[row]).toEqual(leaves === null ? expected : expected.slice(0, leaves + 1));
        }
      }),
      { numRuns: 25 },
    );
  });

  it("a fork goes on as the sequence that it was forked from, and neither bears on the other", async () => {
    const prompt = [5, 9, 2, 33, 17, 8, 41];
    const state = new SequenceState(model, { dtype: "f32", positions: 2, maxPositions: 64 });
    const first = state.add();
    const read = async (ids: number[], slot: number): Promise<ArrayLike<number>> => {
      const [outcome] = readLast(model, state, { ids: [ids], slots: [slot] }, { dtype: "f32" }, undefined);
      const logits = await outcome.data();
      outcome.dispose();
      return logits;
    };
    await read(prompt, first);
    const forks = [state.fork(first)!, state.fork(first)!];
    const saved = state.snapshot(first);
    for (const [i, slot] of [first, ...forks].entries()) {
      await read([50 + i], slot);
      expect(await read([7], slot)).toEqual(await readAlone(model, prompt, [50 + i], [7]));
    }
    state.restore(forks[0], saved);
    expect(state.lengthOf(forks[0])).toBe(prompt.length);
    if (state.canTruncate) {
      expect(state.truncate(first, 3)).toBe(true);
      expect(await read(prompt.slice(3), first)).toHaveLength(61);
    } else {
      expect(state.truncate(first, 3)).toBe(false);
      expect(state.fork(first, 3)).toBeUndefined();
    }
    expect(state.truncate(first, 0)).toBe(true);
    expect(await read(prompt, first)).toEqual(await readAlone(model, prompt));
    saved.dispose();
    state.dispose();
  });
});

/** The logits after these parts of a text, read one after the other in a state that has nobody else. */
async function readAlone(model: Decoder, ...parts: number[][]): Promise<ArrayLike<number>> {
  const state = new SequenceState(model, { dtype: "f32", positions: 64, maxPositions: 64 });
  const slot = state.add();
  let logits: ArrayLike<number> = [];
  for (const ids of parts) {
    const [outcome] = readLast(model, state, { ids: [ids], slots: [slot] }, { dtype: "f32" }, undefined);
    logits = await outcome.data();
    outcome.dispose();
  }
  state.dispose();
  return logits;
}
