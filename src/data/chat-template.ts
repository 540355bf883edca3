/**
 * @file Chat templates: how a conversation becomes the text that a model was taught to read, as the Jinja program which the model brings along.
 * The text is what transformers' `apply_chat_template` makes, or there is an error (`src/jinja/`). A template is foreign code, and runs within
 * bounds of time and memory.
 *
 * Text must not become structure: a message that says `<|im_end|>` must not end its turn. So before rendering, each control token within
 * the messages is cut by a character that no text has (U+FDD0, which Unicode keeps for such use), and after that the tokenizer finds no
 * token across such a cut and drops it (`EncodeOptions.barrier`). What the template itself writes is found; what a message says is text.
 */

import { open, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { DataError, systemErrorCode, type FilePlace } from "../errors.js";
import { markCharacter as barrier, Template, TemplateFailure, type Limits, type Problem } from "../jinja/index.js";
import type { Tokenizer } from "../tokenizer/index.js";

/** One message; templates read further fields too (`tool_calls`, `reasoning_content`). */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, `tool`: what the template knows. */
  readonly role: string;
  readonly content: string | readonly { readonly type: string; readonly text?: string }[];
  readonly [field: string]: unknown;
}

export interface RenderOptions {
  /** End with what opens the assistant's turn. By default not. */
  readonly addGenerationPrompt?: boolean;
  /** JSON schemas of functions that the model may call. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly documents?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** Further variables, such as Qwen's `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What a template that asks for the date is told. By default now. */
  readonly now?: Date;
  readonly signal?: AbortSignal | undefined;
}

/** What `encode` needs of a tokenizer. */
export type ChatTokenizer = Pick<Tokenizer, "encode" | "addedTokens">;

export interface ChatTemplateOptions {
  /** The template, or several by name, of which `default` is used, and `tool_use` where there are tools. */
  readonly template: string | Readonly<Record<string, string>>;
  /** `bos_token`, `eos_token` and the like, as the template finds them. */
  readonly specialTokens?: Readonly<Record<string, string>>;
  /** Where it comes from, for errors. */
  readonly place?: FilePlace;
  /** What one rendering may spend. */
  readonly limits?: Partial<Limits>;
}

const maxTemplateCharacters = 2 ** 20;
const maxJsonBytes = 2 ** 26;

const said: Readonly<Record<Problem, string>> = {
  syntax: "the chat template is no Jinja",
  refused: "the chat template refuses this conversation",
  exceeded: "the chat template was stopped",
  failed: "the chat template fails",
};
const codes: Readonly<Record<Problem, string>> = { syntax: "bad-template", refused: "template-refused", exceeded: "template-exceeded", failed: "bad-template" };

function shortened(message: string): string {
  return message.length > 500 ? `${message.slice(0, 500)}...` : message;
}

export class ChatTemplate {
  readonly #templates: ReadonlyMap<string, string>;
  readonly #specialTokens: Readonly<Record<string, string>>;
  readonly #place: FilePlace;
  readonly #limits: Partial<Limits>;
  readonly #compiled = new Map<string, Template>();
  #control: { readonly of: ChatTokenizer; readonly all: ControlTokens; readonly special: ControlTokens } | undefined;

  /** Throws DataError `bad-template` where one is larger than a template can sensibly be. */
  constructor({ template, specialTokens = {}, place = {}, limits = {} }: ChatTemplateOptions) {
    this.#templates = new Map(Object.entries(typeof template === "string" ? { default: template } : template));
    this.#specialTokens = specialTokens;
    this.#place = place;
    this.#limits = limits;
    for (const source of this.#templates.values()) {
      if (source.length <= maxTemplateCharacters) continue;
      throw new DataError(place, `a chat template of ${source.length} characters is more than the ${maxTemplateCharacters} that are allowed.`, { code: "bad-template" });
    }
  }

  /**
   * The template itself; the one for tools where it has such and they are wanted. Throws DataError `no-default-template` where there are several and
   * none of them is to be taken unasked, as transformers does.
   */
  source({ tools = false }: { readonly tools?: boolean } = {}): string {
    const source = (tools ? this.#templates.get("tool_use") : undefined) ?? this.#templates.get("default");
    if (source !== undefined) return source;
    throw new DataError(this.#place, `there are chat templates (${[...this.#templates.keys()].join(", ")}), and none is called "default", so none can be chosen.`, {
      code: "no-default-template",
      hint: "Put the one to use beside the model as chat_template.jinja.",
    });
  }

  /** All of them, by name. */
  get sources(): ReadonlyMap<string, string> {
    return this.#templates;
  }

  /**
   * The conversation as text.
   *
   * @throws DataError `bad-template` (no Jinja, or it fails), `template-refused` (it raised an exception of its own, such as on roles that do
   * not alternate), `template-exceeded` (it ran into a limit); the signal's reason.
   */
  // eslint-disable-next-line @typescript-eslint/require-await -- errors are rejections
  async render(messages: readonly ChatMessage[], options: RenderOptions = {}): Promise<string> {
    const { addGenerationPrompt = false, tools, documents, variables = {}, now = new Date(), signal } = options;
    signal?.throwIfAborted();
    const conversation = { messages: messages.map(asTemplatesReadIt), tools: tools ?? null, documents: documents ?? null };
    const all = { ...conversation, add_generation_prompt: addGenerationPrompt, ...this.#specialTokens, ...variables };
    const room = charactersOf(all);
    const limits = { maxSteps: 1_000_000 + 64 * room, maxCharacters: 2 ** 20 + 16 * room, ...this.#limits };
    try {
      return this.#template(this.source({ tools: tools !== undefined })).render(all, { now, ...limits });
    } catch (error) {
      if (!(error instanceof TemplateFailure)) throw error;
      const line = error.line === undefined ? "" : `line ${error.line}: `;
      throw new DataError(this.#place, `${said[error.problem]}: ${line}${shortened(error.message)}`, { code: codes[error.problem], cause: error });
    }
  }

  #template(source: string): Template {
    let template = this.#compiled.get(source);
    if (template === undefined) this.#compiled.set(source, (template = new Template(source)));
    return template;
  }

  /**
   * The conversation as token ids. Only what the template writes becomes a control token: special tokens in any string of the messages,
   * tools and documents stay text, and so do, in what is not the assistant's own, other added tokens that the template knows of (such as
   * `</think>`). A role is no text: a template may make a token of it (`<|` + role + `|>`). Throws as `render`, and as the tokenizer does.
   */
  async encode(messages: readonly ChatMessage[], tokenizer: ChatTokenizer, options: RenderOptions = {}): Promise<Int32Array> {
    const { all, special } = this.#controlTokens(tokenizer);
    const guarded = messages.map((message) => {
      const guard = (value: unknown) => guardStrings(value, message.role === "assistant" ? special : all);
      return Object.fromEntries(Object.entries(message).map(([field, value]) => [field, field === "role" ? value : guard(value)])) as unknown as ChatMessage;
    });
    const guardAll = <T>(value: T): T => guardStrings(value, all) as T;
    const text = await this.render(guarded, { ...options, tools: guardAll(options.tools), documents: guardAll(options.documents), variables: guardAll(options.variables ?? {}) });
    return tokenizer.encode(text, { allowedSpecial: "all", barrier });
  }

  #controlTokens(tokenizer: ChatTokenizer): { readonly all: ControlTokens; readonly special: ControlTokens } {
    if (this.#control?.of === tokenizer) return this.#control;
    const sources = [...this.#templates.values()];
    const tokens = tokenizer.addedTokens;
    const special = tokens.filter((token) => token.special);
    // With a letter in it: many vocabularies have runs of spaces and line breaks as added tokens, which are text.
    const known = tokens.filter((token) => !token.special && /\p{L}/u.test(token.content) && sources.some((source) => source.includes(token.content)));
    const contents = (list: typeof special): string[] => list.map(({ content }) => content);
    this.#control = { of: tokenizer, all: new ControlTokens(contents([...special, ...known])), special: new ControlTokens(contents(special)) };
    return this.#control;
  }

  /**
   * The template of a model's folder: `chat_template.jinja` (with `additional_chat_templates/`), or in `tokenizer_config.json`, or in
   * `chat_template.json`; undefined where it has none. Throws DataError `bad-template`, `unreadable`.
   */
  static async fromFolder(folder: string): Promise<ChatTemplate | undefined> {
    const configFile = join(folder, "tokenizer_config.json");
    const config = await readJson(configFile);
    const parsed = configSchema.safeParse(config ?? {});
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new DataError({ file: configFile, field: issue.path.join(".") }, `this is no chat template: ${issue.message}.`, { code: "bad-template" });
    }
    const specialTokens = Object.fromEntries(
      Object.entries(parsed.data).flatMap(([name, token]) =>
        name === "chat_template" || token === null || token === undefined ? [] : [[name, typeof token === "object" && "content" in token ? token.content : token]],
      ),
    ) as Record<string, string>;

    // As in transformers, files of their own count over what the configuration says, also where none of them is the default.
    const jinjaFile = join(folder, "chat_template.jinja");
    const jinja = await readBounded(jinjaFile, 4 * maxTemplateCharacters);
    const files = { ...(jinja !== undefined && { default: jinja }), ...(await additional(folder)) };
    const place = { file: jinja === undefined ? join(folder, additionalFolder) : jinjaFile };
    if (Object.keys(files).length > 0) return new ChatTemplate({ template: files, specialTokens, place });

    const inConfig = parsed.data.chat_template;
    if (inConfig !== undefined && inConfig !== null && !(Array.isArray(inConfig) && inConfig.length === 0)) {
      const template = typeof inConfig === "string" ? inConfig : Object.fromEntries(inConfig.map((one) => [one.name, one.template]));
      return new ChatTemplate({ template, specialTokens, place: { file: configFile, field: "chat_template" } });
    }

    const jsonFile = join(folder, "chat_template.json");
    const alone = z.object({ chat_template: z.string() }).safeParse(await readJson(jsonFile));
    return alone.success ? new ChatTemplate({ template: alone.data.chat_template, specialTokens, place: { file: jsonFile, field: "chat_template" } }) : undefined;
  }

  /**
   * The template in the metadata of a GGUF (`tokenizer.chat_template`, and `tokenizer.chat_template.NAME`); undefined where it has none.
   * `tokens` are the vocabulary's texts, for `bos_token` and the like.
   */
  static fromGguf(metadata: ReadonlyMap<string, unknown>, tokens: (id: number) => string | undefined, place: FilePlace = {}): ChatTemplate | undefined {
    const template: Record<string, string> = {};
    for (const [key, value] of metadata) {
      const name = /^tokenizer\.chat_template(?:\.(.+))?$/.exec(key);
      if (name !== null && typeof value === "string") template[name[1] ?? "default"] = value;
    }
    if (Object.keys(template).length === 0) return undefined;
    const specialTokens: Record<string, string> = {};
    for (const [name, key] of Object.entries({ bos_token: "bos", eos_token: "eos", unk_token: "unknown", pad_token: "padding" })) {
      const id = metadata.get(`tokenizer.ggml.${key}_token_id`);
      const text = typeof id === "number" ? tokens(id) : undefined;
      if (text !== undefined) specialTokens[name] = text;
    }
    return new ChatTemplate({ template, specialTokens, place: { ...place, field: "tokenizer.chat_template" } });
  }
}

// ---- text that must stay text ------------------------------------------------------------------------------------------------------

class ControlTokens {
  readonly #whole: RegExp | undefined;
  readonly #beginnings = new Set<string>();
  readonly #ends = new Set<string>();
  readonly #longest: number;

  constructor(tokens: readonly string[]) {
    const escaped = [...tokens].filter((token) => token.length > 1).sort((a, b) => b.length - a.length).map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
    this.#whole = escaped.length === 0 ? undefined : new RegExp(escaped.join("|"), "g");
    this.#longest = tokens.reduce((longest, { length }) => Math.max(longest, length), 0);
    for (const token of tokens) {
      for (let i = 1; i < token.length; i++) {
        this.#beginnings.add(token.slice(0, i));
        this.#ends.add(token.slice(i));
      }
    }
  }

  /** The text with a barrier in each control token, and where what stands before or after the text could make one whole. */
  guard(text: string): string {
    if (this.#whole === undefined) return text;
    // After the first character of each: what is left may hold a further one that overlaps it, and so on.
    let cut = text.replaceAll(barrier, "");
    for (let last = ""; last !== cut; ) {
      last = cut;
      cut = cut.replace(this.#whole, (token) => token[0] + barrier + token.slice(1));
    }
    // Templates trim, so the edges are those of what is no white space.
    const core = cut.trim();
    if (core === "") return cut;
    const begin = cut.indexOf(core);
    const isEdge = (set: ReadonlySet<string>, part: (length: number) => string) => {
      for (let n = 1; n < this.#longest && n <= core.length; n++) if (set.has(part(n))) return true;
      return false;
    };
    const before = isEdge(this.#ends, (n) => core.slice(0, n)) ? barrier : "";
    const after = isEdge(this.#beginnings, (n) => core.slice(-n)) ? barrier : "";
    return cut.slice(0, begin) + before + core + after + cut.slice(begin + core.length);
  }
}

/** Every string within a value guarded; keys are not. */
function guardStrings(value: unknown, tokens: ControlTokens): unknown {
  if (typeof value === "string") return tokens.guard(value);
  if (Array.isArray(value)) return value.map((one) => guardStrings(one, tokens));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, guardStrings(one, tokens)]));
}

/**
 * A message as transformers gives it to templates: without the fields that are null, since templates ask whether they are there, and with
 * what the assistant thought under each of the names by which templates know it.
 */
function asTemplatesReadIt(message: ChatMessage): Record<string, unknown> {
  const given = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null && value !== undefined));
  const thought = given.reasoning_content ?? given.thinking ?? given.reasoning;
  return thought === undefined ? given : { thinking: thought, ...given, reasoning_content: thought };
}

function charactersOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 8;
  return Object.entries(value).reduce((sum, [key, one]) => sum + key.length + charactersOf(one), 8);
}

// ---- files -------------------------------------------------------------------------------------------------------------------------

const tokenName = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const configSchema = z.object({
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
  bos_token: tokenName, eos_token: tokenName, unk_token: tokenName, pad_token: tokenName, sep_token: tokenName, cls_token: tokenName, mask_token: tokenName,
});

const additionalFolder = "additional_chat_templates";

/** Templates by name, in `additional_chat_templates/NAME.jinja`. */
async function additional(folder: string): Promise<Record<string, string>> {
  const place = join(folder, additionalFolder);
  const templates: Record<string, string> = {};
  for (const name of await readdir(place).catch(() => [])) {
    const text = name.endsWith(".jinja") ? await readBounded(join(place, name), 4 * maxTemplateCharacters) : undefined;
    if (text !== undefined) templates[basename(name, ".jinja")] = text;
  }
  return templates;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readBounded(path, maxJsonBytes);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError({ file: path }, `this is not JSON: ${String(cause)}.`, { code: "bad-template", cause });
  }
}

/** The text of a file, undefined where there is none. */
async function readBounded(path: string, maxBytes: number): Promise<string | undefined> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > maxBytes) throw new DataError({ file: path }, `it has ${size} bytes, more than the ${maxBytes} that such a file can have.`, { code: "bad-template" });
      return await file.readFile("utf8");
    } finally {
      await file.close();
    }
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code === undefined) throw cause;
    throw new DataError({ file: path }, `the file cannot be read (${code}).`, { code: "unreadable", cause });
  }
}
