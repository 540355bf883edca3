/**
 * @file A tokenizer as metadata of a GGUF file. What the keys are is the tokenizer room's matter; here they get their types, and as many tokens as
 * the model has rows, since llama.cpp takes the one for the other. A tokenizer of characters is a byte-level BPE without merges.
 */

import { TokenizerError } from "../../errors.js";
import { BpeTokenizer, CharTokenizer, PipelineTokenizer, tokenizerToGguf, type Tokenizer, type TokenizerField } from "../../tokenizer/index.js";
import { gguf, type GgufValue } from "./metadata.js";

/** llama.cpp's kinds of tokens. */
const kinds = { normal: 1, control: 3, unused: 5 } as const;

/**
 * The keys of a tokenizer for a model of `vocabSize` ids, which may be more than the tokenizer has.
 *
 * @throws TokenizerError `no-gguf-form` for one that llama.cpp could not give the same ids with.
 */
export function tokenizerMetadata(tokenizer: Tokenizer, vocabSize: number): Map<string, GgufValue> {
  const fields = tokenizer instanceof CharTokenizer ? charactersToGguf(tokenizer) : fieldsOf(tokenizer);
  return new Map([...fields].map(([key, field]) => [key, valueOf(padded(key, field, vocabSize))]));
}

function fieldsOf(tokenizer: Tokenizer): ReadonlyMap<string, TokenizerField> {
  if (tokenizer instanceof BpeTokenizer || tokenizer instanceof PipelineTokenizer) return tokenizerToGguf(tokenizer);
  throw new TokenizerError({}, "this tokenizer has no form in GGUF.", { code: "no-gguf-form" });
}

/** Lists of one entry a token, with more for the rows of the embedding that have none. */
function padded(key: string, field: TokenizerField, vocabSize: number): TokenizerField {
  const name = key.replace("tokenizer.ggml.", "");
  const missing = (count: number): number[] => Array.from({ length: Math.max(vocabSize - count, 0) }, (_, i) => count + i);
  if (name === "tokens" && Array.isArray(field)) return [...(field as readonly string[]), ...missing(field.length).map((id) => `[PAD${id}]`)];
  if (name === "token_type" && field instanceof Int32Array) return Int32Array.from([...field, ...missing(field.length).map(() => kinds.unused)]);
  if (name === "scores" && field instanceof Float32Array) return Float32Array.from([...field, ...missing(field.length).map(() => 0)]);
  return field;
}

function valueOf(field: TokenizerField): GgufValue {
  if (typeof field === "string") return gguf.string(field);
  if (typeof field === "number") return gguf.uint32(field);
  if (typeof field === "boolean") return gguf.bool(field);
  if (field instanceof Int32Array) return gguf.int32s(field);
  if (field instanceof Float32Array) return gguf.float32s(field);
  if (field instanceof Uint8Array) return { type: "array", of: "int8", value: Int8Array.from(field) };
  return gguf.strings(field);
}

function charactersToGguf(tokenizer: CharTokenizer): Map<string, TokenizerField> {
  const special = new Set(tokenizer.specialTokens.values());
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  return new Map<string, TokenizerField>([
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", "gpt-2"],
    ["tokenizer.ggml.tokens", ids.map((id) => (special.has(id) ? tokenizer.tokenText(id) : byteSpelling(tokenizer.tokenText(id))))],
    ["tokenizer.ggml.token_type", Int32Array.from(ids, (id) => (special.has(id) ? kinds.control : kinds.normal))],
    ["tokenizer.ggml.merges", []],
    ...(tokenizer.bosId === undefined ? [] : [["tokenizer.ggml.bos_token_id", tokenizer.bosId] as const]),
    ...(tokenizer.eosId === undefined ? [] : [["tokenizer.ggml.eos_token_id", tokenizer.eosId] as const]),
    ["tokenizer.ggml.add_bos_token", false],
  ]);
}

/** GPT-2's spelling of a character of one byte. */
function byteSpelling(character: string): string {
  const code = character.charCodeAt(0);
  if (character.length !== 1 || code > 127) {
    throw new TokenizerError({}, `a tokenizer of characters beyond ASCII (${JSON.stringify(character)}) has no form in GGUF.`, {
      code: "no-gguf-form",
      hint: "Export as a Hugging Face folder instead.",
    });
  }
  return code > 32 && code < 127 ? character : String.fromCharCode(code === 127 ? 289 : 256 + code);
}
