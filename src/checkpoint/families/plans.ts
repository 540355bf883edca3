/**
 * @file Where parameters lie, in the patterns that families share. Shapes are those of the model's own parameters, and what a model does not have
 * (a bias, a norm, a head of its own) has no plan; so a family need only know names.
 */

import type { TransformerConfig } from "../../model/index.js";
import { groupedHeads, type RowOrder } from "../row-order.js";
import type { TensorPlan } from "./family.js";

/** Every parameter of the model with its shape. */
export type Parameters = ReadonlyMap<string, readonly number[]>;

/** A parameter that is one tensor, with its rows in the given order. */
export function same(parameters: Parameters, ours: string, theirs: string, rows?: RowOrder): TensorPlan[] {
  const shape = parameters.get(ours);
  return shape === undefined ? [] : [{ parameter: ours, parts: [{ name: theirs, shape, ...(rows && { rows }) }] }];
}

/** The weight and the bias of a projection or norm. */
export function layer(parameters: Parameters, ours: string, theirs: string, rows?: RowOrder): TensorPlan[] {
  return ["weight", "bias"].flatMap((kind) => same(parameters, `${ours}.${kind}`, `${theirs}.${kind}`, rows));
}

/** The weight and the bias of a projection of ours that is several of theirs, each with so many rows. */
export function stacked(parameters: Parameters, ours: string, theirs: Readonly<Record<string, number>>): TensorPlan[] {
  return ["weight", "bias"].flatMap((kind) => {
    const shape = parameters.get(`${ours}.${kind}`);
    const parts = Object.entries(theirs).map(([name, rows]) => ({ name: `${name}.${kind}`, shape: [rows, ...(shape?.slice(1) ?? [])] }));
    return shape === undefined ? [] : [{ parameter: `${ours}.${kind}`, parts }];
  });
}

/** A block whose tensors are named as Megatron-LM names them (GPT-NeoX, Falcon, BLOOM): queries, keys and values are one matrix, head by head. */
export function megatronBlock(
  config: TransformerConfig,
  parameters: Parameters,
  ours: string,
  theirs: string,
  { attention = "self_attention", norm1 = "input_layernorm", norm2 = "post_attention_layernorm" } = {},
): TensorPlan[] {
  return [
    ...layer(parameters, `${ours}.norm1`, `${theirs}.${norm1}`),
    ...layer(parameters, `${ours}.mixer.queryKeyValue`, `${theirs}.${attention}.query_key_value`, groupedHeads(config)),
    ...layer(parameters, `${ours}.mixer.output`, `${theirs}.${attention}.dense`),
    ...layer(parameters, `${ours}.norm2`, `${theirs}.${norm2}`),
    ...layer(parameters, `${ours}.feedForward.up`, `${theirs}.mlp.dense_h_to_4h`),
    ...layer(parameters, `${ours}.feedForward.down`, `${theirs}.mlp.dense_4h_to_h`),
  ];
}

/** A block whose tensors are named as Llama's are, but for its norms: theirs by ours. */
export function llamaBlock(config: TransformerConfig, parameters: Parameters, ours: string, theirs: string, norms: Readonly<Record<string, string>>): TensorPlan[] {
  const { numHeads, numKeyValueHeads, headSize, intermediateSize } = config;
  const [attention, mlp] = [`${theirs}.self_attn`, `${theirs}.mlp`];
  const keys = numKeyValueHeads * headSize;
  return [
    ...Object.entries(norms).flatMap(([norm, name]) => layer(parameters, `${ours}.${norm}`, `${theirs}.${name}`)),
    ...stacked(parameters, `${ours}.mixer.queryKeyValue`, { [`${attention}.q_proj`]: numHeads * headSize, [`${attention}.k_proj`]: keys, [`${attention}.v_proj`]: keys }),
    ...layer(parameters, `${ours}.mixer.queryNorm`, `${attention}.q_norm`),
    ...layer(parameters, `${ours}.mixer.keyNorm`, `${attention}.k_norm`),
    ...layer(parameters, `${ours}.mixer.output`, `${attention}.o_proj`),
    ...stacked(parameters, `${ours}.feedForward.gateUp`, { [`${mlp}.gate_proj`]: intermediateSize, [`${mlp}.up_proj`]: intermediateSize }),
    ...layer(parameters, `${ours}.feedForward.down`, `${mlp}.down_proj`),
  ];
}

/** All blocks of a model. */
export function blocks({ numLayers }: TransformerConfig, plan: (ours: string, i: number) => TensorPlan[]): TensorPlan[] {
  return Array.from({ length: numLayers }, (_, i) => plan(`blocks.${i}`, i)).flat();
}
