/** @file What may help where a path does not exist: it may have been meant as the name of a model on the hub. */

import { stat } from "node:fs/promises";
import { isAddress, parseHubName } from "./address.js";
import { RepoCache, defaultHubCache } from "./cache.js";

/** Where a pulled model lies, or how to pull it; undefined for a path that can be no name or address on the hub. Nothing is downloaded. */
export async function hubHint(path: string): Promise<string | undefined> {
  let name;
  try {
    name = parseHubName(path);
  } catch {
    return isAddress(path) ? "It is an address, and not one of a model on the hub: download it, and name the file here." : undefined;
  }
  if (!name.repo.includes("/")) return undefined;
  const cache = new RepoCache(defaultHubCache(), name.repo);
  const commit = await cache.commit(name.revision ?? "main");
  const place = commit === undefined ? undefined : cache.snapshot(commit, name.file);
  const pulled = place !== undefined && (await stat(place).catch(() => undefined)) !== undefined;
  return pulled ? `The model of that name on the hub was pulled; it lies in ${place}.` : `If it is a model on the hub: \`hornbook pull ${path}\` downloads it.`;
}
