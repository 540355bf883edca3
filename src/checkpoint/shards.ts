/** @file Tensors divided among several files. */

/** The tensors in their order, in runs of at most `maxBytes`; one that is larger has a run of its own. There is at least one run. */
export function inShards<T>(tensors: Iterable<T>, bytesOf: (tensor: T) => number, maxBytes: number): T[][] {
  const shards: T[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const more = bytesOf(tensor);
    if (bytes > 0 && bytes + more > maxBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += more;
  }
  return shards;
}
