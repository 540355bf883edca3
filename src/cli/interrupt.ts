/** @file Ctrl-C: the first asks the work to end in order (and to save), the second ends the process at once. */

import { endLine } from "./terminal.js";

/** A signal that aborts on the first SIGINT or SIGTERM. `dispose` gives the keys back. */
export function interruptible(onFirst?: () => void): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) {
      endLine();
      process.exit(130);
    }
    onFirst?.();
    controller.abort();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off("SIGINT", stop).off("SIGTERM", stop);
    },
  };
}
