/**
 * @file The parts of a tokenizer pipeline as `tokenizer.json` writes them: their schemas, and reading them from a stranger's file.
 *
 * `Sequence` is flattened here, so that a pipeline is a plain list and nothing in a file can make a reader recurse without bound. What is not in
 * these lists is refused by name.
 */

import { z } from "zod";
import { RegexError, translateRegex } from "./regex.js";

/** Reports what is wrong with a field; never returns. */
export type Fail = (field: string, message: string) => never;

/** How a stranger's value is read: what is wrong is an error, a key that nobody reads a warning, and both name the field. */
export interface Reader {
  readonly fail: Fail;
  /** The value as the schema has it. */
  readonly check: <T>(schema: z.ZodType<T>, value: unknown, field?: string) => T;
  /** Warns of the keys of an object that are not among the known ones. */
  readonly expectKeys: (value: unknown, known: readonly string[], field: string) => void;
}

const pattern = z.union([z.strictObject({ String: z.string() }), z.strictObject({ Regex: z.string() })]);
export type TextPattern = z.output<typeof pattern>;

const character = z.string().refine((text) => [...text].length === 1, "must be one character");
const behavior = z.enum(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);
export type SplitBehavior = z.output<typeof behavior>;
const prependScheme = z.enum(["first", "never", "always"]);

const simple = <Name extends string>(name: Name) => z.object({ type: z.literal(name) });

const normalizer = z.discriminatedUnion("type", [
  simple("NFC"),
  simple("NFD"),
  simple("NFKC"),
  simple("NFKD"),
  simple("Lowercase"),
  simple("StripAccents"),
  simple("Nmt"),
  simple("ByteLevel"),
  z.object({ type: z.literal("Strip"), strip_left: z.boolean(), strip_right: z.boolean() }),
  z.object({ type: z.literal("Prepend"), prepend: z.string() }),
  z.object({ type: z.literal("Replace"), pattern, content: z.string() }),
  z.object({ type: z.literal("Precompiled"), precompiled_charsmap: z.base64().nullable() }),
  z.object({
    type: z.literal("BertNormalizer"),
    clean_text: z.boolean(),
    handle_chinese_chars: z.boolean(),
    strip_accents: z.boolean().nullable().default(null),
    lowercase: z.boolean(),
  }),
]);
export type NormalizerStep = z.output<typeof normalizer>;

const metaspace = {
  type: z.literal("Metaspace"),
  replacement: character.default("▁"),
  // Before version 0.15 a flag said what the scheme says now.
  add_prefix_space: z.boolean().optional(),
  prepend_scheme: prependScheme.optional(),
  split: z.boolean().optional(),
};
const byteLevel = {
  type: z.literal("ByteLevel"),
  add_prefix_space: z.boolean().default(true),
  trim_offsets: z.boolean().default(true),
  use_regex: z.boolean().default(true),
};

const preTokenizer = z.discriminatedUnion("type", [
  z.object(byteLevel),
  z.object(metaspace),
  z.object({ type: z.literal("Split"), pattern, behavior, invert: z.boolean().default(false) }),
  z.object({ type: z.literal("Digits"), individual_digits: z.boolean().default(false) }),
  z.object({ type: z.literal("Punctuation"), behavior: behavior.default("Isolated") }),
  simple("Whitespace"),
  simple("WhitespaceSplit"),
  simple("BertPreTokenizer"),
  z.object({ type: z.literal("CharDelimiterSplit"), delimiter: character }),
  z.object({ type: z.literal("FixedLength"), length: z.int().min(1).max(2 ** 20) }),
]);
export type PreTokenizerStep = z.output<typeof preTokenizer>;

const decoder = z.discriminatedUnion("type", [
  z.object(byteLevel),
  z.object(metaspace),
  simple("ByteFallback"),
  simple("Fuse"),
  z.object({ type: z.literal("Strip"), content: character, start: z.int().min(0).max(1000), stop: z.int().min(0).max(1000) }),
  z.object({ type: z.literal("Replace"), pattern, content: z.string() }),
  z.object({ type: z.literal("WordPiece"), prefix: z.string(), cleanup: z.boolean() }),
  z.object({ type: z.literal("BPEDecoder"), suffix: z.string().min(1) }),
  z.object({ type: z.literal("CTC"), pad_token: z.string().min(1), word_delimiter_token: z.string().min(1), cleanup: z.boolean() }),
]);
export type DecoderStep = z.output<typeof decoder>;

const templatePiece = z.union([
  z.strictObject({ SpecialToken: z.object({ id: z.string(), type_id: z.int().min(0) }) }),
  z.strictObject({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: z.int().min(0) }) }),
]);
const namedId = z.tuple([z.string(), z.int().min(0)]);

const postProcessor = z.discriminatedUnion("type", [
  z.object(byteLevel),
  z.object({
    type: z.literal("TemplateProcessing"),
    single: z.array(templatePiece).max(1000),
    pair: z.array(templatePiece).max(1000).default([]),
    special_tokens: z.record(z.string(), z.object({ id: z.string(), ids: z.array(z.int().min(0)).max(1000), tokens: z.array(z.string()) })),
  }),
  z.object({ type: z.literal("BertProcessing"), sep: namedId, cls: namedId }),
  z.object({ type: z.literal("RobertaProcessing"), sep: namedId, cls: namedId, trim_offsets: z.boolean().default(true), add_prefix_space: z.boolean().default(true) }),
]);
export type PostProcessorStep = z.output<typeof postProcessor>;

interface StepOf {
  readonly normalizer: NormalizerStep;
  readonly pre_tokenizer: PreTokenizerStep;
  readonly decoder: DecoderStep;
  readonly post_processor: PostProcessorStep;
}
export type StepKind = keyof StepOf;
export type Step<Kind extends StepKind> = StepOf[Kind];

/** The keys of each type of a union of steps. */
const keysOf = ({ options }: { readonly options: readonly { readonly shape: Readonly<Record<string, unknown>> & { readonly type: z.ZodLiteral<string> } }[] }) =>
  new Map(options.map(({ shape }) => [shape.type.value, Object.keys(shape)]));

interface StepSchema<Kind extends StepKind> {
  readonly schema: z.ZodType<Step<Kind>>;
  readonly keys: ReadonlyMap<string, readonly string[]>;
  /** Where a `Sequence` has its steps. */
  readonly list: string;
}

const kinds: { readonly [Kind in StepKind]: StepSchema<Kind> } = {
  normalizer: { schema: normalizer, keys: keysOf(normalizer), list: "normalizers" },
  pre_tokenizer: { schema: preTokenizer, keys: keysOf(preTokenizer), list: "pretokenizers" },
  decoder: { schema: decoder, keys: keysOf(decoder), list: "decoders" },
  post_processor: { schema: postProcessor, keys: keysOf(postProcessor), list: "processors" },
};

const maxSteps = 64;
const maxDepth = 8;

/** The steps of one part of the file in order, none where it is null. */
export function readSteps<Kind extends StepKind>(kind: Kind, value: unknown, { fail, check, expectKeys }: Reader): Step<Kind>[] {
  const { schema, keys, list } = kinds[kind];
  const steps: Step<Kind>[] = [];
  const read = (part: unknown, field: string, depth: number): void => {
    if (depth > maxDepth) fail(field, "sequences are nested too deeply.");
    const { type } = check(z.object({ type: z.string() }), part, field);
    if (type === "Sequence") {
      const items = (part as Record<string, unknown>)[list];
      if (!Array.isArray(items)) fail(`${field}.${list}`, "must be a list.");
      expectKeys(part, ["type", list], field);
      for (const [i, item] of (items as unknown[]).entries()) read(item, `${field}.${list}[${i}]`, depth + 1);
      return;
    }
    if (steps.length >= maxSteps) fail(field, `there are more than ${maxSteps} steps.`);
    const known = keys.get(type) ?? fail(`${field}.type`, `${JSON.stringify(type.slice(0, 60))} is not supported; ${[...keys.keys()].join(", ")} and Sequence are.`);
    const step = check<Step<Kind>>(schema, part, field);
    expectKeys(part, known, field);
    checkPattern(step, field, fail);
    steps.push(step);
  };
  if (value !== null && value !== undefined) read(value, kind, 0);
  return steps;
}

/** That an expression can be written in JavaScript is found out while the file is read, where its field can be named. */
function checkPattern(step: Step<StepKind>, field: string, fail: Fail): void {
  if (!("pattern" in step) || !("Regex" in step.pattern)) return;
  try {
    translateRegex(step.pattern.Regex);
  } catch (error) {
    if (!(error instanceof RegexError)) throw error;
    fail(`${field}.pattern.Regex`, `not supported: ${error.message}, at character ${error.index}.`);
  }
}

/** Steps as the file writes them: null, the one, or a sequence. */
export function writeSteps<Kind extends StepKind>(kind: Kind, steps: readonly Step<Kind>[]): Step<Kind> | { type: "Sequence" } | null {
  if (steps.length <= 1) return steps[0] ?? null;
  return { type: "Sequence", [kinds[kind].list]: steps };
}

/** What a Metaspace step means, whichever way it is written. */
export function metaspaceOf({ replacement, add_prefix_space, prepend_scheme, split }: z.output<z.ZodObject<typeof metaspace>>): {
  replacement: string;
  prepend: z.output<typeof prependScheme>;
  split: boolean;
} {
  return { replacement, prepend: add_prefix_space === false ? "never" : (prepend_scheme ?? "always"), split: split ?? true };
}
