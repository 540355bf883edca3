/**
 * @file Generation: the model's scores for the next token, a choice, and the choice becomes part of what it reads next.
 *
 * Nothing outlives the loop: each token's tensors belong to a scope, and the cache goes when the loop ends, by `break` as well.
 */

import { ConfigError, DataError, TokenizerError } from "../errors.js";
import type { Decoder, StateDType, Taps } from "../model/index.js";
import { generationSettings, type GenerationSettings, type GenerationSettingsInput } from "./options.js";
import type { CachedContext } from "./cached-context.js";
import { Scheduler } from "./scheduler.js";
import { Sequence, encodePrompt, type FinishReason, type Piece, type TextCodec } from "./sequence.js";

/** A text (for which a tokenizer is needed), or token ids. */
export type Prompt = string | ArrayLike<number>;

export type GenerateOptions = GenerationSettingsInput & {
  /** Without one the prompt is ids, and pieces have no text. */
  readonly tokenizer?: TextCodec | undefined;
  /** Ends the loop: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** For one sequence: what was read of an earlier one, and is not read again where this one begins alike. The caller disposes of it. */
  readonly context?: CachedContext | undefined;
  /** Listens to activations while the model reads and writes. */
  readonly taps?: Taps | undefined;
} & (
    | { readonly prompt: string; readonly ids?: never; readonly prompts?: never }
    | { readonly ids: ArrayLike<number>; readonly prompt?: never; readonly prompts?: never }
    | { readonly prompts: readonly Prompt[]; readonly prompt?: never; readonly ids?: never }
  );

/** One sequence, complete. */
export interface Generation {
  /** What was read: the prompt's ids, those cut from it left out. */
  readonly promptIds: readonly number[];
  /** The new ids; the stop token, where one ended it, is the last. */
  readonly ids: readonly number[];
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly stoppedBy?: string | number;
  readonly droppedTokens: number;
  /** Bytes of the keys and values in the end; of all rows together in a batch. */
  readonly cacheBytes: number;
  readonly logprobs?: readonly number[];
  readonly topLogprobs?: readonly NonNullable<Piece["topLogprobs"]>[];
  /** New tokens a second, reading the prompt included; of all rows together in a batch. */
  readonly tokensPerSecond: number;
}

/**
 * Continues the prompt (or each of `prompts`), a piece a token as soon as it is chosen. `break`, or the signal, ends it and frees everything.
 *
 * @throws ConfigError for a setting that cannot be (it names the field), or, code `context-exceeded`, a prompt longer than the context;
 * DataError `empty-prompt`; TokenizerError `token-out-of-range` for an id outside the vocabulary.
 */
export async function* generate(model: Decoder, options: GenerateOptions): AsyncGenerator<Piece, void, void> {
  const settings = generationSettings(options);
  yield* run(model, sequencesOf(model, options, settings), settings, options);
}

/** As `generate`, to its end, for one prompt. */
export async function generateText(model: Decoder, options: GenerateOptions): Promise<Generation> {
  if (options.prompts !== undefined) throw new ConfigError("prompts", "generateText continues one prompt.", { hint: "Use generateBatch." });
  return (await complete(model, options))[0];
}

/** Continues all prompts side by side; the results in their order. Throws as `generate`. */
export async function generateBatch(model: Decoder, options: GenerateOptions & { readonly prompts: readonly Prompt[] }): Promise<Generation[]> {
  return complete(model, options);
}

/** The bytes of the state are the value returned. */
async function* run(model: Decoder, sequences: readonly Sequence[], settings: GenerationSettings, options: GenerateOptions): AsyncGenerator<Piece, number, void> {
  const { signal, context, taps } = options;
  const { dtype, prefillChunk } = settings;
  const cache = settings.cache === true ? dtype : settings.cache;
  if (context !== undefined && (sequences.length !== 1 || cache === false)) throw new ConfigError("context", "it is for one sequence, and for use with a cache.");
  // The first room is for a reply of usual length.
  const positions = Math.max(...sequences.map(({ ids, maxLength }) => Math.min(maxLength, ids.length + 256)));
  const held = context?.open(model, sequences[0].ids, { dtype, kept: cache as StateDType, positions });
  const scheduler = new Scheduler(model, { dtype, cache, prefillChunk, taps, slots: sequences.length, positions, state: held?.state });
  try {
    for (const sequence of sequences) scheduler.add(sequence, held && { slot: held.slot, onPromptRead: () => context!.promptRead() });
    while (scheduler.size > 0) {
      signal?.throwIfAborted();
      for (const piece of await scheduler.step()) {
        context?.follow(sequences[0]);
        yield piece;
        signal?.throwIfAborted();
      }
    }
    return scheduler.stateBytes;
  } catch (error) {
    // What a failed pass left in the state is not known.
    if (signal?.aborted !== true) context?.dispose();
    throw error;
  } finally {
    scheduler.dispose();
    context?.follow(sequences[0]);
  }
}

async function complete(model: Decoder, options: GenerateOptions): Promise<Generation[]> {
  const settings = generationSettings(options);
  const sequences = sequencesOf(model, options, settings);
  const pieces = sequences.map((): Piece[] => []);
  const began = performance.now();
  const running = run(model, sequences, settings, options);
  let next = await running.next();
  for (; next.done !== true; next = await running.next()) pieces[next.value.row].push(next.value);
  const cacheBytes = next.value;
  const tokensPerSecond = pieces.flat().length / ((performance.now() - began) / 1000);
  return sequences.map(({ row, promptIds }) => {
    const own = pieces[row];
    const { finishReason, stoppedBy, droppedTokens } = own[own.length - 1];
    return {
      promptIds,
      ids: own.map(({ id }) => id),
      text: own.map(({ text }) => text).join(""),
      finishReason: finishReason!,
      ...(stoppedBy !== undefined && { stoppedBy }),
      droppedTokens,
      cacheBytes,
      ...(settings.logprobs !== undefined && { logprobs: own.map(({ logprob }) => logprob!), topLogprobs: own.map(({ topLogprobs }) => topLogprobs!) }),
      tokensPerSecond,
    };
  });
}

function sequencesOf(model: Decoder, options: GenerateOptions, settings: GenerationSettings): Sequence[] {
  const { prompt, ids, prompts = [prompt ?? ids ?? []], tokenizer } = options;
  const { contextLength } = model.config;
  return prompts.map((given, row) => {
    const all = promptIds(given, tokenizer, model.config.vocabSize, settings.addBos);
    if (all.length > contextLength && !settings.truncatePrompt) {
      throw new ConfigError("prompt", `its ${all.length} tokens do not fit the model's context of ${contextLength}.`, {
        code: "context-exceeded",
        hint: "Shorten it, or set truncatePrompt to keep its end.",
      });
    }
    const kept = all.slice(-contextLength);
    return new Sequence(row, kept, all.length - kept.length, contextLength, settings, tokenizer, typeof given === "string");
  });
}

/** The checked ids of a prompt. */
function promptIds(prompt: Prompt, tokenizer: TextCodec | undefined, vocabSize: number, addBos: boolean | undefined): number[] {
  if (typeof prompt === "string" && tokenizer === undefined) {
    throw new ConfigError("tokenizer", "a prompt of text needs one.", { hint: "Give `tokenizer`, or token ids." });
  }
  const ids = Array.from(typeof prompt === "string" ? encodePrompt(tokenizer!, prompt, addBos) : prompt);
  if (ids.length === 0) {
    const first = tokenizer?.bosId ?? tokenizer?.eosId;
    if (first === undefined) {
      throw new DataError({}, "the prompt is empty, and there is no token that begins a text.", { code: "empty-prompt", hint: "Give at least one token." });
    }
    ids.push(first);
  }
  for (const [i, id] of ids.entries()) {
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw new TokenizerError({}, `token id ${id} at position ${i} of the prompt is outside the model's vocabulary of ${vocabSize}.`, {
      code: "token-out-of-range",
      hint: typeof prompt === "string" ? "The tokenizer is not this model's." : `Ids go from 0 to ${vocabSize - 1}.`,
    });
  }
  return ids;
}
