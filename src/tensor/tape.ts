/**
 * @file Reverse-mode automatic differentiation. While gradients are enabled, an op that touches a tensor which requires them records a
 * node: its inputs, its output, what it saved, and how to turn the gradient of the output into those of the inputs. `backward` walks the
 * nodes from the newest to the oldest, and each lets go of what it saved as soon as it has run, so memory falls while it goes.
 */

import { InklingError, ShapeError } from "../errors.js";
import { launch } from "./launch.js";
import { currentScope, keep, scope } from "./scope.js";
import { sameShape } from "./shape.js";
import { Tensor } from "./tensor.js";

/**
 * The backward half of an op. `dy` is the gradient of the output, in the output's dtype and shape, though not always dense. Returns one
 * gradient an input, in the input's shape and dtype; undefined for those that `needs` says nobody wants.
 *
 * `into[i]`, where given, is a dense f32 gradient of input i that already holds a value and may be added to: an op that can accumulate
 * does so and returns `into[i]` itself, which saves a pass over memory. Others ignore it.
 */
export type Backward = (dy: Tensor, needs: readonly boolean[], into: readonly (Tensor | undefined)[]) => (Tensor | undefined)[];

export interface GraphNode {
  readonly op: string;
  /** Grows with time: inputs come before what is computed from them. */
  readonly sequence: number;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  readonly saved: readonly Tensor[];
  /** Undefined once it has run or was given up. */
  backward: Backward | undefined;
}

let enabled = true;
let sequence = 0;

export function gradEnabled(): boolean {
  return enabled;
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
export function record(op: string, output: Tensor, inputs: readonly Tensor[], saved: readonly Tensor[], backward: Backward): Tensor {
  if (!enabled || !inputs.some((input) => input.requiresGrad)) return output;
  for (const tensor of saved) tensor.retain();
  const node: GraphNode = { op, sequence: sequence++, inputs, output, saved, backward };
  output.node = node;
  output.requiresGrad = true;
  currentScope()?.nodes.add(node);
  return output;
}

/** Gives up a node: what it saved is released, and backward can no longer pass it. */
export function releaseGraph(node: GraphNode): void {
  if (node.backward === undefined) return;
  node.backward = undefined;
  for (const tensor of node.saved) tensor.release();
}

/**
 * Adds to `grad` of every leaf that requires it the derivative of `root` (times `seed`, by default 1). The graph is used up.
 * Throws ShapeError when `seed` has not the shape of the root, and InklingError when the root was not recorded.
 */
export function backward(root: Tensor, seed?: Tensor): void {
  if (root.node === undefined && !root.requiresGrad) {
    throw new InklingError("backward: this tensor does not depend on anything that requires a gradient.", { code: "no-graph" });
  }
  if (seed !== undefined && !sameShape(seed.shape, root.shape)) throw new ShapeError("backward", [seed.shape, root.shape], "The seed must have the shape of the root.");
  if (seed === undefined && root.size !== 1) throw new ShapeError("backward", [root.shape], "Only a single number has a gradient without a seed.");

  withGrad(false, () => {
    const gradients = new Map<Tensor, Tensor>();
    scope(() => {
      const first = seed ?? Tensor.empty(root.shape, root.dtype, root.device);
      if (seed === undefined) launch("fill", { y: first }, { value: 1 });
      deposit(gradients, root, first);
    });
    for (const node of reachable(root)) runNode(node, gradients);
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
  const dy = gradients.get(node.output);
  if (dy !== undefined) {
    const run = node.backward;
    if (run === undefined) throw new InklingError(`backward: the graph through ${node.op} was used or given up already.`, { code: "graph-used" });
    gradients.delete(node.output);
    scope(() => {
      const needs = node.inputs.map((input) => input.requiresGrad);
      const into = node.inputs.map((input) => {
        const held = input.node === undefined ? input.grad : gradients.get(input);
        return held !== undefined && held.dtype === "f32" && held.isDense && held.isExclusive ? held : undefined;
      });
      run(dy, needs, into).forEach((gradient, i) => {
        if (gradient === undefined || !needs[i] || gradient === into[i]) return;
        deposit(gradients, node.inputs[i], gradient);
      });
    });
    dy.release();
  }
  releaseGraph(node);
}

/** Adds a gradient to what the target has so far. */
function deposit(gradients: Map<Tensor, Tensor>, target: Tensor, gradient: Tensor): void {
  if (!sameShape(target.shape, gradient.shape)) throw new ShapeError("backward", [target.shape, gradient.shape], "A gradient has another shape than its tensor.");
  const isLeaf = target.node === undefined;
  const held = isLeaf ? target.grad : gradients.get(target);
  const hold = (tensor: Tensor): void => {
    if (isLeaf) target.grad = tensor;
    else gradients.set(target, tensor);
  };
  if (held === undefined) {
    // A leaf's gradient outlives the pass and is written in place later, so it must not share memory with anything else.
    if (isLeaf && (!gradient.isDense || !gradient.isExclusive || gradient.dtype !== target.dtype)) {
      const own = keep(Tensor.empty(target.shape, target.dtype, target.device));
      launch("copy", { x: gradient, y: own }, {});
      hold(own);
    } else if (currentScope()?.tensors.delete(gradient) === true) {
      hold(gradient);
    } else {
      hold(gradient.retain());
    }
  } else if (held.isExclusive) {
    launch("accumulate", { x: gradient, y: held }, { scale: 1 });
  } else {
    const sum = keep(Tensor.empty(target.shape, held.dtype, target.device));
    launch("copy", { x: held, y: sum }, {});
    launch("accumulate", { x: gradient, y: sum }, { scale: 1 });
    held.release();
    hold(sum);
  }
}

/**
 * Runs `body` on `inputs` without saving what happens inside, and runs it again when its gradient is needed: compute for memory
 * (activation checkpointing, Chen et al. 2016). The body must compute the same both times; parameters it reaches get their gradients.
 */
export function recompute(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  if (!enabled) return body(...inputs);
  const output = scope(() => noGrad(() => body(...inputs)));
  // The body reaches parameters of its own, which the inputs do not show; so the node is recorded even where no input requires a gradient.
  const anchor = inputs.some((input) => input.requiresGrad) ? [] : [Object.assign(inputs[0].detach(), { requiresGrad: true })];
  return record("recompute", output, [...inputs, ...anchor], inputs, (dy, needs) => {
    const leaves = inputs.map((input, i) => Object.assign(input.detach(), { requiresGrad: needs[i] }));
    const again = withGrad(true, () => body(...leaves));
    if (again.requiresGrad) backward(again, dy);
    return leaves.map((leaf) => {
      const gradient = leaf.grad;
      leaf.grad = undefined;
      if (gradient !== undefined) currentScope()?.tensors.add(gradient);
      return gradient;
    });
  });
}
