/**
 * @file One sequence as it grows: its ids, its text, its randomness, and when it ends. Each token becomes a piece.
 */

import { mostBest } from "../tensor/index.js";
import { Random } from "../tensor/random.js";
import type { Tokenizer } from "../tokenizer/index.js";
import type { GenerationSettings } from "./options.js";
import { logitBias, newTokenPenalty, repetitionPenalty, type LogitProcessor } from "./logit-processors.js";
import type { Scores } from "./outcome.js";
import { logProbabilities, sample, sampleBest } from "./sampler.js";
import { StopStrings } from "./stop-strings.js";

/** What generation needs of a tokenizer. */
export type TextCodec = Pick<Tokenizer, "vocabSize" | "bosId" | "eosId" | "encode" | "decodeStream"> & Partial<Pick<Tokenizer, "addsBos">>;

/** The ids of a text to go on with: it begins as the model has learned that texts begin, or as asked for; what would end it is left out, since it goes on. */
export function encodePrompt(tokenizer: TextCodec, text: string, addBos = tokenizer.addsBos ?? false): Int32Array {
  const ids = tokenizer.encode(text);
  const { bosId } = tokenizer;
  return addBos && bosId !== undefined ? Int32Array.of(bosId, ...ids) : ids;
}

/** Why it ended: a stop string or token; `maxTokens`; the context is full. */
export type FinishReason = "stop" | "length" | "context";

/** One new token of one sequence. */
export interface Piece {
  /** Which of the prompts it goes on with. */
  readonly row: number;
  readonly id: number;
  /** The text that is certain with this token: whole characters, nothing of a stop string. The last piece has all that was held back. */
  readonly text: string;
  /** With `logprobs`: the logarithm of its probability in nats, by the model's own distribution, before temperature and filters. */
  readonly logprob?: number;
  /** With `logprobs`: the most probable tokens of that distribution, most probable first. */
  readonly topLogprobs?: readonly { readonly id: number; readonly logprob: number }[];
  /** Tokens of the sequence that stand outside the context by now: cut from the prompt, or fallen out when it slid. */
  readonly droppedTokens: number;
  /** On the last piece of its row. */
  readonly finishReason?: FinishReason;
  /** The stop string or token that ended the row. */
  readonly stoppedBy?: string | number;
}

/** The processors that the settings ask for, in the order of transformers and OpenAI's API. */
function processorsOf(settings: GenerationSettings): LogitProcessor[] {
  const { repetitionPenalty: penalty, presencePenalty: presence, frequencyPenalty: frequency, logitBias: bias, processors } = settings;
  return [
    ...(Object.keys(bias).length > 0 ? [logitBias(new Map(Object.entries(bias).map(([id, value]) => [Number(id), value])))] : []),
    ...(penalty !== 1 ? [repetitionPenalty(penalty)] : []),
    ...(presence !== 0 || frequency !== 0 ? [newTokenPenalty({ presence, frequency })] : []),
    ...processors,
  ];
}

export class Sequence {
  /** What stands in the context. */
  ids: number[];
  /** Grows each time the context slides. */
  slides = 0;
  finished = false;
  #generated = 0;
  #dropped: number;
  /** The prompt and all new tokens, also those that fell out of the context. */
  readonly #all: number[];
  readonly #processors: readonly LogitProcessor[];
  readonly #random: Random;
  readonly #text: ReturnType<TextCodec["decodeStream"]> | undefined;
  /** Ids from here on are no tokens of the tokenizer, though the model has scores for them (a padded vocabulary). */
  readonly numChoices: number;
  readonly #stops: StopStrings;
  readonly #stopIds: ReadonlySet<number>;

  /**
   * `promptIds` are at most `contextLength`; `dropped` were cut from before them. With `continuesText` the pieces stand right behind the prompt's text,
   * and keep the space that some tokenizers leave out where a text begins.
   */
  constructor(
    readonly row: number,
    readonly promptIds: readonly number[],
    dropped: number,
    private readonly contextLength: number,
    private readonly settings: GenerationSettings,
    tokenizer: TextCodec | undefined,
    continuesText = false,
  ) {
    this.ids = [...promptIds];
    this.#dropped = dropped;
    this.#all = [...promptIds];
    this.#processors = processorsOf(settings);
    this.#random = new Random(settings.seed, row);
    this.#text = tokenizer?.decodeStream({ skipSpecialTokens: true });
    if (continuesText) for (const id of promptIds) this.#text?.push(id);
    this.numChoices = tokenizer?.vocabSize ?? Infinity;
    this.#stops = new StopStrings(settings.stop);
    const eosId = tokenizer?.eosId;
    this.#stopIds = new Set(settings.stopIds ?? (eosId === undefined ? [] : [eosId]));
  }

  /** Whether there will be a token after the next one, in the same context, unless a stop ends it before. */
  get expectsMore(): boolean {
    return this.#generated + 1 < this.settings.maxTokens && this.ids.length < this.contextLength;
  }

  /** The most tokens that it will have. */
  get maxLength(): number {
    return Math.min(this.promptIds.length + this.settings.maxTokens, this.contextLength);
  }

  /** How many of the best tokens, among so many, decide what is next; undefined where all logits are needed. */
  bestWanted(choices: number): number | undefined {
    const { temperature, topK, logprobs } = this.settings;
    if (this.#processors.length > 0 || logprobs !== undefined) return undefined;
    if (temperature === 0) return 1;
    return topK > 0 && topK < choices && topK <= mostBest ? topK : undefined;
  }

  /** Chooses the next token by the scores of all tokens, or of at least as many of the best as it wants. */
  advance({ ids, logits }: Scores): Piece {
    const { settings } = this;
    if (ids !== undefined) {
      const count = settings.temperature === 0 ? 1 : settings.topK;
      return this.accept(sampleBest(ids.subarray(0, count), logits.subarray(0, count), settings, this.#random));
    }
    const id = sample(this.#processed(logits.subarray(0, this.numChoices)), settings, this.#random);
    return this.accept(id, settings.logprobs === undefined ? undefined : logProbabilities(logits, id, settings.logprobs));
  }

  #processed(logits: Float32Array): Float32Array {
    if (this.#processors.length === 0) return logits;
    const scores = logits.slice();
    for (const process of this.#processors) process(scores, { ids: this.#all, numNew: this.#generated });
    return scores;
  }

  /** Goes on with this token. */
  accept(id: number, probabilities?: ReturnType<typeof logProbabilities>): Piece {
    const { settings } = this;
    this.ids.push(id);
    this.#all.push(id);
    this.#generated++;

    let text = "";
    let stoppedBy: string | number | undefined;
    if (this.#stopIds.has(id)) stoppedBy = id;
    else ({ text, stop: stoppedBy } = this.#stops.push(this.#text?.push(id) ?? ""));

    let finishReason: FinishReason | undefined;
    if (stoppedBy !== undefined) finishReason = "stop";
    else if (this.#generated === settings.maxTokens) finishReason = "length";
    else if (this.ids.length > this.contextLength) {
      if (settings.onContextFull === "stop") finishReason = "context";
      else this.#slide();
    }
    this.finished = finishReason !== undefined;
    if (this.finished && typeof stoppedBy !== "string") text += this.#rest();
    return {
      row: this.row,
      id,
      text,
      ...(probabilities && { logprob: probabilities.logprob, topLogprobs: probabilities.top }),
      droppedTokens: this.#dropped,
      ...(finishReason && { finishReason }),
      ...(stoppedBy !== undefined && { stoppedBy }),
    };
  }

  /** What was held back: half a character, and what might have become a stop string. */
  #rest(): string {
    const { text, stop } = this.#stops.push(this.#text?.end() ?? "");
    return stop === undefined ? text + this.#stops.flush() : text;
  }

  /** Half of the context falls out at once, so that computing the rest anew is rare. */
  #slide(): void {
    const kept = Math.ceil(this.contextLength / 2);
    this.#dropped += this.ids.length - kept;
    this.ids = this.ids.slice(-kept);
    this.slides++;
  }
}
