/**
 * @file What is asked of the hub and what it lists: names, revisions, and which files of a repository make a model.
 *
 * Both ends are checked here. What a user types becomes part of addresses and paths; what a server lists becomes paths on this disk, and a
 * server may be hostile: a path that would leave its folder, a size that cannot be, or a checksum that is none, refuses the listing.
 */

import { z } from "zod";
import { HubError, UsageError } from "../../errors.js";
import { ggufSets, isModel, meantBy, typeOf, wholeSet } from "./gguf-files.js";

/** A file of a repository at one commit. */
export interface HubFile {
  /** Relative, with `/` between its parts. */
  readonly path: string;
  readonly size: number;
  /** SHA-256 of the content (64 hex digits) for a file in large-file storage, else the SHA-1 of its git blob (40). */
  readonly hash: string;
}

/** More than any model has; bounds what a server can make us hold. */
export const maxFiles = 20_000;

/** `ORG/NAME`, `ORG/NAME:FILE`, `ORG/NAME:TYPE`. Throws UsageError. */
export function parseRepo(text: string): { repo: string; file: string | undefined } {
  const colon = text.indexOf(":");
  const [repo, file] = colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
  checkRepo(repo);
  if (file !== undefined && !isSafePath(file)) throw new UsageError(`${JSON.stringify(file)} is no file of a repository.`, { code: "bad-name", hint: "Write ORG/NAME:FILE, as in org/model-GGUF:model-Q8_0.gguf." });
  return { repo, file };
}

/** Throws UsageError for what cannot be a repository's name. */
export function checkRepo(repo: string): void {
  const part = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_-])?$/;
  const parts = repo.split("/");
  if (parts.length <= 2 && parts.every((name) => part.test(name) && !/\.\.|--/.test(name))) return;
  throw new UsageError(`${JSON.stringify(repo)} is no name of a model on the hub.`, { code: "bad-name", hint: "It is ORG/NAME, as in HuggingFaceTB/SmolLM2-135M-Instruct." });
}

/** Throws UsageError for what cannot be a branch, a tag or a commit. */
export function checkRevision(revision: string): void {
  if (revision.length <= 250 && isSafePath(revision) && /^[\w./+@-]+$/.test(revision)) return;
  throw new UsageError(`${JSON.stringify(revision)} is no branch, tag or commit.`, { code: "bad-name", hint: "It is a name as `main`, or 40 hexadecimal digits." });
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** Whether a relative path stays in its folder, on any system. */
export function isSafePath(path: string): boolean {
  if (path === "" || path.length > 1000 || /[\\:\u0000-\u001f\u007f]/.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= 255);
}

const size = z.int().min(0);
const directorySchema = z.object({ type: z.literal("directory") });
const entrySchema = z.object({
  type: z.string(),
  path: z.string(),
  size,
  oid: z.string().regex(/^[0-9a-f]{40}$/),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size }).optional(),
});
const filesSchema = z.array(z.object({ path: z.string(), size, hash: z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/) }));

/** One entry of a hub's listing; undefined for a folder. Throws HubError `bad-response` or `unsafe-path`. */
export function parseEntry(entry: unknown): HubFile | undefined {
  if (directorySchema.safeParse(entry).success) return undefined;
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new HubError(`The hub's list of files has an entry that cannot be: ${issue.path.join(".") || "entry"}: ${issue.message}.`, { code: "bad-response" });
  }
  const { path, oid, lfs } = parsed.data;
  return checkPath({ path, size: lfs?.size ?? parsed.data.size, hash: lfs?.oid ?? oid });
}

/** A list of files as it was kept in the cache; undefined where it is not one. */
export function parseFiles(text: string): HubFile[] | undefined {
  try {
    return filesSchema.parse(JSON.parse(text)).map(checkPath);
  } catch {
    return undefined;
  }
}

function checkPath(file: HubFile): HubFile {
  if (isSafePath(file.path)) return file;
  throw new HubError(`The hub lists a file that would lie outside its folder: ${JSON.stringify(file.path.slice(0, 200))}. Nothing was downloaded.`, { code: "unsafe-path" });
}

/** What stands beside weights and is needed to run them or to read and write their text. */
const companions = new RegExp(
  `^(${[
    "config\\.json", "generation_config\\.json", "hf_quant_config\\.json", "tokenizer\\.json", "tokenizer_config\\.json", "special_tokens_map\\.json", "added_tokens\\.json",
    "vocab\\.json", "merges\\.txt", "tokenizer\\.model", "spiece\\.model", "[^/]*\\.tiktoken", "chat_template\\.(jinja|json)", "additional_chat_templates/[^/]+\\.jinja",
  ].join("|")})$`,
);
const standardWeights = /^model(-\d{5}-of-\d{5})?\.safetensors$/;

/**
 * The files to download: those that are named, or what makes up the model. Parts of one model come together.
 *
 * `wanted` is a file, or a type of GGUF (`Q4_K_M`), or another whole word that only one GGUF's name has.
 *
 * @throws HubError `no-such-file`; `choose-file` where there are several that it may be; `missing-part`; `pickle`; `no-weights`.
 */
export function chooseFiles(repo: string, files: readonly HubFile[], wanted: string | undefined): readonly HubFile[] {
  const sets = ggufSets(files);
  if (wanted !== undefined) {
    const meant = meantBy(wanted, files);
    if (meant.length === 1) return wholeSet(repo, meant[0]);
    if (meant.length > 1) {
      throw new HubError(`${repo} has more than one file ${JSON.stringify(wanted)}.`, { code: "choose-file", hint: `Name one: hornbook pull ${repo}:${meant[0].path}. There are:\n${listing(meant)}` });
    }
    const named = files.find(({ path }) => path === wanted);
    if (named === undefined) {
      throw new HubError(`${repo} has no file ${JSON.stringify(wanted)}.`, { code: "no-such-file", hint: `There are:\n${listing(sets.length > 0 ? sets : files)}` });
    }
    if (isPickle(named.path)) throw pickleError(repo, `${named.path} is a pickle`);
    return [named];
  }
  const top = files.filter(({ path }) => !path.includes("/") && path.endsWith(".safetensors"));
  const whole = top.filter(({ path }) => path === "model.safetensors");
  const standard = whole.length > 0 ? whole : top.filter(({ path }) => standardWeights.test(path));
  const weights = standard.length > 0 ? standard : top;
  if (weights.length > 0) {
    const index = whole.length > 0 ? [] : files.filter(({ path }) => path === "model.safetensors.index.json");
    return [...files.filter(({ path }) => companions.test(path)), ...index, ...weights];
  }
  const models = sets.filter(isModel);
  if (models.length === 1) return wholeSet(repo, models[0]);
  if (models.length > 1) {
    throw new HubError(`${repo} holds ${models.length} GGUF models, and one is needed.`, {
      code: "choose-file",
      hint: `Name one, or its type: hornbook pull ${repo}:${typeOf(models[0]) ?? models[0].path}. Smaller ones lose more; Q4_K_M and Q8_0 are the usual choices.\n${listing(models)}`,
    });
  }
  const pickle = files.find(({ path }) => isPickle(path));
  if (pickle !== undefined) throw pickleError(repo, `${repo} has its weights only as pickles (${pickle.path})`);
  throw new HubError(`${repo} holds no weights that Hornbook reads (safetensors or GGUF).`, { code: "no-weights", hint: files.length === 0 ? "It is empty." : `There are:\n${listing(files)}` });
}

const isPickle = (path: string): boolean => /(^|\/)(pytorch_model|consolidated|model|adapter_model)[^/]*\.bin$|\.(pt|pth|ckpt|pkl|pickle)$/.test(path);

function pickleError(repo: string, what: string): HubError {
  return new HubError(`${what}, whose opening can run any program that its author put into it; Hornbook opens none, and downloads none.`, {
    code: "pickle",
    hint: `Look for a safetensors version: the hub often has one as a revision, \`hornbook pull ${repo} --revision refs/pr/1\`, or on the model's page under Community.`,
  });
}

function listing(files: readonly { readonly path: string; readonly size: number }[]): string {
  const width = Math.max(...files.slice(0, 40).map(({ path }) => path.length));
  const rows = files.slice(0, 40).map(({ path, size }) => `  ${path.padEnd(width)}  ${(size / 1e6).toFixed(1).padStart(9)} MB`);
  return [...rows, ...(files.length > 40 ? [`  and ${files.length - 40} more`] : [])].join("\n");
}
