/**
 * @file Where our parameters lie in a GGUF file. GGUF has one set of names for all architectures, as we have, so one table holds for all; a family says
 * only which matrices are fused and how RoPE's pairs lie.
 *
 * Also the tensors that are no parameters: RoPE's factors, by which each pair's frequency is divided.
 */

import { ropeFrequencies, transformerOf, type ModelConfig, type TransformerConfig } from "../../model/index.js";
import type { TensorPart, TensorPlan } from "../families/index.js";
import { neighbouringPairs } from "../row-order.js";
import type { GgufDialect } from "./dialect.js";

const global: Readonly<Record<string, string>> = { embed: "token_embd", embeddingNorm: "token_embd_norm", positions: "position_embd", finalNorm: "output_norm", unembed: "output" };

const inBlock: Readonly<Record<string, string>> = {
  norm1: "attn_norm",
  outputNorm1: "post_attention_norm",
  norm2: "ffn_norm",
  outputNorm2: "post_ffw_norm",
  "mixer.queryNorm": "attn_q_norm",
  "mixer.keyNorm": "attn_k_norm",
  "mixer.output": "attn_output",
  "feedForward.up": "ffn_up",
  "feedForward.down": "ffn_down",
};

/** Where each parameter of a model lies. Throws RangeError for a parameter that GGUF has no name for. */
export function ggufPlans(dialect: GgufDialect, model: ModelConfig, parameters: ReadonlyMap<string, readonly number[]>): TensorPlan[] {
  const config = transformerOf(model)!;
  const norms = dialect.norms?.(config) ?? {};
  const needsZeros = (parameter: string): boolean =>
    dialect.everythingHasBias === true && /\.weight$/.test(parameter) && parameter !== "positions.weight" && !parameters.has(parameter.replace(/weight$/, "bias"));
  return [...parameters].flatMap(([parameter, shape]): TensorPlan[] => {
    const [, block, ours, kind = "weight"] = /^(?:blocks\.(\d+)\.)?(.+?)(?:\.(weight|bias))?$/.exec(parameter)!;
    const isNorm = /norm\d?$/i.test(ours);
    // Gemma's norms multiply by weight + 1, and GGUF has the sum.
    const shift = isNorm && config.normOffset !== 0 ? { offset: config.normOffset } : {};
    const plan = (parts: TensorPart[]): TensorPlan[] => [{ parameter, parts }, ...(needsZeros(parameter) ? [zeros(parts)] : [])];
    if (block === undefined) return plan([{ name: `${named(global, ours, parameter)}.${kind}`, shape, ...shift }]);
    const part = (name: string, rows: number, more: Partial<TensorPart> = {}): TensorPart => ({ name: `blk.${block}.${name}.${kind}`, shape: [rows, ...shape.slice(1)], ...shift, ...more });
    if (ours === "mixer.queryKeyValue") return plan(queryKeyValueParts(dialect, config, part));
    if (ours === "feedForward.gateUp") {
      const rows = config.intermediateSize;
      return plan(dialect.fusedGateUp === true ? [part("ffn_up", 2 * rows)] : [part("ffn_gate", rows), part("ffn_up", rows)]);
    }
    return plan([part(norms[ours] ?? named(inBlock, ours, parameter), shape[0])]);
  });
}

/** The biases that an architecture always has, of a model without them. */
function zeros(parts: readonly TensorPart[]): TensorPlan {
  return { parameter: undefined, parts: parts.map(({ name, shape }) => ({ name: name.replace(/weight$/, "bias"), shape: [shape[0]] })) };
}

function queryKeyValueParts(dialect: GgufDialect, { numHeads, numKeyValueHeads, headSize }: TransformerConfig, part: (name: string, rows: number, more?: Partial<TensorPart>) => TensorPart): TensorPart[] {
  const [queries, keys] = [numHeads * headSize, numKeyValueHeads * headSize];
  if (dialect.fusedQueryKeyValue === true) return [part("attn_qkv", queries + 2 * keys)];
  const order = (heads: number) => (dialect.neighbouringPairs === true ? { rows: neighbouringPairs(heads, headSize) } : {});
  return [part("attn_q", queries, order(numHeads)), part("attn_k", keys, order(numKeyValueHeads)), part("attn_v", keys)];
}

function named(names: Readonly<Record<string, string>>, ours: string, parameter: string): string {
  const name = names[ours];
  if (name === undefined) throw new RangeError(`GGUF has no name for the parameter ${parameter}.`);
  return name;
}

/** By what RoPE's frequencies are divided, a number a pair, where a file keeps that in tensors. */
export function ropeFactors({ ropeScaling: scaling, ropeTheta, headSize, rotaryFraction }: TransformerConfig): { readonly name: string; readonly factors: readonly number[] }[] {
  if (scaling.kind === "longrope") {
    return [
      { name: "rope_factors_long.weight", factors: scaling.longFactors },
      { name: "rope_factors_short.weight", factors: scaling.shortFactors },
    ];
  }
  if (scaling.kind !== "llama3") return [];
  const pairs = Math.floor((headSize * rotaryFraction) / 2);
  const plain = ropeFrequencies(ropeTheta, pairs, { kind: "none" }, 0).frequencies;
  const scaled = ropeFrequencies(ropeTheta, pairs, scaling, 0).frequencies;
  return [{ name: "rope_freqs.weight", factors: Array.from(plain, (frequency, i) => Math.fround(frequency / scaled[i])) }];
}
