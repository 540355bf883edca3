/**
 * @file The errors a user of Hornbook can meet. Each says what is wrong, where, and (`hint`) what to do about it; `code` is stable, for
 * programs. A caller tells kinds apart by class (`instanceof DataError`) and cases within a kind by `code`.
 *
 * Anything else that is thrown is a bug in Hornbook, with one exception: an aborted job rejects with its signal's reason, as the platform does.
 */

export interface ErrorDetails {
  /** A stable name of the case, such as `text-too-short`. */
  readonly code?: string;
  /** What the user can do about it, as a sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** The base of all errors below. `message` ends with the hint, so that it is read wherever only the message is printed. */
export class HornbookError extends Error {
  readonly code: string;
  readonly hint?: string;

  constructor(message: string, details: ErrorDetails = {}) {
    super(details.hint === undefined ? message : `${message} ${details.hint}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code ?? "hornbook";
    if (details.hint !== undefined) this.hint = details.hint;
  }
}

/** The command line or a function was used in a way it does not have: an unknown flag, a missing argument. */
export class UsageError extends HornbookError {}

/** A configuration that cannot be: heads that do not divide the width, zero layers, a negative rate. `field` names the setting. */
export class ConfigError extends HornbookError {
  readonly field: string;

  constructor(field: string, message: string, details: ErrorDetails = {}) {
    super(`${field}: ${message}`, { code: "bad-config", ...details });
    this.field = field;
  }
}

/** Operands whose shapes do not fit each other. Names the op and every shape. */
export class ShapeError extends HornbookError {
  readonly op: string;
  readonly shapes: readonly (readonly number[])[];

  constructor(op: string, shapes: readonly (readonly number[])[], message: string, details: ErrorDetails = {}) {
    super(`${op}: ${message} Shapes: ${shapes.map((shape) => `[${shape.join(", ")}]`).join(" and ")}.`, { code: "shape-mismatch", ...details });
    this.op = op;
    this.shapes = shapes;
  }
}

/**
 * A kernel failed on its device: an id outside a table, memory that ran out. Thrown by the wait after it. `kernel` is its name in the
 * contract; `operands` tells their shapes, as in `table [10, 4], ids [3]`.
 */
export class DeviceError extends HornbookError {
  readonly kernel: string;

  constructor(kernel: string, operands: string, message: string, details: ErrorDetails = {}) {
    super(`${kernel}(${operands}): ${message}`, { code: "device", ...details });
    this.kernel = kernel;
  }
}

/** Where in a file something is wrong; each part is given when it is known. */
export interface FilePlace {
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** The tensor, key or field. */
  readonly field?: string;
  /** In bytes from the start of the file. */
  readonly offset?: number;
}

/** An error about what stands in a file; the message opens with the place. */
class FileError extends HornbookError implements FilePlace {
  readonly file?: string;
  readonly line?: number;
  readonly field?: string;
  readonly offset?: number;

  constructor(place: FilePlace, message: string, details: ErrorDetails = {}) {
    super(`${describePlace(place)}${message}`, details);
    if (place.file !== undefined) this.file = place.file;
    if (place.line !== undefined) this.line = place.line;
    if (place.field !== undefined) this.field = place.field;
    if (place.offset !== undefined) this.offset = place.offset;
  }
}

/** Training text or tokens that cannot be used: absent, empty, too short, not UTF-8, a bad JSONL line. */
export class DataError extends FileError {}

/** A tokenizer, or a file of one, that cannot be used; a token id outside its vocabulary. */
export class TokenizerError extends FileError {}

/** A checkpoint that is truncated, altered, locked by another run, or could not be written. */
export class CheckpointError extends FileError {}

/** Something that could not be had from the model hub: it does not exist, is not open to us, cannot be reached, or is not what was promised. */
export class HubError extends HornbookError {
  /** The HTTP status, where the hub answered. */
  readonly status?: number;

  constructor(message: string, { status, ...details }: ErrorDetails & { readonly status?: number | undefined } = {}) {
    super(message, { code: "hub", ...details });
    if (status !== undefined) this.status = status;
  }
}

function describePlace({ file, line, field, offset }: FilePlace): string {
  const where = [
    file === undefined ? "" : line === undefined ? file : `${file}:${line}`,
    field === undefined ? "" : `"${field}"`,
    offset === undefined ? "" : `at byte ${offset}`,
  ].filter((part) => part !== "");
  return where.length === 0 ? "" : `${where.join(", ")}: `;
}

/** The code of a failed system call (`ENOENT`, `ENOSPC`), or undefined for any other value. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}
