/**
 * @file A model as it lies in files, whatever they are: a folder of Hugging Face's, a training run, a GGUF file, a llama2.c `.bin`. Opening one reads
 * its configuration and the heads of its files; weights are read when a model is filled from it (`loadWeights`).
 *
 * What a file is, its first bytes say, not its name; where the two disagree, that is an error, since something went wrong before.
 */

import { readFile, readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { z } from "zod";
import { ChatTemplate } from "../data/index.js";
import { CheckpointError, ConfigError, systemErrorCode } from "../errors.js";
import { countParameters, type ModelConfig } from "../model/index.js";
import { Tokenizer, tokenizerFromGguf } from "../tokenizer/index.js";
import { readableFolder } from "./atomic.js";
import { uniform, type Family, type TensorPlan } from "./families/index.js";
import { llama } from "./families/llama.js";
import { FileBytes, cannotOpen } from "./file-bytes.js";
import { openFolderWeights, pickleError, readModelConfig, resolveModelFolder } from "./folder.js";
import { readGeneration, type GenerationDefaults } from "./generation.js";
import { ignoredInGguf, readGgufConfig } from "./gguf/config.js";
import { shortest } from "./gguf/dialect.js";
import { Gguf, type GgufMetadata } from "./gguf/index.js";
import { ggufPlans } from "./gguf/names.js";
import { hubHint } from "./hub/index.js";
import { Llama2c } from "./llama2c.js";
import { Safetensors, indexFileName } from "./safetensors.js";
import type { StoredTensor, WeightFile } from "./stored-tensor.js";
import { tiedHead } from "./tied-head.js";
import { warnOnce } from "../warn.js";

export interface ModelSource extends AsyncDisposable {
  /** The folder or file. */
  readonly path: string;
  readonly format: ModelFormat;
  readonly config: ModelConfig;
  readonly family: Family;
  readonly generation: GenerationDefaults;
  readonly weights: WeightFile;
  /** Where each parameter lies in `weights`, of a model with these. */
  plans(parameters: ReadonlyMap<string, readonly number[]>): TensorPlan[];
  /** The tensor that a plan names. */
  find(name: string): StoredTensor | undefined;
  /** Whether a tensor may be there beside those of the plans. */
  isIgnored(name: string): boolean;
  /** What its files say and Hornbook does not act on, and other things that a user should know, in words. */
  readonly warnings: readonly string[];
  /** The tokenizer that lies with it. Throws TokenizerError for one that cannot be read. */
  tokenizer(): Promise<Tokenizer | undefined>;
  /** What kind of tokenizer that is, for people, without reading it whole. */
  tokenizerKind(): Promise<string | undefined>;
  /** How a conversation with it becomes text, where it has such a template. Throws DataError for one that cannot be. */
  chatTemplate(): Promise<ChatTemplate | undefined>;
}

const formats = { folder: "a model's folder", safetensors: "safetensors", gguf: "GGUF", llama2c: "a llama2.c checkpoint" } as const;
export type ModelFormat = Exclude<keyof typeof formats, "safetensors">;

/**
 * Opens a model: a folder that transformers or Hornbook saved, a training run (its best checkpoint, else its last), a `.safetensors` file with its
 * `config.json` beside it, a GGUF file, a llama2.c `.bin` with its tokenizer beside it. Close it (or `await using`).
 *
 * @throws CheckpointError `no-such-file`, `not-a-model`; `pickle`; `not-what-it-says` for a name that says another format than the content;
 * `unknown-architecture`, naming those that are known; `bad-config`, `unsupported-config`, `unsupported-format`; `bad-checkpoint`.
 */
export async function openModel(path: string): Promise<ModelSource> {
  const place = await readableFolder(path);
  const info = await stat(place).catch(async (cause: unknown) => {
    const hint = systemErrorCode(cause) === "ENOENT" ? await hubHint(path) : undefined;
    throw hint === undefined ? cannotOpen(path, cause) : new CheckpointError({ file: path }, "there is no such file or folder.", { code: "no-such-file", hint, cause });
  });
  const source = info.isDirectory() ? await openFolder(await resolveModelFolder(place)) : await openFile(place);
  try {
    checkSize(source);
    for (const warning of source.warnings) warnOnce(warning);
    return source;
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

async function openFile(path: string): Promise<ModelSource> {
  const format = await recognise(path);
  if (format === "llama2c") return openLlama2c(path);
  if (format === "gguf") return openGguf(path);
  if (!(await readdir(dirname(path))).includes("config.json")) {
    throw new CheckpointError({ file: path }, `this is ${format === "folder" ? "JSON" : formats[format]}, and beside it there is no config.json that says what model it is of.`, {
      code: "not-a-model",
      hint: "Name the folder of a model that was saved or downloaded whole.",
    });
  }
  return openFolder(dirname(path), format === "safetensors" ? path : undefined);
}

/** Throws CheckpointError for a configuration of far more parameters than there are: what it would ask memory for is not in the files. */
function checkSize({ path, config, weights, warnings }: ModelSource): void {
  const described = describedParameters(path, config);
  let there = 0;
  for (const { shape } of weights.tensors.values()) there += shape.reduce((product, length) => product * length, 1);
  if (described <= 2 * there + 2 ** 20) return;
  throw new CheckpointError({ file: path }, `the configuration describes a model of ${described} parameters, and the tensors have ${there} elements.`, {
    code: "bad-config",
    ...(warnings.length > 0 && { hint: warnings.join(" ") }),
  });
}

function describedParameters(path: string, config: ModelConfig): number {
  try {
    return countParameters(config);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new CheckpointError({ file: path }, `the configuration describes a model that cannot be: ${cause.message}`, { code: "bad-config", cause });
  }
}

/** What a file is. Throws CheckpointError for what is nothing that holds a model, or nothing that its name says. */
async function recognise(path: string): Promise<keyof typeof formats> {
  await using file = await FileBytes.open(path);
  const start = await file.read(0, Math.min(file.size, 28));
  const extension = extname(path).toLowerCase();
  const found = formatOf(start, file.size);
  const named = ({ ".safetensors": "safetensors", ".gguf": "gguf", ".json": "folder" } as const)[extension];
  if (found !== undefined && (named === undefined || named === found)) return found;
  if (isPickle(start)) throw pickleError(path);
  if (found !== undefined && named !== undefined) {
    throw new CheckpointError({ file: path }, `its name says ${formats[named]}, and its content is ${formats[found]}.`, {
      code: "not-what-it-says",
      hint: "Give it the name of what it is, or look where it came from.",
    });
  }
  // A file by such a name that is none, or is damaged: opening it says more.
  if (named === "safetensors" || named === "gguf") return named;
  if (extension === ".bin" && Llama2c.isPlausible(start)) return "llama2c";
  if (/^\.(bin|pt|pth|ckpt|pkl)$/.test(extension)) throw pickleError(path);
  throw new CheckpointError({ file: path }, `this is no file that holds a model: neither ${Object.values(formats).slice(1).join(", nor ")}.`, { code: "not-a-model" });
}

function formatOf(start: Uint8Array, fileBytes: number): keyof typeof formats | undefined {
  const text = Buffer.from(start).toString("latin1");
  if (text.startsWith("GGUF")) return "gguf";
  if (start.length >= 9 && text[8] === "{" && new DataView(start.buffer).getBigUint64(0, true) <= BigInt(fileBytes - 8)) return "safetensors";
  if (/^\s*\{/.test(text)) return "folder";
  return Llama2c.recognises(start, fileBytes) ? "llama2c" : undefined;
}

/** torch.save makes zip files, and, long ago, bare pickles (protocol 2 and later begin with 0x80). */
function isPickle(start: Uint8Array): boolean {
  return Buffer.from(start.subarray(0, 4)).equals(Buffer.from("PK\x03\x04")) || (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5);
}

/** A folder, or one safetensors file of it. */
async function openFolder(folder: string, file?: string): Promise<ModelSource> {
  const { config: said, family, generation, warnings } = await readModelConfig(folder);
  // One shard is not the model.
  const isShard = file !== undefined && (await stat(join(folder, indexFileName)).catch(() => undefined)) !== undefined;
  const weights = file === undefined || isShard ? await openFolderWeights(folder) : await Safetensors.open(file);
  const named = (name: string) => weights.tensors.get(name) ?? weights.tensors.get(name.startsWith(family.prefix) ? name.slice(family.prefix.length) : name);
  const tied = await tiedHead(join(folder, "config.json"), family, said, named).catch(async (error: unknown) => {
    await weights.close();
    throw error;
  });
  const config = tied?.isTied === false ? { ...said, head: { ...said.head, tied: false } } : said;
  const isTied = tied?.isTied === true;
  return {
    path: folder,
    format: "folder",
    config,
    family,
    generation,
    weights,
    warnings: [...warnings, ...(tied?.warnings ?? [])],
    plans: (parameters) => family.tensors(config, parameters),
    // Of two that are one, a file may hold either.
    find: (name) => named(name) ?? (isTied && name === tied.embedding ? named(tied.head) : undefined),
    isIgnored: (name) => family.ignored?.test(name) === true || (isTied && name === tied.head),
    tokenizer: () => tokenizerIn(folder, tokenizerFiles),
    tokenizerKind: () => tokenizerKindIn(folder, tokenizerFiles),
    chatTemplate: () => ChatTemplate.fromFolder(folder),
    [Symbol.asyncDispose]: () => weights.close(),
  };
}

async function openGguf(path: string): Promise<ModelSource> {
  const weights = await Gguf.open(path);
  try {
    const { config, family, warnings } = await readGgufConfig(weights);
    const { generation, warnings: more } = samplingIn(weights.metadata);
    return {
      path: weights.path,
      format: "gguf",
      config,
      family,
      generation: { ...stopIdsIn(weights.metadata, config), ...generation },
      weights,
      plans: (parameters) => ggufPlans(family.gguf, config, parameters),
      find: (name) => weights.tensors.get(name),
      isIgnored: (name) => ignoredInGguf.test(name),
      warnings: [...warnings, ...more],
      tokenizer: () => Promise.resolve().then(() => (kindInGguf(weights.metadata) === undefined ? undefined : tokenizerFromGguf(weights.metadata))),
      tokenizerKind: () => Promise.resolve(kindInGguf(weights.metadata)),
      // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is the promise's
      chatTemplate: async () => chatTemplateIn(weights.metadata),
      [Symbol.asyncDispose]: () => weights.close(),
    };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** The tokens that end a text, a turn, a message; an id beyond the vocabulary is none, as in llama.cpp. */
function stopIdsIn(metadata: GgufMetadata, { vocabSize }: ModelConfig): GenerationDefaults {
  const keys = ["eos", "eot", "eom"].map((name) => `tokenizer.ggml.${name}_token_id`);
  const ids = keys.flatMap((key) => (metadata.has(key) ? [metadata.number(key)] : []));
  const stopIds = [...new Set(ids)].filter((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
  return stopIds.length === 0 ? {} : { stopIds };
}

/** How a file advises to sample (`general.sampling.*`), in the words of generation_config.json; the rest is told. */
function samplingIn(metadata: GgufMetadata): { generation: GenerationDefaults; warnings: string[] } {
  const names = new Map([["temp", "temperature"], ["penalty_repeat", "repetition_penalty"]]);
  const said = [...metadata.values].flatMap(([key, { type, value }]) => {
    const name = /^general\.sampling\.(\w+)$/.exec(key)?.[1];
    return name === undefined ? [] : [[names.get(name) ?? name, type === "float32" ? shortest(value) : typeof value === "bigint" ? Number(value) : value] as const];
  });
  return said.length === 0 ? { generation: {}, warnings: [] } : readGeneration(metadata.file, { do_sample: true, ...Object.fromEntries(said) }, { path: metadata.file, stopIds: undefined });
}

function chatTemplateIn(metadata: GgufMetadata): ChatTemplate | undefined {
  const values = new Map([...metadata.values].map(([key, { value }]) => [key, value]));
  const tokens = metadata.has("tokenizer.ggml.tokens") ? metadata.strings("tokenizer.ggml.tokens") : undefined;
  return ChatTemplate.fromGguf(values, (id) => (tokens !== undefined && id < tokens.length ? tokens.at(id) : undefined), { file: metadata.file });
}

async function openLlama2c(path: string): Promise<ModelSource> {
  const weights = await Llama2c.open(path);
  return {
    path,
    format: "llama2c",
    config: weights.config,
    family: uniform(llama),
    // Its tokenizers are Llama's, where 2 ends a text, and its stories end with 1, which begins the next.
    generation: { stopIds: [1, 2] },
    weights,
    plans: (parameters) => weights.plans(parameters),
    find: (name) => weights.tensors.get(name),
    isIgnored: () => false,
    warnings: [],
    tokenizer: () => tokenizerIn(dirname(path), llama2cTokenizers(weights.config)),
    tokenizerKind: () => tokenizerKindIn(dirname(path), llama2cTokenizers(weights.config)),
    chatTemplate: () => Promise.resolve(undefined),
    [Symbol.asyncDispose]: () => weights.close(),
  };
}

/** As in `gpt2 (smollm), 49152 tokens`. */
function kindInGguf(metadata: GgufMetadata): string | undefined {
  const kind = metadata.text("tokenizer.ggml.model", "no_vocab");
  if (kind === "no_vocab" || kind === "none") return undefined;
  return `${kind} (${metadata.text("tokenizer.ggml.pre", "default")}), ${metadata.strings("tokenizer.ggml.tokens").length} tokens`;
}

/** Of a folder, the one that says most first. */
const tokenizerFiles = [/^tokenizer\.json$/, /^tokenizer\.model$/, /^spiece\.model$/, /\.tiktoken$/, /^vocab\.json$/, /^vocab\.txt$/];
/** llama2.c calls it `tokenizer.bin`, and with a vocabulary of its own `tok512.bin`. */
const llama2cTokenizers = ({ vocabSize }: ModelConfig): RegExp[] => [new RegExp(`^tok${vocabSize}\\.bin$`), /^tokenizer\.bin$/, ...tokenizerFiles];

async function tokenizerFileIn(folder: string, names: readonly RegExp[]): Promise<string | undefined> {
  const there = await readdir(folder);
  const found = names.map((name) => there.find((file) => name.test(file))).find((file) => file !== undefined);
  return found && join(folder, found);
}

async function tokenizerIn(folder: string, names: readonly RegExp[]): Promise<Tokenizer | undefined> {
  const file = await tokenizerFileIn(folder, names);
  return file === undefined ? undefined : Tokenizer.load(file);
}

/** As in `BPE, 49152 tokens`, or the name of a file that says less of itself. */
async function tokenizerKindIn(folder: string, names: readonly RegExp[]): Promise<string | undefined> {
  const file = await tokenizerFileIn(folder, names);
  if (file === undefined || basename(file) !== "tokenizer.json") return file && basename(file);
  const model = z.object({ model: z.object({ type: z.string().default("BPE"), vocab: z.custom<object>((vocab) => typeof vocab === "object" && vocab !== null) }) });
  const parsed = model.safeParse(await readFile(file, "utf8").then((text): unknown => JSON.parse(text)).catch(() => undefined));
  return parsed.success ? `${parsed.data.model.type}, ${Object.keys(parsed.data.model.vocab).length} tokens` : "tokenizer.json, which cannot be read";
}
