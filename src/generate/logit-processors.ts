/**
 * @file Changes to the scores of the next token before it is chosen: each is a small function of the scores and of the sequence so far. They
 * run in the order of a list; to add one, write a function and give it to `generate` as one of `processors`.
 */

/** The sequence that the scores continue. */
export interface ProcessedSequence {
  /** What stands in the context: the prompt and the new tokens. */
  readonly ids: readonly number[];
  /** How many of them are new. */
  readonly numNew: number;
}

/** Changes `logits` [vocabSize] in place; -Infinity makes a token impossible. */
export type LogitProcessor = (logits: Float32Array, sequence: ProcessedSequence) => void;

/** Scores above 0 divided by the penalty, those below multiplied, for each token of the sequence (Keskar et al. 2019, CTRL, section 4.1). */
export function repetitionPenalty(penalty: number): LogitProcessor {
  return (logits, { ids }) => {
    for (const id of new Set(ids)) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  };
}

/** Lowers the scores of tokens that were generated: by `presence` once, and by `frequency` for each time (OpenAI's API). */
export function newTokenPenalty({ presence = 0, frequency = 0 }: { readonly presence?: number; readonly frequency?: number }): LogitProcessor {
  return (logits, { ids, numNew }) => {
    const counts = new Map<number, number>();
    for (const id of ids.slice(ids.length - numNew)) counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const [id, count] of counts) logits[id] -= presence + frequency * count;
  };
}

/** Adds to the scores of these tokens. Ids outside the vocabulary are left out. */
export function logitBias(bias: ReadonlyMap<number, number>): LogitProcessor {
  return (logits) => {
    for (const [id, value] of bias) if (id < logits.length) logits[id] += value;
  };
}
