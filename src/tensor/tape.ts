/**
 * @file Reverse-mode automatic differentiation. While gradients are enabled, an op that touches a tensor which requires them records a
 * node: its inputs, its output, what it saved, and how to turn the gradient of the output into those of the inputs. `backward` walks the
 * nodes from the newest to the oldest, and each lets go of what it saved as soon as it has run, so memory falls while it goes.
 */

import { HornbookError, ShapeError } from "../errors.js";
import type { DType, FloatDType } from "./dtype.js";
import { launch } from "./launch.js";
import { currentScope, ownerOf, scope } from "./scope.js";
import { sameShape } from "./shape.js";
import { Tensor } from "./tensor.js";

/**
 * The backward half of an op. `dy` is the gradient of the output, in the output's dtype and shape, though not always dense. Returns one
 * gradient an input, in the input's shape; undefined for those that `needs` says nobody wants. It runs in a scope of its own, with
 * recording off: what it makes and does not return is freed.
 *
 * Two offers save passes over memory, and may be ignored. `into[i]`, where given, is a dense gradient of input i that
 * already holds a value: an op that can accumulate adds to it and returns `into[i]` itself. `place(i)` may give memory of input i's shape,
 * not always dense, where its gradient will be wanted in the end (a part of a larger gradient): an op that can write there does
 * and returns it. Both have the dtype of the input, or for a leaf that which `backward` was asked for.
 */
export type Backward = (dy: Tensor, needs: readonly boolean[], into: readonly (Tensor | undefined)[], place: Place) => (Tensor | undefined)[];

export type Place = (input: number) => Tensor | undefined;

/** The backward half of an op with several outputs; the gradient of one that nobody used is undefined. */
export type BackwardOfMany = (dys: readonly (Tensor | undefined)[], ...rest: Tail<Parameters<Backward>>) => (Tensor | undefined)[];
type Tail<T extends unknown[]> = T extends [unknown, ...infer Rest] ? Rest : never;

export interface GraphNode {
  readonly op: string;
  /** Grows with time: inputs come before what is computed from them. */
  readonly sequence: number;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
  /** Undefined once it has run or was given up. */
  backward: BackwardOfMany | undefined;
  /** See `Backward`: memory for the gradient of one of the outputs. */
  readonly place: ((output: Tensor) => Tensor | undefined) | undefined;
}

let enabled = true;
let sequence = 0;
/** See `BackwardOptions`. */
let narrowest: FloatDType = "f32";

export function gradEnabled(): boolean {
  return enabled;
}

/** Whether an op on these inputs will be recorded, so that it is worth keeping what the backward pass reads. */
export function willRecord(inputs: readonly Tensor[]): boolean {
  return enabled && inputs.some((input) => input.requiresGrad);
}

/** Runs `body` without recording: for evaluation, generation and updates. */
export function noGrad<T>(body: () => T): T {
  return withGrad(false, body);
}

function withGrad<T>(value: boolean, body: () => T): T {
  const before = enabled;
  enabled = value;
  try {
    return body();
  } finally {
    enabled = before;
  }
}

/**
 * Records how `output` came about, when any input requires a gradient, and returns it. Tensors that `backward` reads must be in `saved`
 * (inputs too): they are kept alive until then, whatever their scope does.
 */
export function record(
  op: string,
  output: Tensor,
  inputs: readonly Tensor[],
  saved: readonly Tensor[],
  backward: Backward,
  place?: (output: Tensor) => Tensor | undefined,
): Tensor {
  if (willRecord(inputs)) {
    const ofMany: BackwardOfMany = ([dy], needs, into, placeOf) => (dy === undefined ? [] : backward(dy, needs, into, placeOf));
    addNode({ op, sequence: sequence++, inputs, outputs: [output], saved, backward: ofMany, place });
  }
  return output;
}

/** As `record`, for an op whose outputs must get their gradients together. */
export function recordMany(
  op: string,
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  saved: readonly Tensor[],
  backward: BackwardOfMany,
  place?: (output: Tensor) => Tensor | undefined,
): void {
  if (willRecord(inputs)) addNode({ op, sequence: sequence++, inputs, outputs, saved, backward, place });
}

function addNode(node: GraphNode): void {
  for (const tensor of node.saved) tensor.retain();
  for (const output of node.outputs) {
    output.node = node;
    output.requiresGrad = true;
  }
  currentScope()?.nodes.add(node);
}

/** Gives up a node: what it saved is released, and backward can no longer pass it. */
export function releaseGraph(node: GraphNode): void {
  if (node.backward === undefined) return;
  node.backward = undefined;
  for (const tensor of node.saved) tensor.release();
}

export interface BackwardOptions {
  /**
   * With "bf16" the gradient of a leaf may stay as narrow as the product that makes it, in half the memory, as PyTorch's autocast rounds it too.
   * Not for sums over several passes, each of which would be rounded. By default "f32": a gradient has the dtype of its leaf.
   */
  readonly gradients?: FloatDType;
}

/**
 * Adds to `grad` of every leaf that requires it the derivative of `root` (times `seed`, by default 1). The graph is used up.
 * Throws ShapeError when `seed` has not the shape of the root, and HornbookError when the root was not recorded.
 */
export function backward(root: Tensor, seed?: Tensor, { gradients: dtype = narrowest }: BackwardOptions = {}): void {
  if (root.node === undefined && !root.requiresGrad) {
    throw new HornbookError("backward: this tensor does not depend on anything that requires a gradient.", { code: "no-graph" });
  }
  if (seed !== undefined && !sameShape(seed.shape, root.shape)) throw new ShapeError("backward", [seed.shape, root.shape], "The seed must have the shape of the root.");
  if (seed === undefined && root.size !== 1) throw new ShapeError("backward", [root.shape], "Only a single number has a gradient without a seed.");

  withGrad(false, () => {
    const gradients = new Map<Tensor, Tensor>();
    const before = narrowest;
    narrowest = dtype;
    try {
      scope(() => {
        const first = seed ?? Tensor.empty(root.shape, root.dtype, root.device);
        if (seed === undefined) launch("fill", { y: first }, { value: 1 });
        deposit(gradients, root, first);
      });
      for (const node of reachable(root)) runNode(node, gradients);
    } finally {
      narrowest = before;
      for (const gradient of gradients.values()) gradient.release();
    }
  });
}

/** Every recorded node below the root, newest first. */
function reachable(root: Tensor): GraphNode[] {
  const found = new Set<GraphNode>();
  const pending = root.node === undefined ? [] : [root.node];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    for (const input of node.inputs) if (input.node !== undefined) pending.push(input.node);
  }
  return [...found].sort((a, b) => b.sequence - a.sequence);
}

function runNode(node: GraphNode, gradients: Map<Tensor, Tensor>): void {
  const dys = node.outputs.map((output) => gradients.get(output));
  if (dys.some((dy) => dy !== undefined)) {
    const run = node.backward;
    if (run === undefined) throw new HornbookError(`backward: the graph through ${node.op} was used or given up already.`, { code: "graph-used" });
    const { inputs } = node;
    const held = (input: Tensor): Tensor | undefined => (input.node === undefined ? input.grad : gradients.get(input));
    scope(() => {
      const needs = inputs.map((input) => input.requiresGrad);
      const into = inputs.map((input) => {
        const sum = held(input);
        return sum !== undefined && isOwn(sum) ? sum : undefined;
      });
      const place: Place = (i) => (held(inputs[i]) === undefined ? placeFor(inputs[i]) : undefined);
      run(dys, needs, into, place).forEach((gradient, i) => {
        if (gradient !== undefined && needs[i] && gradient !== into[i]) deposit(gradients, inputs[i], gradient);
      });
    });
    node.outputs.forEach((output) => gradients.delete(output));
    for (const dy of dys) dy?.release();
  }
  releaseGraph(node);
}

function placeFor(input: Tensor): Tensor | undefined {
  if (input.node !== undefined) return input.node.place?.(input);
  const dtype = narrowestFor(input);
  return dtype === input.dtype ? undefined : Tensor.empty(input.shape, dtype, input.device);
}

/** The dtype that the gradient of a leaf may have beside the leaf's own. */
function narrowestFor(leaf: Tensor): DType {
  return leaf.dtype === "f32" ? narrowest : leaf.dtype;
}

/** Whether a gradient may be written in place: it has no holes or overlaps, and nobody else sees its memory. */
function isOwn(gradient: Tensor): boolean {
  return gradient.isDense && gradient.isExclusive;
}

/** Adds a gradient to what the target has so far. */
function deposit(gradients: Map<Tensor, Tensor>, target: Tensor, gradient: Tensor): void {
  if (!sameShape(target.shape, gradient.shape)) {
    throw new ShapeError("backward", [target.shape, gradient.shape], "A gradient has another shape than its tensor.");
  }
  const isLeaf = target.node === undefined;
  const held = isLeaf ? target.grad : gradients.get(target);
  if (held !== undefined && isOwn(held)) {
    launch("accumulate", { x: gradient, y: held }, { scale: 1 });
    return;
  }
  let next = gradient;
  const fits = gradient.dtype === target.dtype || (isLeaf && gradient.dtype === narrowestFor(target));
  if (held !== undefined || !fits || (isLeaf && !isOwn(gradient))) {
    // A sum needs memory of its own, and so does a leaf's gradient, which outlives the pass and is written in place later.
    next = Tensor.empty(target.shape, target.dtype, target.device);
    if (held !== undefined && gradient.dtype === held.dtype) launch("binary", { a: held, b: gradient, y: next }, { op: "add" });
    else {
      launch("copy", { x: gradient, y: next }, {});
      if (held !== undefined) launch("accumulate", { x: held, y: next }, { scale: 1 });
    }
    if (isLeaf) held?.dispose();
    else held?.release();
  }
  hold(gradients, target, next);
}

/** Makes the tape (or, for a leaf, the leaf) an owner of the gradient. */
function hold(gradients: Map<Tensor, Tensor>, target: Tensor, gradient: Tensor): void {
  const owner = currentScope();
  if (owner?.tensors.delete(gradient) !== true) {
    // Somebody else owns this handle (and may have given it up already), so the tape takes one of its own on the same memory.
    gradient = gradient.detach();
    owner?.tensors.delete(gradient);
  }
  if (target.node !== undefined) {
    gradients.set(target, gradient);
    return;
  }
  target.grad = gradient;
  gradient.adopt();
  const home = ownerOf(target);
  if (home === undefined) gradient.watch();
  else home.tensors.add(gradient);
}

/**
 * Runs `body` on `inputs` without saving what happens inside, and runs it again when its gradient is needed: compute for memory
 * (activation checkpointing, Chen et al. 2016). The body must compute the same both times; parameters it reaches get their gradients.
 */
export function recompute(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  if (!enabled) return body(...inputs);
  const output = scope(() => {
    const result = noGrad(() => body(...inputs));
    return result.requiresGrad ? result.detach() : result;
  });
  // The body reaches parameters of its own, which the inputs do not show; so the node is recorded even where no input requires a gradient.
  const anchor = inputs.some((input) => input.requiresGrad) ? [] : [Object.assign(inputs[0].detach(), { requiresGrad: true })];
  return record("recompute", output, [...inputs, ...anchor], inputs, (dy, needs) => {
    const leaves = inputs.map((input, i) => Object.assign(input.detach(), { requiresGrad: needs[i] }));
    const again = withGrad(true, () => body(...leaves));
    if (again.requiresGrad) backward(again, dy);
    return leaves.map((leaf) => leaf.grad);
  });
}
