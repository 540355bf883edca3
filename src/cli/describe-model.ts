/** @file A model in one screen: what it is made of, layer by layer where layers differ, and what it is used with. */

import type { GenerationDefaults } from "../checkpoint/generation.js";
import type { ModelConfig } from "../model/index.js";
import { bytes, compact, printable, table, wrap } from "./format.js";

/** What `hornbook info` knows of a model. */
export interface ModelInfo {
  readonly path: string;
  readonly family: string;
  readonly format: string;
  readonly config: ModelConfig;
  readonly tensors: readonly { readonly name: string; readonly parameters: number }[];
  /** How many tensors have each type, and their bytes. */
  readonly types: ReadonlyMap<string, { readonly tensors: number; readonly bytes: number }>;
  readonly parameters: number;
  readonly bytesOnDisk: number;
  readonly tokenizer: string | null;
  readonly chatTemplate: boolean;
  readonly generation: GenerationDefaults;
  /** Of a GGUF file; `general.name`, for one. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A table; longer cells go on in the next line where it would be wider than `width`. */
export function describeModel(info: ModelInfo, width = Infinity): string {
  const { config, metadata } = info;
  const rows: [string, string | undefined][] = [
    ["model", metadata["general.name"]],
    ["architecture", info.family],
    ["file", `${info.path} (${info.format}, ${bytes(info.bytesOnDisk)})`],
    ["weights", [...info.types].sort((a, b) => b[1].bytes - a[1].bytes).map(([type, of]) => `${of.tensors} ${type} (${bytes(of.bytes)})`).join(", ")],
    ["parameters", parameters(info)],
    ...layerGroups(config).map(({ layers, text }): [string, string] => [layers, text]),
    ["hidden size", `${config.hiddenSize}${config.embeddingScale === 1 ? "" : `; embedding times ${short(config.embeddingScale)}`}${config.residualScale === 1 ? "" : `; residuals times ${short(config.residualScale)}`}`],
    ["norms", norms(config)],
    ["logits", logits(config)],
    ["positions", positions(config)],
    ["context", `${config.contextLength} tokens`],
    ["tokenizer", info.tokenizer ?? "none"],
    ["chat template", info.chatTemplate ? "yes" : "no"],
    ["sampling", sampling(info.generation)],
    ["license", metadata["general.license"]],
  ];
  const shown = rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, printable(value.replaceAll("\n", " "))] as const]));
  const room = Math.max(30, width - 2 - Math.max(...shown.map(([name]) => name.length)));
  return table(shown.flatMap(([name, value]) => wrap(value, room).map((line, i) => [i === 0 ? name : "", line])));
}

/** `135M: embedding 28.3M (also the output), 3.54M in each of 30 layers`. */
function parameters({ parameters: total, tensors, config }: ModelInfo): string {
  const layers = new Map<number, number>();
  let elsewhere = 0;
  for (const { name, parameters: count } of tensors) {
    const layer = /(?:^|\.)(?:blk|layers|layer|h|blocks)\.(\d+)\./.exec(name)?.[1];
    if (layer === undefined) elsewhere += count;
    else layers.set(Number(layer), (layers.get(Number(layer)) ?? 0) + count);
  }
  const sizes = [...layers.values()];
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const embedding = config.vocabSize * config.hiddenSize;
  const parts = [
    `embedding ${compact(embedding)}${config.tieEmbeddings ? " (also the output)" : `, output ${compact(embedding)}`}`,
    // A format without names for layers says only the whole.
    ...(sizes.length === config.numLayers ? [`${compact(least)}${most === least ? "" : ` to ${compact(most)}`} in each of ${config.numLayers} layers`] : []),
  ];
  const rest = elsewhere - embedding * (config.tieEmbeddings ? 1 : 2);
  if (config.position === "learned" && rest > 0) parts.splice(1, 0, `positions ${compact(config.contextLength * config.hiddenSize)}`);
  return `${compact(total)}: ${parts.join(", ")}`;
}

/** Layers that are alike, as in `layers 0-4, 6-10` with what they are. */
function layerGroups(config: ModelConfig): { readonly layers: string; readonly text: string }[] {
  const groups = new Map<string, number[]>();
  for (let layer = 0; layer < config.numLayers; layer++) {
    const text = describeLayer(config, layer);
    groups.set(text, [...(groups.get(text) ?? []), layer]);
  }
  return [...groups].map(([text, layers]) => ({ layers: `layer${layers.length === 1 ? "" : "s"} ${ranges(layers)}`, text }));
}

function describeLayer(config: ModelConfig, layer: number): string {
  const { numHeads, numKeyValueHeads, headSize, slidingWindow, intermediateSize, feedForward, qkNorm, attentionSoftcap } = config;
  const slides = slidingWindow > 0 && config.layerTypes[layer % config.layerTypes.length] === "sliding";
  const turns = config.ropeLayers[layer % config.ropeLayers.length];
  const attention = [
    `attention${slides ? ` over the last ${slidingWindow} tokens` : ""}: ${numHeads} heads of ${headSize}`,
    ...(numKeyValueHeads === numHeads ? [] : [` (${numKeyValueHeads} for keys and values)`]),
    ...(qkNorm === "none" ? [] : [", normed queries and keys"]),
    ...(attentionSoftcap === 0 ? [] : [`, softcap ${short(attentionSoftcap)}`]),
    ...(config.position !== "rope" ? [] : turns ? (slides && config.localRopeTheta > 0 ? [`, RoPE base ${short(config.localRopeTheta)}`] : []) : [", without RoPE"]),
  ].join("");
  return `${attention}; MLP ${intermediateSize}, ${feedForward}`;
}

function norms({ norm, normEps, normPlacement, normOffset, parallelBlock }: ModelConfig): string {
  const where = { pre: "before each half", post: "after each half", output: "on what each half adds", sandwich: "before and after each half" }[normPlacement];
  const name = norm === "rmsnorm" ? `RMSNorm${normOffset === 0 ? "" : ` (weight + ${normOffset})`}` : "LayerNorm";
  return `${name} ${where}, eps ${short(normEps)}${parallelBlock === "none" ? "" : "; attention and MLP side by side"}`;
}

function logits({ logitScale, logitSoftcap }: ModelConfig): string | undefined {
  const parts = [...(logitScale === 1 ? [] : [`times ${short(logitScale)}`]), ...(logitSoftcap === 0 ? [] : [`softcap ${short(logitSoftcap)}`])];
  return parts.length === 0 ? undefined : parts.join(", ");
}

function positions({ position, ropeTheta, ropeScaling, rotaryFraction, ropeInterleaved }: ModelConfig): string {
  if (position !== "rope") return { learned: "learned", sinusoidal: "sinusoidal", alibi: "ALiBi", none: "none" }[position];
  const scaling =
    ropeScaling.kind === "none" ? []
    : [`scaled: ${ropeScaling.kind}${"factor" in ropeScaling ? ` by ${short(ropeScaling.factor)}` : ""}${"originalContextLength" in ropeScaling ? ` from ${ropeScaling.originalContextLength} tokens` : ""}`];
  return ["RoPE", `base ${short(ropeTheta)}`, ...(rotaryFraction === 1 ? [] : [`on ${short(100 * rotaryFraction)}% of a head`]), ...(ropeInterleaved ? ["neighbours paired"] : []), ...scaling].join(", ").replace(", ", " ");
}

function sampling({ temperature, topK, topP, minP, repetitionPenalty, stopIds }: GenerationDefaults): string {
  const named: [string, number | undefined][] = [["temperature", temperature], ["top-k", topK], ["top-p", topP], ["min-p", minP], ["repetition penalty", repetitionPenalty]];
  const parts = named.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]));
  const stops = stopIds === undefined || stopIds.length === 0 ? [] : [`ends at token ${stopIds.join(" or ")}`];
  return [...(parts.length === 0 ? ["no settings of its own"] : parts), ...stops].join(", ");
}

/** `0-4, 6-10, 12`; of many, the first and how many numbers there are. */
function ranges(numbers: readonly number[]): string {
  const found: [number, number][] = [];
  for (const n of numbers) {
    const last = found.at(-1);
    if (last?.[1] === n - 1) last[1] = n;
    else found.push([n, n]);
  }
  const shown = found.length <= 4 ? found : found.slice(0, 2);
  return `${shown.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(", ")}${shown === found ? "" : `, ... (${numbers.length})`}`;
}

const short = (value: number): string => (value > 0 && value < 1e-3 ? value.toExponential() : String(Number(value.toPrecision(6))));
