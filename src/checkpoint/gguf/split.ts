/**
 * @file A model in several GGUF files, as llama.cpp's `llama-gguf-split` makes them: `NAME-00001-of-00003.gguf` and its like. The first has the metadata;
 * each says `split.no` (from 0), `split.count` and, of all tensors together, `split.tensors.count`.
 */

import { basename, dirname, join } from "node:path";
import { CheckpointError } from "../../errors.js";
import { gguf, type GgufMetadata, type GgufValue } from "./metadata.js";

const pattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** What a name says of its place among parts, which count from 1; undefined for a name that is not one of a part. */
export function splitName(path: string): { readonly prefix: string; readonly part: number; readonly count: number } | undefined {
  const [, prefix, part, count] = pattern.exec(path) ?? [];
  return prefix === undefined || Number(part) < 1 || Number(part) > Number(count) ? undefined : { prefix, part: Number(part), count: Number(count) };
}

/** The name of a part, from 1. */
export function partName(prefix: string, part: number, count: number): string {
  const digits = (n: number): string => String(n).padStart(5, "0");
  return `${prefix}-${digits(part)}-of-${digits(count)}.gguf`;
}

/** More than any model has. */
const maxParts = 10_000;

/** The paths of all parts of the model that a file is one of, in order; undefined for a file that is a model alone. */
export function partsOf(path: string, metadata: GgufMetadata): string[] | undefined {
  const count = metadata.number("split.count", 1);
  if (!Number.isInteger(count) || count < 0 || count > maxParts) throw new CheckpointError({ file: path, field: "split.count" }, `${count} parts cannot be.`, { code: "bad-checkpoint" });
  if (count <= 1) return undefined;
  const name = splitName(basename(path));
  if (name?.count !== count) {
    throw new CheckpointError({ file: path, field: "split.count" }, `this is one of ${count} files that hold a model together, and its name does not say which.`, {
      code: "bad-checkpoint",
      hint: `Give the parts their names again: ${partName("NAME", 1, count)} and so on.`,
    });
  }
  return Array.from({ length: count }, (_, i) => join(dirname(path), partName(name.prefix, i + 1, count)));
}

/** Throws CheckpointError `bad-checkpoint` unless a file is the part that its name says, of a model of as many parts and tensors as the first. */
export function checkPart(path: string, metadata: GgufMetadata, index: number, first: GgufMetadata): void {
  const expected: readonly (readonly [string, number | undefined])[] = [
    ["split.no", index],
    ["split.count", first.number("split.count")],
    ["split.tensors.count", first.has("split.tensors.count") ? first.number("split.tensors.count") : undefined],
  ];
  for (const [field, value] of expected) {
    const found = metadata.has(field) ? metadata.number(field) : undefined;
    if (value === undefined || found === value) continue;
    throw new CheckpointError({ file: path, field }, `it is ${found ?? "not said"} here and ${field === "split.no" ? "by the name of the file" : "in the first part"} ${value}: the parts are of different models, or were renamed.`, {
      code: "bad-checkpoint",
    });
  }
  // Later parts need say nothing of the model; what they say must be the same.
  for (const field of ["general.architecture", "general.name", "general.file_type"]) {
    const [here, there] = [metadata.values.get(field)?.value, first.values.get(field)?.value];
    if (here !== undefined && there !== undefined && here !== there) {
      throw new CheckpointError({ file: path, field }, `it is ${JSON.stringify(here)} here and ${JSON.stringify(there)} in the first part: the parts are of different models.`, { code: "bad-checkpoint" });
    }
  }
}

/** What a part says of its place, from 0, in llama.cpp's types. */
export function splitMetadata(index: number, count: number, tensors: number): [string, GgufValue][] {
  return [["split.no", gguf.uint16(index)], ["split.count", gguf.uint16(count)], ["split.tensors.count", gguf.int32(tensors)]];
}

/** Whether a key says that a file is a part, which does not hold of what is made from it. */
export const isSplitKey = (key: string): boolean => key.startsWith("split.");
