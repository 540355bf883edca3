/**
 * @file The block formats of quantised weights, as GGUF stores them: a row of numbers is cut into blocks, and a block keeps its numbers in a few
 * bits each beside the scales that they share. Everything about a format that is a number stands here; what its bits mean is said, in
 * code, by `reference/blocks.ts`.
 *
 * A row is a whole number of blocks. f16 and bf16 count as formats with blocks of one.
 */

import { ShapeError } from "../errors.js";
import { blockFormatNames, type BlockFormat } from "./contract.js";

export { blockFormatNames, type BlockFormat };

export interface BlockFormatSpec {
  /** The number that GGUF gives the type. */
  readonly ggmlType: number;
  /** Numbers in a block. */
  readonly blockSize: number;
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Whether Hornbook can quantise to it; the others are only read. */
  readonly written: boolean;
}

/** By the names that llama.cpp and its users give them, in lower case. */
export const blockFormats = {
  f16: { ggmlType: 1, blockSize: 1, blockBytes: 2, written: true },
  bf16: { ggmlType: 30, blockSize: 1, blockBytes: 2, written: true },
  q4_0: { ggmlType: 2, blockSize: 32, blockBytes: 18, written: true },
  q4_1: { ggmlType: 3, blockSize: 32, blockBytes: 20, written: true },
  q5_0: { ggmlType: 6, blockSize: 32, blockBytes: 22, written: true },
  q5_1: { ggmlType: 7, blockSize: 32, blockBytes: 24, written: true },
  q8_0: { ggmlType: 8, blockSize: 32, blockBytes: 34, written: true },
  q2_k: { ggmlType: 10, blockSize: 256, blockBytes: 84, written: false },
  q3_k: { ggmlType: 11, blockSize: 256, blockBytes: 110, written: false },
  q4_k: { ggmlType: 12, blockSize: 256, blockBytes: 144, written: true },
  q5_k: { ggmlType: 13, blockSize: 256, blockBytes: 176, written: true },
  q6_k: { ggmlType: 14, blockSize: 256, blockBytes: 210, written: true },
  iq4_nl: { ggmlType: 20, blockSize: 32, blockBytes: 18, written: false },
  iq4_xs: { ggmlType: 23, blockSize: 256, blockBytes: 136, written: false },
  mxfp4: { ggmlType: 39, blockSize: 32, blockBytes: 17, written: false },
} as const satisfies Record<BlockFormat, BlockFormatSpec>;

/** A format that Hornbook can quantise to. */
export type WrittenFormat = { [F in BlockFormat]: (typeof blockFormats)[F]["written"] extends true ? F : never }[BlockFormat];

export const writtenFormats = blockFormatNames.filter(isWritten);

export function isWritten(format: BlockFormat): format is WrittenFormat {
  return blockFormats[format].written;
}

/** The format that GGUF numbers so; undefined for a plain type, and for one that is not known. */
export function blockFormatOfGgmlType(type: number): BlockFormat | undefined {
  return blockFormatNames.find((name) => blockFormats[name].ggmlType === type);
}

/** Bytes of a row of n numbers. Throws ShapeError when n is not a whole number of blocks. */
export function rowBytes(format: BlockFormat, n: number): number {
  const { blockSize, blockBytes } = blockFormats[format];
  if (n % blockSize !== 0) throw new ShapeError(format, [[n]], `Rows of ${n} are not a whole number of blocks of ${blockSize}.`);
  return (n / blockSize) * blockBytes;
}
