/**
 * @file Which GGUF files of a repository a word means. Repositories have one model in many quantised types, each a file or, where it is large, a set of
 * parts, by its name's end (`model-Q4_K_M.gguf`) or in a folder (`Q4_K_M/model-00001-of-00003.gguf`). A type is a whole word: F16 is not the end of
 * BF16, and Q2_K_L is not a kind of Q2_K.
 */

import { HubError } from "../../errors.js";
import { partName, splitName } from "../gguf/split.js";
import type { HubFile } from "./files.js";

/** One model: a file, or its parts in order. */
export interface GgufSet {
  /** The path of the file, or of the first part. */
  readonly path: string;
  readonly files: readonly HubFile[];
  /** Of all files together. */
  readonly size: number;
  /** The first part that is not listed, and how many are not. */
  readonly missing?: { readonly path: string; readonly count: number };
}

export const isGguf = ({ path }: HubFile): boolean => /\.gguf$/i.test(path);

/** All models among the files. */
export function ggufSets(files: readonly HubFile[]): GgufSet[] {
  const sets = new Map<string, HubFile[]>();
  for (const file of files.filter(isGguf)) {
    const split = splitName(file.path);
    const first = split === undefined ? file.path : partName(split.prefix, 1, split.count);
    const set = sets.get(first);
    if (set === undefined) sets.set(first, [file]);
    else set.push(file);
  }
  return [...sets].map(([path, files]) => {
    const sorted = files.sort((a, b) => (a.path < b.path ? -1 : 1));
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const split = splitName(path);
    if (split === undefined || files.length === split.count) return { path, files: sorted, size };
    const gap = sorted.findIndex((file, i) => file.path !== partName(split.prefix, i + 1, split.count));
    const missing = { path: partName(split.prefix, (gap < 0 ? sorted.length : gap) + 1, split.count), count: split.count - files.length };
    return { path, files: sorted, size, missing };
  });
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
export function wholeSet(repo: string, { files, missing }: GgufSet): readonly HubFile[] {
  if (missing === undefined) return files;
  throw new HubError(`${repo} lacks ${missing.count === 1 ? "a part" : `${missing.count} parts`} of this model: ${missing.path}.`, {
    code: "missing-part",
    hint: "Choose another file, or another revision.",
  });
}
