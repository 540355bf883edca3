/** @file Warnings: what a user should know and no program has to stop for. Node prints them; who wants them listens to the process's `warning`. */

/** Warns once more: `place` says what it is about, a file or a setting. Listeners know it by the name `HornbookWarning`. */
export const warn = (message: string): void => process.emitWarning(message, "HornbookWarning");
