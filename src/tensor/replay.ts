/**
 * @file Work that is the same each time, such as the step that makes one more token, is described once and then queued again as it is: the device keeps its
 * commands, and nothing of the TypeScript that made them runs.
 *
 * The body must depend on the contents of tensors alone: the same kernels on the same tensors, of the same shapes, with the same attributes. What
 * changes from one run to the next lies in tensors that the caller writes before. Where a tensor that the body used was freed, or its device cannot
 * record, the body runs again.
 */

import type { Device, Recording } from "./device.js";
import { keep } from "./scope.js";
import type { Tensor } from "./tensor.js";

export class Replay<T extends readonly Tensor[]> {
  #recording: Recording | undefined;
  #result: T | undefined;

  constructor(
    private readonly device: Device,
    private readonly body: () => T,
    /** With `record: false` the body runs each time. */
    private readonly options: { readonly record?: boolean } = {},
  ) {}

  /** Whether the next run repeats the last one without the body. */
  get ready(): boolean {
    return this.#recording?.valid === true;
  }

  /** The body's results, whose contents the next run overwrites; they belong to this object. */
  run(): T {
    if (this.#result !== undefined && this.ready) {
      this.#recording!.replay();
      for (const tensor of this.#result) tensor.storage.version++;
      return this.#result;
    }
    this.dispose();
    let result: T | undefined;
    const run = (): void => {
      result = this.body();
      result.forEach(keep);
    };
    if (this.device.record === undefined || this.options.record === false) run();
    else this.#recording = this.device.record(run);
    return (this.#result = result!);
  }

  /** Frees the results and the recording; a later run begins anew. */
  dispose(): void {
    this.#recording?.dispose();
    this.#recording = undefined;
    for (const tensor of this.#result ?? []) tensor.dispose();
    this.#result = undefined;
  }
}
