/** @file A model in one screen: what it is made of, layer by layer where layers differ, and what it is used with. */

import type { GenerationDefaults } from "../checkpoint/generation.js";
import type { FeedForwardSpec, LayerSpec, MixerSpec, ModelConfig, RopeSpec } from "../model/index.js";
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
    ["hidden size", `${config.hiddenSize}${times("; embedding", config.embedding.scale)}${times("; residuals", config.layers[0].residualScale)}`],
    ["norms", norms(config.layers[0])],
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
    `embedding ${compact(embedding)}${config.head.tied ? " (also the output)" : `, output ${compact(embedding)}`}`,
    // A format without names for layers says only the whole.
    ...(sizes.length === config.layers.length ? [`${compact(least)}${most === least ? "" : ` to ${compact(most)}`} in each of ${config.layers.length} layers`] : []),
  ];
  const rest = elsewhere - embedding * (config.head.tied ? 1 : 2);
  if (config.embedding.positions === "learned" && rest > 0) parts.splice(1, 0, `positions ${compact(config.contextLength * config.hiddenSize)}`);
  return `${compact(total)}: ${parts.join(", ")}`;
}

/** Layers that are alike, as in `layers 0-4, 6-10` with what they are. */
function layerGroups({ layers }: ModelConfig): { readonly layers: string; readonly text: string }[] {
  const usual = usualRope(layers);
  const groups = new Map<string, number[]>();
  for (const [i, layer] of layers.entries()) {
    const text = `${describeMixer(layer.mixer, usual)}${describeFeedForward(layer.feedForward)}`;
    groups.set(text, [...(groups.get(text) ?? []), i]);
  }
  return [...groups].map(([text, layers]) => ({ layers: `layer${layers.length === 1 ? "" : "s"} ${ranges(layers)}`, text }));
}

function describeMixer(mixer: MixerSpec, usual: RopeSpec | undefined): string {
  if (mixer.kind !== "attention") return settings(mixer);
  const { numHeads, numKeyValueHeads, headSize, window, queryKeyNorm, softcap, positions } = mixer;
  return [
    `attention${window > 0 ? ` over the last ${window} tokens` : ""}: ${numHeads} heads of ${headSize}`,
    ...(numKeyValueHeads === numHeads ? [] : [` (${numKeyValueHeads} for keys and values)`]),
    ...(queryKeyNorm.kind === "none" ? [] : [", normed queries and keys"]),
    ...(softcap === 0 ? [] : [`, softcap ${short(softcap)}`]),
    ...(usual === undefined ? [] : positions.kind !== "rope" ? [", without RoPE"] : positions.theta === usual.theta ? [] : [`, RoPE base ${short(positions.theta)}`]),
  ].join("");
}

const gates = { silu: "swiglu", gelu: "geglu", geluTanh: "gegluTanh" } as const;

function describeFeedForward(feedForward: FeedForwardSpec): string {
  switch (feedForward.kind) {
    case "none":
      return "";
    case "mlp":
      return `; MLP ${feedForward.intermediateSize}, ${feedForward.activation}`;
    case "gated":
      return `; MLP ${feedForward.intermediateSize}, ${gates[feedForward.activation]}`;
    default:
      return `; ${settings(feedForward)}`;
  }
}

/** A part of a kind that is not known here, by its settings. */
function settings({ kind, ...rest }: { readonly kind: string }): string {
  const shown = Object.entries(rest).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return shown.length === 0 ? kind : `${kind}: ${shown.join(", ")}`;
}

/** The angles of the layers that see everything, or of the first that turns at all. */
function usualRope(layers: readonly LayerSpec[]): RopeSpec | undefined {
  const turning = layers.flatMap(({ mixer }) => (mixer.kind === "attention" && mixer.positions.kind === "rope" ? [{ window: mixer.window, rope: mixer.positions }] : []));
  return (turning.find(({ window }) => window === 0) ?? turning.at(0))?.rope;
}

function norms({ norm, normPlacement }: LayerSpec): string {
  const where = {
    pre: "before each half", post: "after each half", output: "on what each half adds", sandwich: "before and after each half",
    parallel: "before each half", parallel2: "before each half",
  }[normPlacement];
  const name = norm.kind === "layernorm" ? "LayerNorm" : `RMSNorm${norm.offset === 0 ? "" : ` (weight + ${norm.offset})`}`;
  return `${name} ${where}, eps ${short(norm.eps)}${normPlacement.startsWith("parallel") ? "; attention and MLP side by side" : ""}`;
}

function times(what: string, factor: number): string {
  return factor === 1 ? "" : `${what} times ${short(factor)}`;
}

function logits({ head: { scale, softcap } }: ModelConfig): string | undefined {
  const parts = [...(scale === 1 ? [] : [`times ${short(scale)}`]), ...(softcap === 0 ? [] : [`softcap ${short(softcap)}`])];
  return parts.length === 0 ? undefined : parts.join(", ");
}

function positions({ embedding, layers }: ModelConfig): string {
  const rope = usualRope(layers);
  if (rope === undefined) return layers.some(({ mixer }) => mixer.kind === "attention" && mixer.positions.kind === "alibi") ? "ALiBi" : embedding.positions;
  const { theta, scaling, fraction, interleaved } = rope;
  const scaled =
    scaling.kind === "none"
      ? []
      : [`scaled: ${scaling.kind}${"factor" in scaling ? ` by ${short(scaling.factor)}` : ""}${"originalContextLength" in scaling ? ` from ${scaling.originalContextLength} tokens` : ""}`];
  const parts = ["RoPE", `base ${short(theta)}`, ...(fraction === 1 ? [] : [`on ${short(100 * fraction)}% of a head`]), ...(interleaved ? ["neighbours paired"] : []), ...scaled];
  return parts.join(", ").replace(", ", " ");
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
