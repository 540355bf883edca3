/** @file Comparing values of plain data: numbers, texts, lists and objects. */

/** Whether two values are the same, in depth. */
export function sameValue(a: unknown, b: unknown): boolean {
  return firstDifference(a, b) === undefined;
}

/** The first place where two values differ, as in `layers.0.mixer.numHeads`, and what stands there; undefined where they are the same. */
export function firstDifference(a: unknown, b: unknown, path = ""): { readonly path: string; readonly a: unknown; readonly b: unknown } | undefined {
  if (Object.is(a, b)) return undefined;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return { path, a, b };
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [inA, inB] = [a, b].map((object) => (Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined));
    const difference = firstDifference(inA, inB, path === "" ? key : `${path}.${key}`);
    if (difference !== undefined) return difference;
  }
  return undefined;
}
