/**
 * @file A quantised weight: a matrix [out, in] whose rows lie in blocks of a few bits a number (`block-formats.ts`) and are multiplied as they
 * are. Its rows come in segments, each with a format of its own, because a model
 * fuses matrices (q, k and v, say) that a file may quantise differently.
 *
 * On the device the bytes lie in panels of 16 rows, as the kernels read them fastest; `rows()` gives them back as they were. A quantised weight is not trained: gradients pass through it to what it multiplies, and not to it.
 */

import { HornbookError, ShapeError } from "../errors.js";
import { blockFormats, rowBytes, type BlockFormat, type WrittenFormat } from "./block-formats.js";
import type { BlockLayout } from "./contract.js";
import type { Device } from "./device.js";
import { isFloat, type FloatDType } from "./dtype.js";
import { launch } from "./launch.js";
import { keep } from "./scope.js";
import { Tensor } from "./tensor.js";

/** What a linear layer multiplies with. */
export type Weight = Tensor | QuantizedTensor;

/** Rows of one format. */
export interface BlockRows {
  readonly format: BlockFormat;
  /** u8 [rows, bytes of a row]: blocks, row after row. */
  readonly blocks: Tensor;
}

/** Rows of one format as they lie on the device. */
export interface QuantizedSegment extends BlockRows {
  readonly layout: BlockLayout;
}

export interface QuantizedTensorOptions {
  /** Rows of q8_0 lie with their upper and lower bits apart, so that the best of a product (`linearTopK`) can be found from less than all of them. */
  readonly split?: boolean;
}

export class QuantizedTensor {
  /** [out, in]. */
  readonly shape: readonly [number, number];
  /** The rows from the first on; no two neighbours of one format. */
  readonly segments: readonly QuantizedSegment[];
  /** There is no gradient by it. */
  readonly requiresGrad = false;
  #disposed = false;

  /**
   * Takes the segments' tensors over, with blocks as GGUF has them, and rearranges them in place. Throws ShapeError when they do not have rows of
   * the same length, or two neighbours are of one format and so should be one.
   */
  constructor(segments: readonly BlockRows[], { split = false }: QuantizedTensorOptions = {}) {
    const widths = segments.map(({ format, blocks }) => {
      const { blockSize, blockBytes } = blockFormats[format];
      if (blocks.dtype !== "u8" || blocks.rank !== 2 || blocks.shape[1] % blockBytes !== 0 || !blocks.isDense) {
        throw new ShapeError("QuantizedTensor", [blocks.shape], `Blocks of ${format} are bytes [rows, a multiple of ${blockBytes}].`);
      }
      return (blocks.shape[1] / blockBytes) * blockSize;
    });
    if (segments.length === 0 || widths.some((width) => width !== widths[0])) {
      throw new ShapeError("QuantizedTensor", widths.map((width, i) => [segments[i].blocks.shape[0], width]), "The segments' rows must have the same length.");
    }
    if (segments.some(({ format }, i) => format === segments[i - 1]?.format)) {
      throw new ShapeError("QuantizedTensor", segments.map(({ blocks }) => blocks.shape), "Neighbours of one format are one segment.");
    }
    this.shape = [segments.reduce((rows, { blocks }) => rows + blocks.shape[0], 0), widths[0]];
    this.segments = segments.map(({ format, blocks }) => {
      const layout = split && format === "q8_0" ? "split" : "panels";
      launch("interleave", { w: blocks }, { format, layout, inverse: 0 });
      return { format, layout, blocks: keep(blocks) };
    });
  }

  /** x [out, in] in blocks of this format. Throws ShapeError when its rows are no whole number of them. */
  static quantize(x: Tensor, format: WrittenFormat, options?: QuantizedTensorOptions): QuantizedTensor {
    if (x.rank !== 2 || !isFloat(x.dtype)) throw new ShapeError("quantize", [x.shape], `Only matrices of floats are quantised, not ${x.dtype} of rank ${x.rank}.`);
    const w = Tensor.empty([x.shape[0], rowBytes(format, x.shape[1])], "u8", x.device);
    launch("quantize", { x, w }, { format });
    return new QuantizedTensor([{ format, blocks: w }], options);
  }

  get device(): Device {
    return this.segments[0].blocks.device;
  }
  get rank(): 2 {
    return 2;
  }
  /** The number of elements. */
  get size(): number {
    return this.shape[0] * this.shape[1];
  }
  get alive(): boolean {
    return !this.#disposed;
  }
  /** Bytes of all blocks. */
  get numBytes(): number {
    return this.segments.reduce((sum, { blocks }) => sum + blocks.size, 0);
  }
  /** The formats from the first row on, as in `q4_k` or `q4_k+q6_k`. */
  get format(): string {
    return this.segments.map(({ format }) => format).join("+");
  }

  /** The numbers that the blocks stand for, [out, in]; the caller's scope owns them. */
  dequantize(dtype: FloatDType = "f32"): Tensor {
    this.checkAlive();
    const y = Tensor.empty(this.shape, dtype, this.device);
    let row = 0;
    for (const { format, layout, blocks } of this.segments) {
      const part = y.view([blocks.shape[0], this.shape[1]], y.strides, row * this.shape[1]);
      launch("dequantize", { w: blocks, y: part }, { format, layout });
      part.dispose();
      row += blocks.shape[0];
    }
    return y;
  }

  /** The format of `count` rows from `first` on; undefined where they do not have one and the same. */
  formatOf(first: number, count: number): BlockFormat | undefined {
    return this.#segmentOf(first, count)?.segment.format;
  }

  /**
   * The bytes of `count` rows from `first` on as GGUF has them, once everything queued before has run. Throws RangeError where the rows do not have one and
   * the same format.
   */
  async rows(first: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
    this.checkAlive();
    const found = this.#segmentOf(first, count);
    if (found === undefined) throw new RangeError(`Rows ${first} to ${first + count} of ${String(this)} do not have one and the same format.`);
    const { format, layout, blocks } = found.segment;
    const plain = keep(Tensor.empty(blocks.shape, "u8", blocks.device));
    launch("copy", { x: blocks, y: plain }, {});
    launch("interleave", { w: plain }, { format, layout, inverse: 1 });
    const part = plain.view([count, blocks.shape[1]], plain.strides, (first - found.begin) * blocks.shape[1]);
    try {
      return (await part.raw()) as Uint8Array<ArrayBuffer>;
    } finally {
      part.dispose();
      plain.dispose();
    }
  }

  #segmentOf(first: number, count: number): { segment: QuantizedSegment; begin: number } | undefined {
    let begin = 0;
    for (const segment of this.segments) {
      const end = begin + segment.blocks.shape[0];
      if (first >= begin && first + count <= end) return { segment, begin };
      begin = end;
    }
    return undefined;
  }

  checkAlive(): void {
    if (this.#disposed) throw new HornbookError("This quantised tensor was disposed of.", { code: "disposed" });
  }

  /** Frees the blocks; harmless when that was done already. */
  dispose(): void {
    this.#disposed = true;
    for (const { blocks } of this.segments) blocks.dispose();
  }

  toString(): string {
    return `QuantizedTensor(${this.format} [${this.shape.join(", ")}] on ${this.device.name})`;
  }
}
