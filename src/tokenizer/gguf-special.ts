/**
 * @file Which tokens of a GGUF are special, as llama.cpp sees it (src/llama-vocab.cpp): by their type in the file, then by their text, since converters
 * have typed many wrongly, and last by the model's name, since the file does not say which swallow the white space beside them.
 */

import type { AddedToken } from "./added-tokens.js";
import type { PackedTexts } from "./packed-texts.js";
import { pieceTypes } from "./sentencepiece.js";

/** Tokens that end a text, a turn or a message, whatever their type says. */
const ends = new Set(
  ("<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] " +
    "<|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> <｜end▁of▁sentence｜> [e~[").split(" "),
);
/** Tokens of fill-in-the-middle, by the key that names them where a file does. */
const middles: Readonly<Record<string, string>> = {
  fim_pre: "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>",
  fim_suf: "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>",
  fim_mid: "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>",
  fim_pad: "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
  fim_rep: "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
  fim_sep: "<|file_sep|>",
};
/** Marks of gpt-oss that a text always shows. */
const shown = new Set("<|channel|> <|message|> <|start|> <|constrain|>".split(" "));

export interface SpecialTokens {
  /** Control and unknown tokens, which are special, and user-defined ones. */
  readonly added: readonly AddedToken[];
  /** The ids of a type. */
  readonly idsOf: (type: number) => number[];
}

export interface SpecialTokensOptions {
  readonly tokens: PackedTexts;
  /** By id, or undefined where the file does not say: all are normal. */
  readonly types: ArrayLike<number> | undefined;
  /** What else is known to begin or end a text. */
  readonly boundaries: readonly (number | undefined)[];
  /** Whether the file has a key. */
  readonly has: (key: string) => boolean;
  readonly pre: string;
  readonly architecture: string;
  readonly modelName: string;
}

export function specialTokens({ tokens, types, boundaries, has, pre, architecture, modelName }: SpecialTokensOptions): SpecialTokens {
  const count = tokens.length;
  const changed = new Map<number, number>();
  const typeOf = (id: number): number => changed.get(id) ?? types?.[id] ?? pieceTypes.normal;
  const named = candidates(tokens);
  const controls = new Set(ends);
  for (const [key, names] of Object.entries(middles)) if (!has(`${key}_token_id`)) for (const name of names.split(" ")) controls.add(name);
  for (const [name, id] of named) {
    if (shown.has(name)) changed.set(id, pieceTypes.userDefined);
    else if (controls.has(name)) changed.set(id, pieceTypes.control);
  }
  const isThere = (...names: string[]): boolean => names.every((name) => named.has(name));
  const change = (name: string, type: number): void => {
    const id = named.get(name);
    if (id !== undefined) changed.set(id, type);
  };
  // Where there are tokens for the end of an answer and of a call, that of a message ends neither.
  if (isThere("<|return|>", "<|call|>") || isThere("<|return|>", "<|calls|>") || isThere("<|call|>", "<|flush|>") || isThere("<|calls|>", "<|flush|>")) change("<|end|>", pieceTypes.userDefined);
  const eos = boundaries[1];
  if (isThere("<|tool_response>") || (eos !== undefined && tokens.at(eos) === "<|plamo:eos|>")) change("</s>", pieceTypes.normal);
  if (types === undefined) for (const id of boundaries) if (id !== undefined) changed.set(id, pieceTypes.control);

  const strips = stripsOf(pre, architecture, modelName.toLowerCase());
  const added: AddedToken[] = [];
  for (let id = 0; id < count; id++) {
    const type = typeOf(id);
    if (type !== pieceTypes.control && type !== pieceTypes.unknown && type !== pieceTypes.userDefined) continue;
    const content = tokens.at(id) || `[EMPTY_${id}]`;
    added.push({ id, content, special: type !== pieceTypes.userDefined, singleWord: false, ...strips(content), normalized: false });
  }
  const idsOf = (type: number): number[] => (types === undefined && changed.size === 0 ? [] : Array.from({ length: count }, (_, id) => id).filter((id) => typeOf(id) === type));
  return { added, idsOf };
}

/** Tokens that may be one of those above, by text: the last one of a text that stands twice. */
function candidates(tokens: PackedTexts): ReadonlyMap<string, number> {
  const { data, starts, gap, length } = tokens;
  const found = new Map<string, number>();
  const [lessThan, bracket, underscore, mark] = [0x3c, 0x5b, 0x5f, 0xe2];
  for (let id = 0; id < length; id++) {
    const bytes = starts[id + 1] - gap - starts[id];
    const first = data[starts[id]];
    // The mark of a space has three bytes.
    const isCandidate = first === lessThan || first === bracket || ((first === underscore || first === mark) && data[starts[id] + (first === mark ? 3 : 1)] === lessThan);
    if (isCandidate && bytes >= 4 && bytes <= 40) found.set(tokens.at(id), id);
  }
  return found;
}

function stripsOf(pre: string, architecture: string, name: string): (content: string) => { lstrip: boolean; rstrip: boolean } {
  const isOneOf = (text: string, ...parts: string[]): boolean => parts.some((part) => text.includes(part));
  if (isOneOf(pre, "jina-v2-de", "jina-v2-es", "jina-v2-code") || isOneOf(architecture, "nomic-bert-moe", "jina-bert-v3")) return (content) => ({ lstrip: content === "<mask>", rstrip: false });
  if (isOneOf(name, "phi-3", "phi3")) return (content) => ({ lstrip: false, rstrip: !["<unk>", "<s>", "<|endoftext|>"].includes(content) });
  if (isOneOf(name, "modern-bert")) return (content) => ({ lstrip: content === "[MASK]", rstrip: false });
  return () => ({ lstrip: false, rstrip: false });
}
