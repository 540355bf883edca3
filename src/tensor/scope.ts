/**
 * @file Scopes own what is made inside them, so that memory is freed at a known place and not when the garbage collector gets to it.
 *
 * A tensor made inside `scope(body)` is released when the body returns, unless it is part of the result (then the enclosing scope owns it)
 * or the tape saved it for the backward pass (then it lives until the backward pass has used it; where its contents are cheap to make
 * again, its memory goes and comes back for that). A tensor made outside every scope
 * belongs to whoever holds it; `dispose()` frees it, and the garbage collector is the safety net.
 */

import { releaseGraph, type GraphNode } from "./tape.js";
import { Tensor, type Storage } from "./tensor.js";

export class Scope {
  readonly tensors = new Set<Tensor>();
  /** Nodes of the tape recorded in this scope whose backward pass has not run. */
  readonly nodes = new Set<GraphNode>();
  /** Memory of tensors made here whose contents can be made again: it rests once the scope has ended and only the tape keeps it. */
  readonly remakeable = new Set<Storage>();

  constructor(readonly parent: Scope | undefined) {}
}

let innermost: Scope | undefined;

export function currentScope(): Scope | undefined {
  return innermost;
}

/**
 * Runs `body` and releases every tensor it made, except those in its result: a tensor, or an array or plain object that holds some.
 * A part of the autograd graph that the result depends on stays usable. The body is synchronous: it only queues work.
 */
export function scope<T>(body: () => T): T {
  const own = new Scope(innermost);
  innermost = own;
  let result: T | undefined;
  try {
    result = body();
    if (result instanceof Promise) throw new TypeError("A scope's body queues work and returns; await outside of it.");
    return result;
  } finally {
    innermost = own.parent;
    let keepsGraph = false;
    for (const tensor of tensorsIn(result)) {
      if (tensor.node !== undefined) keepsGraph = true;
      if (own.remakeable.delete(tensor.storage)) own.parent?.remakeable.add(tensor.storage);
      if (!own.tensors.delete(tensor)) continue;
      if (own.parent === undefined) tensor.watch();
      else own.parent.tensors.add(tensor);
    }
    if (!keepsGraph) for (const node of own.nodes) releaseGraph(node);
    else if (own.parent !== undefined) for (const node of own.nodes) own.parent.nodes.add(node);
    // What the tape saved has no scope any more that would give it up; should nobody run the backward pass, the collector finds it.
    else for (const node of own.nodes) for (const tensor of node.saved) tensor.watch();
    for (const tensor of own.tensors) tensor.release();
    for (const storage of own.remakeable) storage.rest();
  }
}

/** Takes a tensor out of its scope: the caller owns it from here, and disposes of it. */
export function keep<T extends Tensor>(tensor: T): T {
  for (let s = innermost; s !== undefined; s = s.parent) s.remakeable.delete(tensor.storage);
  if (disown(tensor)) tensor.watch();
  return tensor;
}

/** Takes a tensor out of its scope, if it is in one, with nobody to own it after that. */
export function disown(tensor: Tensor): boolean {
  for (let s = innermost; s !== undefined; s = s.parent) if (s.tensors.delete(tensor)) return true;
  return false;
}

/** The scope that will release this tensor, if any. */
export function ownerOf(tensor: Tensor): Scope | undefined {
  let owner = innermost;
  while (owner !== undefined && !owner.tensors.has(tensor)) owner = owner.parent;
  return owner;
}

function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}
