/**
 * @file What a model has read of one sequence, kept from one generation to the next: its keys and values, and the ids they belong to. A text that
 * begins as this one began goes on from where the two part; so each turn of a conversation computes what is new in it.
 */

import type { Decoder } from "../model/index.js";
import { positionRegime } from "./position-regime.js";
import type { FloatDType } from "../tensor/index.js";
import { DenseKeyValueCache, type CacheDType } from "./key-value-cache.js";

export class CachedContext {
  /** The ids whose keys and values are held. */
  #ids: number[] = [];
  #cache: DenseKeyValueCache | undefined;
  #of: { readonly model: Decoder; readonly dtype: FloatDType; readonly kept: CacheDType; readonly regime: unknown } | undefined;
  #reused = 0;

  get ids(): readonly number[] {
    return this.#ids;
  }

  /** How many ids of the last prompt were held already. */
  get reused(): number {
    return this.#reused;
  }

  /** Bytes reserved. */
  get numBytes(): number {
    return this.#cache?.numBytes ?? 0;
  }

  /**
   * The cache for a sequence, holding as much of it as this one has: the longest common beginning, but for its last id, whose logits are
   * wanted. Nothing of it is of use where the model or a dtype is another, or RoPE's angles are, which may depend on the length.
   */
  open(model: Decoder, ids: readonly number[], { dtype, kept, capacity }: { readonly dtype: FloatDType; readonly kept: CacheDType; readonly capacity: number }): DenseKeyValueCache {
    const regime = positionRegime(model, ids.length);
    const of = this.#of;
    if (of?.model !== model || of.dtype !== dtype || of.kept !== kept || of.regime !== regime) this.dispose();
    this.#of = { model, dtype, kept, regime };
    let common = 0;
    while (common < this.#ids.length && common < ids.length - 1 && this.#ids[common] === ids[common]) common++;
    this.#cache ??= new DenseKeyValueCache({ dtype: kept, capacity, maxLength: model.config.contextLength });
    this.#cache.truncate(common);
    this.#ids.length = common;
    this.#reused = common;
    return this.#cache;
  }

  /** These ids were read into the cache. */
  advance(ids: Iterable<number>): void {
    for (const id of ids) this.#ids.push(id);
  }

  /** Forgets all of it and frees the memory; what is read next begins anew. */
  dispose(): void {
    this.#cache?.dispose();
    this.#cache = undefined;
    this.#ids = [];
  }
}
