/** @file What a user should know of a file and is no error: told by `process.emitWarning`, each text once a process. */

const told = new Set<string>();

export function warnOnce(text: string): void {
  if (told.has(text)) return;
  told.add(text);
  process.emitWarning(text, { type: "HornbookWarning", code: "HORNBOOK_MODEL_FILES" });
}
