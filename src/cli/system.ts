/** @file What `hornbook info` says of this machine. */

import type { SystemInfo } from "../system-info.js";
import { table } from "./format.js";

const origins = { HORNBOOK_BUILD: "named by HORNBOOK_BUILD", build: "compiled on this machine", cache: "compiled on this machine", package: "from npm" } as const;

/** A table, and below it what was passed over and what to do about it. */
export function describeSystem({ version, node, platform, processor, device, threads, instructionSets, native, skipped, absence }: SystemInfo): string {
  const { supported, present, used, failed } = instructionSets;
  const rows = [
    ["hornbook", version],
    ["node", node],
    ["platform", `${platform}, ${processor}`],
    ["device", device === "cpu" ? `cpu (${used}, ${threads} thread${threads === 1 ? "" : "s"})` : "reference, in plain TypeScript"],
    ["instruction sets", supported === null ? "unknown, for want of the native half" : `${supported.join(", ")} of this machine; there are kernels for ${present.join(", ")}`],
    ["native half", native === null ? "none" : `${native.folder}, ${origins[native.origin]}`],
    ...Object.entries(failed).map(([name, reason]) => ["did not build", `${name}: ${reason}`]),
    ...skipped.map(({ path, reason }) => ["skipped", `${path}: ${reason}`]),
  ];
  return [table(rows), ...(absence === null ? [] : [`\nThere is no native half: ${absence.reason}. ${absence.remedy}`])].join("\n");
}
