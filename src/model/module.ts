/**
 * @file A module is an object with parameters: its tensor fields that have a role, and those of the modules it holds. A parameter's name is
 * the path to it, as in `blocks.0.mixer.output.weight`; names are stable, and checkpoints map onto them. Tensor fields without a role are
 * constants, such as RoPE's tables.
 *
 * Each module also knows its path as taps spell it (`blocks.0.attn`): `nameModules` walks the tree once and tells every module.
 */

import { ShapeError } from "../errors.js";
import { QuantizedTensor, Tensor, keep, type Weight } from "../tensor/index.js";
import { sameShape } from "../tensor/shape.js";
import { passTap, type ForwardContext } from "./context.js";
import { roleOf, setRole } from "./parameter.js";

export abstract class Module {
  /** Its path in the names of taps; the model's own is empty. */
  tapPath = "";

  /** Every float parameter by its path, in the order of the fields, trainable or not. A tensor that two modules share appears once, at its first path. */
  parameters(): Map<string, Tensor> {
    return new Map([...this.tensors()].filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor && roleOf(entry[1]) !== undefined));
  }

  /** The parameters that training changes: those that require a gradient. */
  trainableParameters(): Map<string, Tensor> {
    return new Map([...this.parameters()].filter(([, parameter]) => parameter.requiresGrad));
  }

  /** What a checkpoint holds: the parameters, and the quantised weights that stand in the place of some. */
  weights(): Map<string, Weight> {
    return new Map([...this.tensors()].filter(([, tensor]) => roleOf(tensor) !== undefined));
  }

  /** Parameters, quantised weights and constants. */
  tensors(): Map<string, Weight> {
    const named = new Map<string, Weight>();
    const seen = new Set<Weight>();
    this.#visit((path, value) => {
      if (!(value instanceof Tensor || value instanceof QuantizedTensor)) return;
      if (!seen.has(value)) named.set(path, value);
      seen.add(value);
    });
    return named;
  }

  /** Every module inside by its path, this one (with an empty path) first. */
  modules(): Map<string, Module> {
    const named = new Map<string, Module>([["", this]]);
    this.#visit((path, value) => {
      if (value instanceof Module) named.set(path, value);
    });
    return named;
  }

  /** Number of parameters, quantised ones included; shared ones count once. */
  get numParameters(): number {
    let count = 0;
    for (const weight of this.weights().values()) count += weight.size;
    return count;
  }

  /** Bytes of the parameters as they lie in memory; shared ones count once. */
  get numBytes(): number {
    let bytes = 0;
    for (const weight of this.weights().values()) bytes += weight instanceof QuantizedTensor ? weight.numBytes : 4 * weight.size;
    return bytes;
  }

  /** Floating-point operations of the forward pass for one token in a sequence of `time` tokens: 2 for each parameter, unless a part knows better. */
  forwardFlops(_time: number): number {
    return 2 * this.numParameters;
  }

  /** Sets whether training changes the parameters whose names `matches` accepts; quantised weights never change. Gives how many there are. */
  setTrainable(trainable: boolean, matches: (name: string) => boolean = () => true): number {
    const chosen = [...this.parameters()].filter(([name]) => matches(name));
    for (const [, parameter] of chosen) parameter.requiresGrad = trainable;
    return chosen.length;
  }

  /**
   * Puts weights in the places of those at their paths, which are disposed of; the new ones take over their roles. Wherever a module shares
   * an old one, it shares the new one.
   *
   * @throws RangeError when there is nothing at a path, ShapeError when shapes differ; then nothing has been replaced.
   */
  replace(weights: ReadonlyMap<string, Weight>): void {
    const named = this.tensors();
    const replacements = new Map<Weight, Weight>();
    for (const [path, weight] of weights) {
      const old = named.get(path);
      if (old === undefined) throw new RangeError(`There is no tensor at ${path}.`);
      if (!sameShape(old.shape, weight.shape)) throw new ShapeError("replace", [old.shape, weight.shape], `The weight does not fit ${path}.`);
      replacements.set(old, weight);
    }
    this.#visit((_, value, set) => {
      const weight = replacements.get(value as Weight);
      if (weight !== undefined) set(weight);
    });
    for (const [old, weight] of replacements) {
      const role = roleOf(old);
      if (role !== undefined) setRole(weight, role);
      old.dispose();
    }
  }

  /** Puts a module in the place of the one at this path, and gives the old one. Throws RangeError when there is none. */
  replaceModule(path: string, module: Module): Module {
    let old: Module | undefined;
    this.#visit((at, value, set) => {
      if (at !== path || !(value instanceof Module)) return;
      old = value;
      set(module);
    });
    if (old === undefined) throw new RangeError(`There is no module at ${path}.`);
    nameModules(this);
    return old;
  }

  /** Turns quantised weights into f32 parameters, which can be trained and take several times the memory. Gives how many there were. */
  dequantize(): number {
    const quantized = [...this.weights()].filter((entry): entry is [string, QuantizedTensor] => entry[1] instanceof QuantizedTensor);
    for (const [path, weight] of quantized) {
      const parameter = keep(weight.dequantize());
      parameter.requiresGrad = true;
      this.replace(new Map([[path, parameter]]));
    }
    return quantized.length;
  }

  /** Frees every parameter with its gradient, and every constant. The module cannot be used after that. */
  dispose(): void {
    for (const tensor of this.tensors().values()) tensor.dispose();
  }

  /** The name that taps give to what is in a field; undefined where the field adds nothing to the path. */
  protected tapName(field: string): string | undefined {
    return field;
  }

  /** Lets whoever listens to this activation see it and change it. */
  protected tap(context: ForwardContext, hook: string, activation: Tensor): Tensor {
    return context.taps === undefined ? activation : passTap(context.taps, this.#hookName(hook), activation);
  }

  /** Whether anybody listens to one of these activations. */
  protected isTapped(context: ForwardContext, ...hooks: string[]): boolean {
    const { taps } = context;
    return taps !== undefined && hooks.some((hook) => taps.wants(this.#hookName(hook)));
  }

  #hookName(hook: string): string {
    return this.tapPath === "" ? hook : `${this.tapPath}.${hook}`;
  }

  #visit(use: (path: string, value: Weight | Module, set: (value: Weight | Module) => void) => void): void {
    const visit = (holder: object, path: string): void => {
      for (const field of Object.keys(holder)) {
        const value = (holder as Record<string, unknown>)[field];
        const at = path === "" ? field : `${path}.${field}`;
        const set = (replacement: Weight | Module): void => void Object.assign(holder, { [field]: replacement });
        if (value instanceof Tensor || value instanceof QuantizedTensor) use(at, value, set);
        else if (value instanceof Module) use(at, value, set);
        // What is there now: `use` may have replaced it.
        const inside = (holder as Record<string, unknown>)[field];
        if (Array.isArray(inside) || inside instanceof Module) visit(inside, at);
      }
    };
    visit(this, "");
  }

  /** Tells every module below `root` its path in the names of taps. */
  static nameAll(root: Module): void {
    const name = (module: Module, path: string): void => {
      module.tapPath = path;
      for (const [field, value] of Object.entries(module)) {
        const own = value instanceof Module || Array.isArray(value) ? module.tapName(field) : undefined;
        const at = own === undefined ? path : path === "" ? own : `${path}.${own}`;
        if (value instanceof Module) name(value, at);
        else if (Array.isArray(value)) value.forEach((item, i) => item instanceof Module && name(item, `${at}.${i}`));
      }
    };
    name(root, "");
  }
}

/** Tells every module below `root` its path in the names of taps; call it when the tree has changed. */
export function nameModules(root: Module): void {
  Module.nameAll(root);
}
