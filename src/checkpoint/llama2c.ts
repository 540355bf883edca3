/**
 * @file The `.bin` of llama2.c (Karpathy 2023, export.py), read only: a Llama in float32, as numbers one after another. RoPE turns
 * neighbouring rows of queries and keys, as in Meta's own code.
 *
 * Version 0 has no magic: seven int32 (width, feed-forward width, layers, heads, key heads, vocabulary, context), the vocabulary negated where the
 * head is a matrix of its own. What tells it from other files is that the sizes give the length of the file exactly. Version 1 begins
 * with the magic "ak42", has a head of 256 bytes and another order of tensors. Version 2 is quantised in a way of its own, and refused.
 */

import { CheckpointError, ConfigError } from "../errors.js";
import { modelConfig, transformerOf, type ModelConfig } from "../model/index.js";
import { llama } from "./families/llama.js";
import type { TensorPlan } from "./families/index.js";
import { broken, FileBytes, storedTensor } from "./file-bytes.js";
import { neighbouringPairs } from "./row-order.js";
import type { StoredTensor, WeightFile } from "./stored-tensor.js";

const magic = 0x616b3432;
const headBytes = { 0: 28, 1: 256 } as const;
/** A field beyond it is none of a model that this format was ever used for; it keeps hostile sizes from becoming large plans. */
const maxField = 2 ** 24;
const maxLayers = 10_000;

/** The numbers at the start of a file. */
interface Head {
  readonly version: 0 | 1;
  readonly dim: number;
  readonly hiddenDim: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly vocab: number;
  readonly context: number;
  readonly tied: boolean;
}

export class Llama2c implements WeightFile {
  private constructor(
    readonly path: string,
    readonly config: ModelConfig,
    readonly tensors: ReadonlyMap<string, StoredTensor>,
    private readonly file: FileBytes,
  ) {}

  /** Whether a file's first 28 bytes and its length are those of such a file. */
  static recognises(start: Uint8Array, fileBytes: number): boolean {
    return Llama2c.isPlausible(start) && (isMarked(start) || sizeOf(parseHead(start)) === fileBytes);
  }

  /** Whether a file may be one that is damaged. */
  static isPlausible(start: Uint8Array): boolean {
    return start.length >= headBytes[0] && (isMarked(start) || plausible(parseHead(start)));
  }

  /** @throws CheckpointError `no-such-file`, `cannot-read`, `bad-checkpoint`, `bad-config`; `unsupported-format` for version 2. */
  static async open(path: string): Promise<Llama2c> {
    const file = await FileBytes.open(path);
    try {
      const head = parseHead(await file.read(0, Math.min(file.size, headBytes[1])), path);
      if (!plausible(head)) throw broken({ file: path, offset: 0 }, "its first numbers are no sizes of a model: it is no llama2.c file, or altered.");
      if (sizeOf(head) !== file.size) {
        throw broken({ file: path, offset: 0 }, `by the sizes at its start a llama2.c file takes ${sizeOf(head)} bytes, and this one has ${file.size}: it is cut short, or something else.`);
      }
      const config = configOf(head, path);
      let begin: number = headBytes[head.version];
      const tensors = new Map<string, StoredTensor>();
      for (const { name, shape } of layout(head)) {
        const byteLength = 4 * elements(shape);
        if (name !== undefined) tensors.set(name, storedTensor(file, { name, dtype: "F32", shape, begin, byteLength }));
        begin += byteLength;
      }
      return new Llama2c(path, config, tensors, file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Tensors are called as Hugging Face calls Llama's; only the rows of queries and keys lie otherwise. */
  plans(parameters: ReadonlyMap<string, readonly number[]>): TensorPlan[] {
    const config = transformerOf(this.config)!;
    const { numHeads, numKeyValueHeads, headSize } = config;
    const rows: Record<string, Uint32Array> = { q_proj: neighbouringPairs(numHeads, headSize), k_proj: neighbouringPairs(numKeyValueHeads, headSize) };
    return llama.tensors(config, parameters).map((plan) => ({
      ...plan,
      parts: plan.parts.map((part) => {
        const order = rows[/\.(q_proj|k_proj)\.weight$/.exec(part.name)?.[1] ?? ""];
        return order === undefined ? part : { ...part, rows: order };
      }),
    }));
  }

  /** The format carries no checksum. */
  verify(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function isMarked(bytes: Uint8Array): boolean {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true) === magic;
}

function parseHead(bytes: Uint8Array, path?: string): Head {
  const place = { ...(path !== undefined && { file: path }), offset: 0 };
  if (bytes.length < headBytes[0]) throw broken(place, `the file has ${bytes.length} bytes, too few for the head of a llama2.c file.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const marked = isMarked(bytes);
  const version = marked ? view.getInt32(4, true) : 0;
  if (version !== 0 && version !== 1) {
    throw new CheckpointError({ ...place, offset: 4 }, `version ${version} of llama2.c's format is not supported; 0 and 1 are.`, { code: "unsupported-format", hint: "Export it as version 0 or 1." });
  }
  if (version === 1 && bytes.length < headBytes[1]) throw broken(place, "the file ends within its head: it is cut short.");
  const [dim, hiddenDim, layers, heads, keyHeads, vocab, context] = Array.from({ length: 7 }, (_, i) => view.getInt32((marked ? 8 : 0) + 4 * i, true));
  const tied = marked ? view.getUint8(36) !== 0 : vocab > 0;
  return { version, dim, hiddenDim, layers, heads, keyHeads, vocab: marked ? vocab : Math.abs(vocab), context, tied };
}

function plausible({ dim, hiddenDim, layers, heads, keyHeads, vocab, context }: Head): boolean {
  return [dim, hiddenDim, layers, heads, keyHeads, vocab, context].every((field) => field >= 1 && field <= maxField) && layers <= maxLayers && dim % heads === 0 && (dim / heads) % 2 === 0;
}

function configOf({ dim, hiddenDim, layers, heads, keyHeads, vocab, context, tied }: Head, path: string): ModelConfig {
  try {
    return modelConfig({
      vocabSize: vocab, hiddenSize: dim, intermediateSize: hiddenDim, numLayers: layers, numHeads: heads, numKeyValueHeads: keyHeads, contextLength: context,
      norm: "rmsnorm", normEps: 1e-5, position: "rope", feedForward: "swiglu", tieEmbeddings: tied, bias: false,
    });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new CheckpointError({ file: path, offset: 0 }, `it describes a model that cannot be: ${cause.message}`, { code: "bad-config", cause });
  }
}

interface Stretch {
  /** Undefined for RoPE's tables, which nothing needs. */
  readonly name: string | undefined;
  readonly shape: readonly number[];
}

/** What follows the head, in order. */
function* layout(head: Head): Generator<Stretch> {
  const { version, dim, hiddenDim, layers, heads, keyHeads, vocab, context, tied } = head;
  const keys = (dim / heads) * keyHeads;
  const everyLayer = (name: string, shape: readonly number[]): Stretch[] => Array.from({ length: layers }, (_, i) => ({ name: `model.layers.${i}.${name}.weight`, shape }));
  const embedding: Stretch = { name: "model.embed_tokens.weight", shape: [vocab, dim] };
  const attentionNorm = everyLayer("input_layernorm", [dim]);
  const feedForwardNorm = everyLayer("post_attention_layernorm", [dim]);
  const attention = [
    everyLayer("self_attn.q_proj", [dim, dim]),
    everyLayer("self_attn.k_proj", [keys, dim]),
    everyLayer("self_attn.v_proj", [keys, dim]),
    everyLayer("self_attn.o_proj", [dim, dim]),
  ].flat();
  const feedForward = [everyLayer("mlp.gate_proj", [hiddenDim, dim]), everyLayer("mlp.down_proj", [dim, hiddenDim]), everyLayer("mlp.up_proj", [hiddenDim, dim])].flat();
  const finalNorm: Stretch = { name: "model.norm.weight", shape: [dim] };
  if (version === 0) {
    yield* [embedding, ...attentionNorm, ...attention, ...feedForwardNorm, ...feedForward, finalNorm];
    // Cosines and sines.
    yield { name: undefined, shape: [2, context, dim / heads / 2] };
  } else yield* [...attentionNorm, ...feedForwardNorm, finalNorm, embedding, ...attention, ...feedForward];
  if (!tied) yield { name: "lm_head.weight", shape: [vocab, dim] };
}

/** In exact arithmetic: below 2^53 for what matters, and otherwise no file's length. */
function sizeOf(head: Head): number {
  let bytes: number = headBytes[head.version];
  for (const { shape } of layout(head)) bytes += 4 * elements(shape);
  return bytes;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
