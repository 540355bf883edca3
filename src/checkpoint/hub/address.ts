/**
 * @file How people name a model on the hub: `ORG/NAME`, `ORG/NAME:FILE`, or an address copied from the browser or another program, such as
 * `https://huggingface.co/ORG/NAME/blob/main/model.gguf` and `hf.co/ORG/NAME:Q4_K_M`.
 */

import { UsageError } from "../../errors.js";
import { checkRevision, parseRepo } from "./files.js";

/** A model on the hub, as it was named. */
export interface HubAddress {
  readonly repo: string;
  /** One file of it, or a part of its name. */
  readonly file: string | undefined;
  /** A branch, a tag or a commit, where the address names one. */
  readonly revision: string | undefined;
}

const hubHosts = ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"];
/** What stands after ORG/NAME on pages about a repository, rather than one of its files. */
const pages = ["discussions", "commits", "community", "settings", "blame"];

/** Whether a text is an address, and cannot be a path or ORG/NAME. */
export function isAddress(text: string): boolean {
  return /^(https?|hf):\/\//i.test(text) || [...hubHosts, ownHost()].some((host) => host !== undefined && text.toLowerCase().startsWith(`${host}/`));
}

/**
 * What a text names on the hub: by name, or by an address on huggingface.co, hf.co or the hub of HF_ENDPOINT.
 *
 * @throws UsageError `bad-name` for what is no name of a model, an address elsewhere, and the page of something else than a model.
 */
export function parseHubName(text: string): HubAddress {
  if (!isAddress(text)) return { ...parseRepo(text), revision: undefined };
  const path = pathOnHub(text);
  if (path[0] === "api") path.shift();
  const [kind] = path;
  if (kind === undefined) throw badName(text, "names no model.", "A model's address is https://huggingface.co/ORG/NAME.");
  if (kind === "datasets" || kind === "spaces" || kind === "collections" || kind === "papers") {
    throw badName(text, `names no model, but stands among the hub's ${kind}.`, "A model's address is https://huggingface.co/ORG/NAME.");
  }
  const [owner, name = "", view, ...rest] = kind === "models" ? path.slice(1) : path;
  const repo = [owner, name].filter((part) => part !== "").join("/");
  if (view === undefined || pages.includes(view)) return { ...parseRepo(repo), revision: undefined };
  if (!["tree", "blob", "resolve", "raw"].includes(view)) {
    throw badName(text, `names nothing that can be downloaded: there is no ${JSON.stringify(view)} of a model.`, `The model is ${repo}.`);
  }
  // A branch such as refs/pr/1 has slashes of its own; in a browser's address they are %2F.
  const parts = rest[0] === "refs" && rest.length >= 3 ? [rest.slice(0, 3).join("/"), ...rest.slice(3)] : rest;
  const [revision, ...file] = parts;
  if (revision !== undefined) checkRevision(revision);
  if (view === "tree" && file.length > 0) throw badName(text, "is a folder within a model.", `Name the model, ${repo}, or a file of it.`);
  return { ...parseRepo(file.length === 0 ? repo : `${repo}:${file.join("/")}`), revision };
}

/** The parts of an address's path below the hub's own. */
function pathOnHub(text: string): string[] {
  const own = ownAddress();
  let url: URL;
  try {
    url = new URL(text.replace(/^hf:\/\//i, "https://huggingface.co/").replace(/^(?!https?:)/i, "https://"));
  } catch {
    throw badName(text, "is no address.", "A model's address is https://huggingface.co/ORG/NAME.");
  }
  const isOwn = own !== undefined && url.host === own.host && url.pathname.startsWith(own.pathname.replace(/\/*$/, "/"));
  if (!isOwn && !hubHosts.includes(url.hostname)) {
    throw badName(text, `is no address on the hub, ${own?.host ?? "huggingface.co"}.`, `Where ${url.host} is a hub too, set HF_ENDPOINT=${url.origin}; any other file is downloaded by other means, and then named by its path.`);
  }
  const path = isOwn ? url.pathname.slice(own.pathname.replace(/\/*$/, "").length) : url.pathname;
  try {
    return path.split("/").filter((part) => part !== "").map(decodeURIComponent);
  } catch {
    throw badName(text, "is no address: a % in it begins no character.", "Copy it again from the browser.");
  }
}

function ownAddress(): URL | undefined {
  try {
    return new URL(process.env["HF_ENDPOINT"] ?? "");
  } catch {
    return undefined;
  }
}

const ownHost = (): string | undefined => ownAddress()?.host;

function badName(text: string, message: string, hint: string): UsageError {
  return new UsageError(`${text} ${message}`, { code: "bad-name", hint });
}
