/**
 * @file Which GGUF files of a repository a word means. Repositories have one model in many quantised types, each a file or, where it is large, a set of
 * parts, by its name's end (`model-Q4_K_M.gguf`) or in a folder (`Q4_K_M/model-00001-of-00003.gguf`). A type is a whole word: F16 is not the end of
 * BF16, and Q2_K_L is not a kind of Q2_K.
 */

import { HubError } from "../../errors.js";
import { partName, splitName } from "../gguf/split.js";
import type { HubFile } from "./files.js";

/** One model: a file, or all its parts in order. */
export interface GgufSet {
  /** The path of the file, or of the first part. */
  readonly path: string;
  readonly files: readonly HubFile[];
  /** Of all files together. */
  readonly size: number;
  /** The parts that are not listed. */
  readonly missing: readonly string[];
}

export const isGguf = ({ path }: HubFile): boolean => /\.gguf$/i.test(path);

/** All models among the files. */
export function ggufSets(files: readonly HubFile[]): GgufSet[] {
  const byPath = new Map(files.filter(isGguf).map((file) => [file.path, file]));
  const sets = new Map<string, GgufSet>();
  for (const file of byPath.values()) {
    const split = splitName(file.path);
    const paths = split === undefined ? [file.path] : Array.from({ length: split.count }, (_, i) => partName(split.prefix, i + 1, split.count));
    const there = paths.flatMap((path) => byPath.get(path) ?? []);
    if (sets.has(paths[0])) continue;
    sets.set(paths[0], { path: paths[0], files: there.length === 0 ? [file] : there, size: there.reduce((sum, { size }) => sum + size, 0), missing: paths.filter((path) => !byPath.has(path)) });
  }
  return [...sets.values()];
}

/** Files that lie beside models and are none by themselves: what reads images, what quantisation was weighed by. */
export const isModel = ({ path }: GgufSet): boolean => !/(^|[-._/])(mmproj|imatrix)/i.test(path);

/** The types that llama.cpp and those who publish for it name, at the end of a name. */
const type = /(?:^|[-._])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|BF16|F16|F32|FP16|FP32|MXFP4\w*|NVFP4\w*))$/i;

/** The type that a model is of by its name, else by the name of its folder. */
export function typeOf({ path }: GgufSet): string | undefined {
  const parts = path.replace(/\.gguf$/i, "").replace(/-\d{5}-of-\d{5}$/, "").split("/").reverse();
  for (const part of parts) {
    const found = type.exec(part)?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * The models that a word means, of the clearest kind of meaning that any has: its path, or the path of one of its parts; its type; its type without
 * the mark of its maker (`Q4_K_XL` for `UD-Q4_K_XL`); a whole word of its name. Upper and lower case are one.
 */
export function meantBy(wanted: string, files: readonly HubFile[]): GgufSet[] {
  const sets = ggufSets(files);
  const word = wanted.toLowerCase();
  const kinds: readonly ((set: GgufSet) => boolean)[] = [
    (set) => set.files.some(({ path }) => path === wanted),
    (set) => isModel(set) && typeOf(set)?.toLowerCase() === word,
    (set) => isModel(set) && typeOf(set)?.toLowerCase() === `ud-${word}`,
    // A type that no model is of is no word of one that is of another.
    (set) => isModel(set) && !type.test(wanted) && words(set.path, word),
  ];
  for (const kind of kinds) {
    const meant = sets.filter(kind);
    if (meant.length > 0) return meant;
  }
  return [];
}

function words(path: string, word: string): boolean {
  const name = path.toLowerCase().replace(/\.gguf$/, "");
  for (let at = name.indexOf(word); at >= 0; at = name.indexOf(word, at + 1)) {
    const [before, after] = [name[at - 1], name[at + word.length]];
    if ([before, after].every((character) => character === undefined || /[-./]/.test(character))) return true;
  }
  return false;
}

/** Throws HubError `missing-part` for a model of which the repository lacks a part. */
export function wholeSet(repo: string, set: GgufSet): readonly HubFile[] {
  if (set.missing.length === 0) return set.files;
  throw new HubError(`${repo} lacks ${set.missing.length === 1 ? "a part" : `${set.missing.length} parts`} of this model: ${set.missing[0]}.`, {
    code: "missing-part",
    hint: "Choose another file, or another revision.",
  });
}
