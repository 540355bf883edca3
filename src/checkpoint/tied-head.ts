/**
 * @file Whether a head is the embedding. A configuration says so with `tie_word_embeddings`, and files do not always agree: some hold a copy of the
 * embedding as the head, some a head of its own, some the head alone. As in transformers 5 and vLLM, what the file holds counts.
 */

import type { ModelConfig } from "../model/index.js";
import type { Family } from "./families/index.js";
import type { StoredTensor } from "./stored-tensor.js";

export interface TiedHead {
  readonly isTied: boolean;
  /** The names of the two in files. */
  readonly embedding: string;
  readonly head: string;
  /** What a user should know, in words. */
  readonly warnings: readonly string[];
}

/** What holds for a model that by its configuration has a tied head; undefined for one that has not. `find`: the tensor of a name. */
export async function tiedHead(path: string, family: Family, config: ModelConfig, find: (name: string) => StoredTensor | undefined): Promise<TiedHead | undefined> {
  if (!config.head.tied) return undefined;
  const names = namesOf(family, config);
  if (names === undefined) return undefined;
  const [embedding, head] = [find(names.embedding), find(names.head)];
  const isTied = embedding === undefined || head === undefined || (await isSame(embedding, head));
  return {
    ...names,
    isTied,
    warnings: isTied ? [] : [`${path}: "tie_word_embeddings" says that the head is the embedding, and the file's ${names.head} differs from ${names.embedding}. The file's head is used.`],
  };
}

/** What the family calls the embedding and the head; undefined where it has no name for one. */
function namesOf(family: Family, config: ModelConfig): Pick<TiedHead, "embedding" | "head"> | undefined {
  const untied = { ...config, head: { ...config.head, tied: false } };
  const shape = [config.vocabSize, config.hiddenSize];
  const plans = family.tensors(untied, new Map([["embed", shape], ["unembed", shape]]));
  const [embedding, head] = ["embed", "unembed"].map((parameter) => plans.find((plan) => plan.parameter === parameter)?.parts[0].name);
  return embedding === undefined || head === undefined ? undefined : { embedding, head };
}

/** So much of both is in memory at once; most heads of their own differ in the first piece. */
const pieceBytes = 8 << 20;

async function isSame(a: StoredTensor, b: StoredTensor): Promise<boolean> {
  if (a.shape.join() !== b.shape.join()) return false;
  if (a.dtype !== b.dtype) {
    const [left, right] = [await a.readFloat32(), await b.readFloat32()];
    return left.every((value, i) => value === right[i]);
  }
  for (let at = 0; at < a.byteLength; at += pieceBytes) {
    const [left, right] = [a, b].map(() => Buffer.allocUnsafe(Math.min(pieceBytes, a.byteLength - at)));
    await Promise.all([a.readInto(left, at), b.readInto(right, at)]);
    if (!left.equals(right)) return false;
  }
  return true;
}
