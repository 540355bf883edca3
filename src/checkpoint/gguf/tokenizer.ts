/**
 * @file A tokenizer as metadata of a GGUF file, as llama.cpp reads it: the tokens by id with their kinds, merges, and the name of a pre-tokeniser
 * (llama.cpp knows them by name, not by their expression).
 */

import { TokenizerError } from "../../errors.js";
import type { Tokenizer } from "../../tokenizer/index.js";
import { patterns } from "../../tokenizer/pretokenize.js";
import { gguf, type GgufValue } from "./metadata.js";

/** llama.cpp's kinds of tokens. */
const kinds = { normal: 1, control: 3, userDefined: 4, unused: 5 } as const;

/** llama.cpp's names of the expressions that a byte-level BPE cuts text with. */
const preTokenizers: readonly (readonly [expression: string, name: string])[] = [
  [patterns.gpt2, "gpt-2"],
  [patterns.cl100k, "llama-bpe"],
  [patterns.qwen2, "qwen2"],
];

/** The parts of a tokenizer.json that matter here. */
interface Spelled {
  readonly model: { readonly type?: string; readonly merges?: readonly unknown[] };
  readonly pre_tokenizer?: unknown;
  readonly decoder?: unknown;
  readonly added_tokens?: readonly { readonly id: number; readonly special?: boolean }[];
}

/**
 * The keys of a tokenizer for a model of `vocabSize` ids, which may be more than the tokenizer has.
 *
 * @throws TokenizerError `unsupported-tokenizer` for one that llama.cpp has no kind for.
 */
export function tokenizerMetadata(tokenizer: Tokenizer, vocabSize: number): Map<string, GgufValue> {
  const json = tokenizer.toJSON() as Spelled;
  const isCharacters = json.model.type === "WordLevel";
  const added = new Map((json.added_tokens ?? []).map((token) => [token.id, token]));
  const tokens: string[] = [];
  const types: number[] = [];
  for (let id = 0; id < vocabSize; id++) {
    const text = id < tokenizer.vocabSize ? nameOf(tokenizer, id) : undefined;
    const token = added.get(id);
    tokens.push(text === undefined ? `[PAD${id}]` : isCharacters && token === undefined ? byteSpelling(text) : text);
    types.push(text === undefined ? kinds.unused : token === undefined ? kinds.normal : token.special === true ? kinds.control : kinds.userDefined);
  }
  const merges = isCharacters ? [] : (json.model.merges ?? []).map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge)));
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", gguf.string("gpt2")],
    ["tokenizer.ggml.pre", gguf.string(isCharacters ? "gpt-2" : preTokenizerName(json))],
    ["tokenizer.ggml.tokens", gguf.strings(tokens)],
    ["tokenizer.ggml.token_type", gguf.int32s(types)],
    ["tokenizer.ggml.merges", gguf.strings(merges)],
    ...(tokenizer.bosId === undefined ? [] : [["tokenizer.ggml.bos_token_id", gguf.uint32(tokenizer.bosId)] as const]),
    ...(tokenizer.eosId === undefined ? [] : [["tokenizer.ggml.eos_token_id", gguf.uint32(tokenizer.eosId)] as const]),
    ["tokenizer.ggml.add_bos_token", gguf.bool(false)],
  ]);
}

function nameOf(tokenizer: Tokenizer, id: number): string | undefined {
  try {
    return tokenizer.tokenText(id);
  } catch {
    // An id that the tokenizer leaves out.
    return undefined;
  }
}

/** GPT-2's spelling of a character of one byte: a token of llama.cpp's byte-level BPE without merges. */
function byteSpelling(character: string): string {
  const code = character.charCodeAt(0);
  if (character.length !== 1 || code > 127) {
    throw unsupported(`a tokenizer of characters beyond ASCII (${JSON.stringify(character)}) has no kind in GGUF`);
  }
  return code > 32 && code < 127 ? character : String.fromCharCode(code === 127 ? 289 : 256 + code);
}

function preTokenizerName({ model, pre_tokenizer: cut, decoder }: Spelled): string {
  const spelled = JSON.stringify(cut ?? null);
  const isByteLevel = (model.type === undefined || model.type === "BPE") && JSON.stringify(decoder ?? null).includes('"ByteLevel"');
  if (!isByteLevel) throw unsupported("only byte-level BPE can be written");
  const found = preTokenizers.find(([expression]) => spelled.includes(JSON.stringify(expression)));
  // ByteLevel alone cuts as GPT-2 does.
  if (found === undefined && spelled.includes('"Split"')) throw unsupported("llama.cpp has no pre-tokeniser of this expression");
  return found?.[1] ?? "gpt-2";
}

function unsupported(why: string): TokenizerError {
  return new TokenizerError({}, `this tokenizer cannot be put into a GGUF file: ${why}.`, {
    code: "unsupported-tokenizer",
    hint: "Export as a Hugging Face folder, or without the tokenizer.",
  });
}
