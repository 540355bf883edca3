/** @file Prefill: prompts are read, many tokens at a time, into the state. */

import type { Decoder, Taps } from "../model/index.js";
import { Tensor, noGrad, scope, type FloatDType } from "../tensor/index.js";
import { outcomeOf, type Best, type Outcome } from "./outcome.js";
import type { SequenceState } from "./sequence-state.js";

/** Some rows' next tokens, as many of each. */
export interface Chunk {
  readonly ids: readonly (readonly number[])[];
  /** Where each row's tokens go; undefined where nothing is remembered, and the tokens are the whole sequence. */
  readonly slots: readonly number[] | undefined;
}

export interface PassOptions {
  readonly dtype: FloatDType;
  readonly taps?: Taps | undefined;
}

/** Queues a chunk whose last tokens end their prompts: what follows each. The caller owns the result. */
export function readLast(model: Decoder, state: SequenceState | undefined, chunk: Chunk, options: PassOptions, best: Best | undefined): Outcome {
  return scope(() => {
    const { ids, ...context } = inputs(model, state, chunk, options);
    return outcomeOf(model, ids, context, best);
  });
}

/** Queues a chunk after which more of the prompts comes: gives the last column's hidden states, to wait for. */
export function readOn(model: Decoder, state: SequenceState, chunk: Chunk, options: PassOptions): Tensor {
  return scope(() => {
    const { ids, ...context } = inputs(model, state, chunk, options);
    return noGrad(() => model.hidden(ids, context).slice(1, -1).contiguous());
  });
}

function inputs({ device }: Decoder, state: SequenceState | undefined, { ids, slots }: Chunk, { dtype, taps }: PassOptions) {
  const [rows, time] = [ids.length, ids[0].length];
  const i32 = (values: readonly number[], shape: readonly number[]) => Tensor.from(Int32Array.from(values), { shape, device });
  const lengths = state === undefined || slots === undefined ? ids.map(() => time) : state.grow(slots, time);
  const starts = lengths.map((length) => length - time);
  return {
    ids: i32(ids.flat(), [rows, time]),
    positions: i32(starts.flatMap((start) => Array.from({ length: time }, (_, i) => start + i)), [rows, time]),
    lengths,
    dtype,
    ...(taps && { taps }),
    ...(state && slots && { state: state.pass({ slots: i32(slots, [rows]), starts: i32(starts, [rows]), lengths: i32(lengths, [rows]) }) }),
  };
}
