/**
 * @file A conversation: turns of a person and a model, which the model's chat template makes a text of. The keys and values of what was
 * said stay (`CachedContext`), so a turn computes what is new in it, however long the conversation is.
 *
 * When a conversation no longer fits the context its oldest turns fall out, whole, each a person's message with what answered it, and the
 * system prompt stays; every piece says how many messages the model no longer sees. A reply that is broken off stands in the history as far
 * as it went, and a turn that fails before its first token is as if never said; so the history always alternates.
 *
 * A model without a template can only go on with a text; then what is said is a text too, each message a line, and its oldest tokens fall out.
 */

import type { ChatMessage, ChatTemplate, ChatTokenizer, RenderOptions } from "../data/index.js";
import { ConfigError, HornbookError } from "../errors.js";
import type { Decoder } from "../model/index.js";
import { CachedContext } from "./cached-context.js";
import { generate } from "./generate.js";
import { generationSettings, type GenerationSettingsInput } from "./options.js";
import { encodePrompt, type Piece, type TextCodec } from "./sequence.js";

/** How a reply is sampled. The context is the conversation's own affair. */
export type ReplyOptions = Omit<GenerationSettingsInput, "onContextFull" | "truncatePrompt" | "cache"> & {
  readonly signal?: AbortSignal | undefined;
};

export interface ChatOptions extends Omit<ReplyOptions, "signal">, Pick<RenderOptions, "tools" | "documents" | "variables"> {
  readonly tokenizer: TextCodec & ChatTokenizer;
  /** Without one messages are lines of a text that the model goes on with. */
  readonly template?: ChatTemplate | undefined;
  /** What the model is told before all else. */
  readonly system?: string | undefined;
  /** In what the keys and values are kept; see `GenerationSettings`. */
  readonly cache?: Exclude<GenerationSettingsInput["cache"], false>;
}

export interface ChatPiece extends Piece {
  /** Messages at the beginning that no longer fit the context, and that the model did not read. */
  readonly droppedMessages: number;
}

/** What the last turn took. */
export interface TurnReport {
  /** Of the whole prompt, and how many of them had been read before. */
  readonly promptTokens: number;
  readonly reusedTokens: number;
  readonly newTokens: number;
  /** From the call to the first token. */
  readonly secondsToFirstToken: number;
  /** After the first token; 0 where there was but one. */
  readonly tokensPerSecond: number;
}

/** Tokens that end a turn or a text, by the names that models give them; those that a vocabulary has as added tokens end a reply. */
const endsOfTurn = new Set([
  "<|im_end|>", "<end_of_turn>", "<turn|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>", "<|endoftext|>", "<|end_of_text|>",
  "<|return|>", "<|eot|>", "<EOT>", "<|end_of_sentence|>", "<｜end▁of▁sentence｜>", "</s>", "<eos>",
]);

export class ChatSession {
  /** Said before all else. A change counts from the next turn on. */
  system: string | undefined;
  readonly template: ChatTemplate | undefined;
  readonly #tokenizer: TextCodec & ChatTokenizer;
  readonly #render: Pick<RenderOptions, "tools" | "documents" | "variables">;
  readonly #settings: Omit<ReplyOptions, "signal"> & Pick<ChatOptions, "cache">;
  readonly #context = new CachedContext();
  #messages: ChatMessage[] = [];
  /** The first message that the model still sees. */
  #first = 0;
  #turns = 0;
  #busy = false;
  #lastTurn: TurnReport | undefined;

  /** Throws ConfigError, which names the field, for a setting that cannot be. */
  constructor(
    private readonly model: Decoder,
    { tokenizer, template, system, tools, documents, variables, ...settings }: ChatOptions,
  ) {
    generationSettings(settings);
    this.#tokenizer = tokenizer;
    this.template = template;
    this.system = system;
    this.#render = { tools, documents, ...(variables && { variables }) };
    this.#settings = settings;
  }

  /** All that was said, the system prompt left out, and also what the model no longer sees. */
  get messages(): readonly ChatMessage[] {
    return this.#messages;
  }

  /** How many messages at the beginning the model no longer sees. */
  get droppedMessages(): number {
    return this.#first;
  }

  /** Tokens in the cache, of which `contextLength` is the most; and the bytes reserved for them. */
  get contextTokens(): number {
    return this.#context.ids.length;
  }
  get cacheBytes(): number {
    return this.#context.numBytes;
  }

  get lastTurn(): TurnReport | undefined {
    return this.#lastTurn;
  }

  /**
   * Says something; the pieces of the reply as they come. `break`, or the signal, ends the reply, of which the history keeps what came.
   * Without a seed each turn has its own, so that to ask again is to get another answer, and the same conversation has the same answers.
   *
   * @throws ConfigError `context-exceeded` where this message alone does not fit the context; DataError where the template fails or refuses
   * (see `ChatTemplate.render`); HornbookError `busy` while a reply is under way; the signal's reason.
   */
  async *send(text: string, { signal, ...options }: ReplyOptions = {}): AsyncGenerator<ChatPiece, void, void> {
    if (this.#busy) throw new HornbookError("A reply is under way in this conversation.", { code: "busy", hint: "Read it to its end, or break it off." });
    this.#busy = true;
    try {
      const began = performance.now();
      const settings = { ...this.#settings, ...options, seed: (options.seed ?? this.#settings.seed ?? 0) + this.#turns, stopIds: this.#stopIds(options.stopIds ?? this.#settings.stopIds) };
      const asked: ChatMessage = { role: "user", content: text };
      const { ids, first, cut } = await this.#fit([...this.#messages, asked], generationSettings(settings).maxTokens, signal);
      const [tokenizer, context] = [this.#tokenizer, this.#context];
      const reply: string[] = [];
      let [firstToken, lastToken, count] = [0, 0, 0];
      try {
        const onContextFull = this.template === undefined ? "slide" : "stop";
        for await (const piece of generate(this.model, { ...settings, onContextFull, ids, tokenizer, context, signal })) {
          lastToken = performance.now();
          if (count++ === 0) firstToken = lastToken;
          reply.push(piece.text);
          yield { ...piece, droppedTokens: cut + piece.droppedTokens, droppedMessages: first };
        }
      } finally {
        if (count > 0) {
          this.#messages = [...this.#messages, asked, { role: "assistant", content: reply.join("") }];
          this.#first = first;
          this.#turns++;
          this.#lastTurn = {
            promptTokens: ids.length,
            reusedTokens: context.reused,
            newTokens: count,
            secondsToFirstToken: (firstToken - began) / 1000,
            tokensPerSecond: count > 1 ? (count - 1) / ((lastToken - firstToken) / 1000) : 0,
          };
        }
      }
    } finally {
      this.#busy = false;
    }
  }

  /** As `send`, to its end: the whole reply. */
  async reply(text: string, options: ReplyOptions = {}): Promise<string> {
    const pieces: string[] = [];
    for await (const piece of this.send(text, options)) pieces.push(piece.text);
    return pieces.join("");
  }

  /** Begins anew, with the same system prompt, or from these messages. Throws HornbookError `busy` while a reply is under way. */
  reset(messages: readonly ChatMessage[] = []): void {
    if (this.#busy) throw new HornbookError("A reply is under way in this conversation.", { code: "busy", hint: "Read it to its end, or break it off." });
    this.#messages = [...messages];
    this.#first = 0;
    this.#turns = 0;
    this.#lastTurn = undefined;
  }

  /** Frees the cache. The conversation can go on, from its text. */
  dispose(): void {
    this.#context.dispose();
  }

  /** The ids of the prompt, the first message in it, and how many tokens were cut from its beginning where there are no turns. */
  async #fit(messages: readonly ChatMessage[], maxTokens: number, signal: AbortSignal | undefined): Promise<{ ids: Int32Array; first: number; cut: number }> {
    const { contextLength } = this.model.config;
    // Room for a reply, but not for one of half the context. What falls out moves all that follows, which is read anew then; so more falls
    // out at once, for this to be rare.
    const most = contextLength - Math.min(maxTokens, Math.floor(contextLength / 4));
    const enough = Math.floor((3 * most) / 4);
    if (this.template === undefined) {
      // eslint-disable-next-line @typescript-eslint/no-base-to-string -- without a template all messages are texts
      const text = this.#withSystem(messages).map(({ role, content }) => (role === "assistant" ? String(content) : `${String(content)}\n`)).join("");
      const ids = encodePrompt(this.#tokenizer, text, this.#settings.addBos);
      const cut = ids.length > most ? ids.length - Math.max(1, enough) : 0;
      return { ids: ids.subarray(cut), first: 0, cut };
    }
    const prompt = async (first: number) => this.template!.encode(this.#withSystem(messages.slice(first)), this.#tokenizer, { ...this.#render, addGenerationPrompt: true, signal });
    let first = this.#first;
    let ids = await prompt(first);
    while (ids.length > (first === this.#first ? most : enough)) {
      const next = messages.findIndex(({ role }, i) => i > first && role === "user");
      if (next < 0) break;
      first = next;
      ids = await prompt(first);
    }
    if (ids.length >= contextLength) {
      const alone = this.system === undefined ? "with nothing before it" : "with the system prompt alone before it";
      throw new ConfigError("text", `${alone}, this message takes ${ids.length} tokens, and the context is of ${contextLength}.`, { code: "context-exceeded", hint: "Shorten it." });
    }
    return { ids, first, cut: 0 };
  }

  #withSystem(messages: readonly ChatMessage[]): ChatMessage[] {
    return [...(this.system === undefined ? [] : [{ role: "system", content: this.system }]), ...messages];
  }

  /** What ends a reply: what was asked for, the end of text, and whatever this vocabulary has to end a turn. */
  #stopIds(given: readonly number[] | undefined): number[] {
    const { addedTokens, eosId } = this.#tokenizer;
    const named = this.template === undefined ? [] : addedTokens.filter(({ content }) => endsOfTurn.has(content)).map(({ id }) => id);
    return [...new Set([...(given ?? []), ...(eosId === undefined ? [] : [eosId]), ...named])];
  }
}
