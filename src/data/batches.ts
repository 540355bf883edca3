/** @file What training draws its batches from: any source that can be resumed. */

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** An endless stream of batches in an order of its own, which goes on from where it stood in an earlier process. */
export interface Batches<Batch> {
  next(): Promise<Batch>;
  /** A snapshot of where the stream stands, as a checkpoint keeps it. */
  readonly state: Json;
  /** Goes on from a snapshot. It comes from a file, so it is checked: throws DataError for what is none of this stream's. */
  restore(state: unknown): void;
  /** Tells the data from any other, so that a run is not resumed on something else. */
  readonly fingerprint: string;
  /** Tokens of a batch that go through the model: a run's speed is counted in them. */
  tokens(batch: Batch): number;
}
