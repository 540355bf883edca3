/** @file Warnings of the library (`process.emitWarning`), as one line each on stderr, and each but once. */

import { setImmediate } from "node:timers/promises";
import pc from "picocolors";
import { say } from "./terminal.js";

/** Shows the library's warnings until it is disposed of; Node's own stay with Node. */
export function showWarnings(): AsyncDisposable {
  const others = process.listeners("warning");
  const shown = new Set<string>();
  const show = (warning: Error & { readonly code?: unknown }): void => {
    if (!isOurs(warning)) {
      for (const listener of others) listener(warning);
      return;
    }
    const text = warning.message.replace(/\s*\n\s*/g, " ");
    if (!shown.has(text)) say(`${pc.yellow("hornbook: warning:")} ${text}`);
    shown.add(text);
  };
  // Node's own listener prints what is said here as well, and would print it twice.
  process.removeAllListeners("warning").on("warning", show);
  return {
    async [Symbol.asyncDispose]() {
      // A warning comes a tick after it is emitted.
      await setImmediate();
      process.off("warning", show);
      for (const listener of others) process.on("warning", listener);
    },
  };
}

function isOurs({ name, code }: Error & { readonly code?: unknown }): boolean {
  return name === "HornbookWarning" || (typeof code === "string" && code.startsWith("HORNBOOK_"));
}
