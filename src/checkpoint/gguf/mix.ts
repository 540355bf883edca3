/**
 * @file Which tensor gets which format in a quantised file. A "mix" such as Q4_K_M gives more bits to what the output is most sensitive to: the
 * unembedding, and in some layers the values and the feed-forward's second matrix. The rules are llama.cpp's (src/llama-quant.cpp), so that a
 * file made here is what its users expect under the name.
 *
 * Norms, biases and positions stay in float32. A row that is no whole number of blocks gets a format with smaller blocks.
 */

import { blockFormats } from "../../tensor/block-formats.js";
import type { StoredDType } from "../stored-tensor.js";

/** `general.file_type`, and the format of most tensors. */
export const ggufMixes = {
  F32: { fileType: 0, base: "F32" },
  F16: { fileType: 1, base: "F16" },
  BF16: { fileType: 32, base: "BF16" },
  Q4_0: { fileType: 2, base: "q4_0" },
  Q4_1: { fileType: 3, base: "q4_1" },
  Q5_0: { fileType: 8, base: "q5_0" },
  Q5_1: { fileType: 9, base: "q5_1" },
  Q8_0: { fileType: 7, base: "q8_0" },
  Q4_K_S: { fileType: 14, base: "q4_k" },
  Q4_K_M: { fileType: 15, base: "q4_k" },
  Q5_K_S: { fileType: 16, base: "q5_k" },
  Q5_K_M: { fileType: 17, base: "q5_k" },
  Q6_K: { fileType: 18, base: "q6_k" },
} as const satisfies Record<string, { fileType: number; base: StoredDType }>;
export type GgufMix = keyof typeof ggufMixes;
export type WrittenDType = (typeof ggufMixes)[GgufMix]["base"];

/** What llama.cpp's users say for the usual mix of a size. */
const aliases: Readonly<Record<string, GgufMix>> = { Q4_K: "Q4_K_M", Q5_K: "Q5_K_M" };

/** A mix by its name, in either case; undefined where there is none of it. */
export function ggufMix(name: string): GgufMix | undefined {
  const upper = name.toUpperCase();
  return Object.hasOwn(ggufMixes, upper) ? (upper as GgufMix) : aliases[upper];
}

export interface MixedModel {
  readonly architecture: string;
  readonly numLayers: number;
  readonly tieEmbeddings: boolean;
}

/** The format of a tensor in a mix; `shape` row-major. */
export function mixedDType(mix: GgufMix, { architecture, numLayers, tieEmbeddings }: MixedModel, name: string, shape: readonly number[]): WrittenDType {
  if (shape.length < 2 || !name.endsWith(".weight") || name.endsWith("_norm.weight") || name === "position_embd.weight") return "F32";
  const { base } = ggufMixes[mix];
  const block = blockOf(base);
  if (block === 1) return base;
  const row = shape.at(-1)!;
  const isFalcon = architecture === "falcon";
  const [, layerText, role] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
  const layer = Number(layerText);
  const eighth = Math.floor(numLayers / 8);
  const isSensitive = layer < eighth || layer >= Math.floor((7 * numLayers) / 8) || (layer - eighth) % 3 === 2;

  let chosen: WrittenDType = base;
  if (name === "output.weight" || (tieEmbeddings && name === "token_embd.weight")) {
    chosen = isFalcon || row % block !== 0 || base === "q8_0" ? "q8_0" : "q6_k";
  } else if (role === "attn_v" || role === "attn_qkv") {
    if ((mix === "Q4_K_M" || mix === "Q5_K_M") && isSensitive) chosen = "q6_k";
    else if (mix === "Q4_K_S" && layer < 4) chosen = "q5_k";
  } else if (role === "ffn_down") {
    if (mix === "Q4_K_M" && isFalcon) chosen = layer < Math.floor(numLayers / 16) ? "q6_k" : isSensitive ? "q5_k" : "q4_k";
    else if ((mix === "Q4_K_M" || mix === "Q5_K_M") && isSensitive) chosen = "q6_k";
    else if (mix === "Q4_K_S" && !isFalcon && layer < eighth) chosen = "q5_k";
  }
  return fitting(chosen, row);
}

/** The format itself, or the next best whose blocks divide a row. */
function fitting(dtype: WrittenDType, row: number): WrittenDType {
  if (row % blockOf(dtype) === 0) return dtype;
  const smaller = ({ q4_k: "q5_0", q5_k: "q5_1", q6_k: "q8_0" } as const)[dtype as "q4_k" | "q5_k" | "q6_k"] as WrittenDType | undefined;
  return smaller !== undefined && row % blockOf(smaller) === 0 ? smaller : "F16";
}

function blockOf(dtype: WrittenDType): number {
  return dtype in blockFormats ? blockFormats[dtype as keyof typeof blockFormats].blockSize : 1;
}
