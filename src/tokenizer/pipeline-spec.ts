/**
 * @file What a pipeline tokenizer is made of, as data: the steps as `tokenizer.json` writes them, and the model in arrays. Every format is read
 * into this (`tokenizer-json.ts`, `sentencepiece.ts`, `tiktoken.ts`, `gguf.ts`, `llama2c.ts`) and written from it.
 */

import type { AddedToken } from "./added-tokens.js";
import { byteToken } from "./decoders.js";
import { BpeModel, CachedModel, Lookup, WordwiseModel, type Model } from "./models.js";
import { Plamo2Model } from "./plamo2.js";
import { RwkvModel, unescapeRwkv } from "./rwkv.js";
import { ScoreBpeModel } from "./score-bpe.js";
import type { SentencePieceNormalization } from "./sp-normalizer.js";
import type { DecoderStep, NormalizerStep, PostProcessorStep, PreTokenizerStep } from "./steps.js";
import type { TokenNames } from "./token-names.js";
import { UnigramModel } from "./unigram.js";
import { WordLevelModel, WordPieceModel } from "./wordpiece.js";
import type { WpmOptions } from "./wpm-words.js";

/** Merges in the order in which they were learned. */
export interface BpeSpec {
  readonly kind: "bpe";
  readonly names: TokenNames;
  /** Left, right and result of each merge. */
  readonly merges: Uint32Array;
  readonly unkToken: string | undefined;
  readonly fuseUnk: boolean;
  readonly byteFallback: boolean;
  readonly ignoreMerges: boolean;
  readonly continuingSubwordPrefix: string;
  readonly endOfWordSuffix: string;
  /** See `BpeModelOptions`. */
  readonly unknownKeepsApart?: boolean | undefined;
  readonly wholeLineBreaks?: boolean | undefined;
}

export interface UnigramSpec {
  readonly kind: "unigram";
  readonly names: TokenNames;
  readonly scores: Float64Array;
  readonly unkId: number | undefined;
  readonly byteFallback: boolean;
}

/** BPE by scores instead of merges. */
export interface ScoreBpeSpec {
  readonly kind: "score-bpe";
  readonly names: TokenNames;
  readonly scores: ArrayLike<number>;
  readonly unkId: number | undefined;
  readonly byteFallback: boolean;
  readonly fuseUnk: boolean;
}

export interface WordPieceSpec {
  readonly kind: "wordpiece";
  readonly names: TokenNames;
  readonly unkId: number | undefined;
  readonly continuingPrefix: string;
  readonly startPrefix: string;
  readonly maxCharacters: number;
}

/** Whole pieces only. */
export interface WordLevelSpec {
  readonly kind: "wordlevel";
  readonly names: TokenNames;
  readonly unkId: number | undefined;
  /** How the file spells the unknown token, which the vocabulary may lack. */
  readonly unkToken: string;
}

/** What only SentencePiece knows: what its pieces are, and its normalizer, which then runs instead of the steps. */
export interface SentencePieceSpec {
  readonly normalization: SentencePieceNormalization;
  readonly userDefined: readonly number[];
  readonly unused: readonly number[];
}

/** The longest token that goes on with the text, byte by byte. Names are escaped as in a GGUF. */
export interface RwkvSpec {
  readonly kind: "rwkv";
  readonly names: TokenNames;
  readonly unkId: number | undefined;
}

export interface Plamo2Spec {
  readonly kind: "plamo2";
  readonly names: TokenNames;
  readonly scores: ArrayLike<number>;
}

export type ModelSpec = BpeSpec | UnigramSpec | ScoreBpeSpec | WordPieceSpec | WordLevelSpec | RwkvSpec | Plamo2Spec;

/** Where llama.cpp does otherwise than Hugging Face: its Unicode is 15.1, and the longest of the added tokens is looked for first. */
export type Rules = "llama.cpp";

export interface PipelineSpec {
  readonly normalizer: readonly NormalizerStep[];
  readonly preTokenizer: readonly PreTokenizerStep[];
  readonly postProcessor: readonly PostProcessorStep[];
  readonly decoder: readonly DecoderStep[];
  readonly model: ModelSpec;
  /** Ids of tokens that text never becomes besides the special ones: control and byte tokens of SentencePiece. */
  readonly unreachable?: readonly number[] | undefined;
  readonly sentencePiece?: SentencePieceSpec | undefined;
  readonly rules?: Rules | undefined;
  /** Words are cut as llama.cpp cuts them for BERT, instead of by the steps. */
  readonly wpm?: WpmOptions | undefined;
}

/** The ids of the tokens that text may become: not those that mark structure, which text must not smuggle in. */
export function lookupOf({ model, unreachable = [] }: PipelineSpec, added: readonly AddedToken[]): Lookup {
  return new Lookup(model.names, new Set([...unreachable, ...added.filter(({ special }) => special).map(({ id }) => id)]));
}

export function buildModel(spec: PipelineSpec, added: readonly AddedToken[]): Model {
  const { model, sentencePiece } = spec;
  const lookup = lookupOf(spec, added);
  const byteIds = (): (number | undefined)[] => Array.from({ length: 256 }, (_, byte) => model.names.idOf(byteToken(byte)));
  switch (model.kind) {
    case "bpe": {
      const { unkToken, merges, ...options } = model;
      const bpe = new BpeModel(lookup, merges, { ...options, unkId: unkToken === undefined ? undefined : model.names.idOf(unkToken) });
      const marksPosition = model.continuingSubwordPrefix !== "" || model.endOfWordSuffix !== "" || model.ignoreMerges;
      return wordwise(bpe, lookup, !marksPosition);
    }
    case "unigram": {
      const { scores, unkId, byteFallback } = model;
      const special = new Set([...(spec.unreachable ?? []), ...added.filter((token) => token.special).map(({ id }) => id)]);
      const isScored = (id: number): boolean => sentencePiece === undefined || !(special.has(id) || sentencePiece.userDefined.includes(id) || sentencePiece.unused.includes(id));
      return new CachedModel(
        new UnigramModel(lookup, scores, {
          unkId,
          byteFallback,
          byteIds: byteFallback ? byteIds() : [],
          library: sentencePiece === undefined ? "tokenizers" : spec.rules ?? "sentencepiece",
          userDefined: new Set(sentencePiece?.userDefined),
          scoredIds: sentencePiece === undefined ? undefined : new Set(Array.from(scores.keys()).filter(isScored)),
        }),
      );
    }
    case "score-bpe": {
      const { names, scores, unkId, byteFallback, fuseUnk } = model;
      const frozenAt = sentencePiece === undefined ? undefined : symbolFinder(sentencePiece.userDefined.map((id) => names.at(id) ?? ""));
      const bpe = new ScoreBpeModel(lookup, scores, { unkId, byteIds: byteFallback ? byteIds() : [], unused: new Set(sentencePiece?.unused), frozenAt, fuseUnk });
      return wordwise(bpe, lookup, frozenAt === undefined);
    }
    case "wordpiece":
      return new CachedModel(new WordPieceModel(lookup, model));
    case "wordlevel":
      return new WordLevelModel(lookup, model.unkId);
    case "rwkv":
      return new CachedModel(new RwkvModel(Array.from(lookup, ([name, id]) => [unescapeRwkv(name), id] as const), model.unkId));
    case "plamo2":
      return new CachedModel(new Plamo2Model(lookup, model.scores, byteIds()));
  }
}

const wordwise = (model: Model, lookup: Lookup, possible: boolean): Model => {
  const cached = new CachedModel(model);
  return possible && WordwiseModel.fits(lookup) ? new WordwiseModel(cached) : cached;
};

/** Finds the longest of some symbols at a place of a text; undefined where there are no symbols. */
export function symbolFinder(symbols: readonly string[]): ((text: string, start: number) => number) | undefined {
  const known = new Set(symbols.filter((symbol) => symbol !== ""));
  if (known.size === 0) return undefined;
  const lengths = new Map<number, number[]>();
  for (const symbol of known) {
    const list = lengths.get(symbol.charCodeAt(0)) ?? [];
    if (!list.includes(symbol.length)) list.push(symbol.length);
    lengths.set(symbol.charCodeAt(0), list.sort((a, b) => b - a));
  }
  return (text, start) => lengths.get(text.charCodeAt(start))?.find((length) => known.has(text.slice(start, start + length))) ?? 0;
}
