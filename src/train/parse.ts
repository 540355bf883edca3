/** @file Checks settings against a schema; what is wrong is said with the setting's full name, such as `schedule.rate`. */

import type { z } from "zod";
import { ConfigError } from "../errors.js";

/** The settings, completed. `path` is their own name within larger ones. Throws ConfigError, which names the first that is wrong. */
export function parseSettings<S extends z.ZodType>(schema: S, value: unknown, path?: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const unknown = issue.code === "unrecognized_keys";
  const field = [path, ...issue.path, ...(unknown ? [issue.keys[0]] : [])].filter((part) => part !== undefined).join(".");
  throw new ConfigError(field, unknown ? "there is no such setting." : `${issue.message}.`);
}
