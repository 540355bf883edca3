/** @file Warnings: what a user should know and no program has to stop for. Node prints them; who wants them listens to the process's `warning`. */

/** Warns: the message says what it is about, a file or a setting. Listeners know it by the name `HornbookWarning`. */
export const warn = (message: string): void => process.emitWarning(message, "HornbookWarning");

const told = new Set<string>();

/** Warns of what stands in a model's files, each text once a process, with the code `HORNBOOK_MODEL_FILES`. */
export function warnOnce(message: string): void {
  if (told.has(message)) return;
  told.add(message);
  process.emitWarning(message, { type: "HornbookWarning", code: "HORNBOOK_MODEL_FILES" });
}
