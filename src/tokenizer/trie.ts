/** @file Finds the tokens that begin at a place of a text. Nodes are numbers; an edge is found by hashing its node and its code unit. */

export class Trie {
  private readonly mask: number;
  private readonly keys: Float64Array;
  private readonly targets: Int32Array;
  /** The token that ends at a node, or -1. */
  private readonly tokens: Int32Array;

  /** @param entries read twice; of a name that stands twice the last counts */
  constructor(entries: Iterable<readonly [name: string, id: number]>) {
    let edges = 0;
    for (const [name] of entries) edges += name.length;
    const slots = 2 ** Math.ceil(Math.log2(edges * 2 + 2));
    this.mask = slots - 1;
    this.keys = new Float64Array(slots).fill(-1);
    this.targets = new Int32Array(slots);
    this.tokens = new Int32Array(edges + 1).fill(-1);
    let nodes = 1;
    for (const [name, id] of entries) {
      let node = 0;
      for (let i = 0; i < name.length; i++) {
        const slot = this.find(node, name.charCodeAt(i));
        if (this.keys[slot] === -1) {
          this.keys[slot] = node * 0x10000 + name.charCodeAt(i);
          this.targets[slot] = nodes++;
        }
        node = this.targets[slot];
      }
      if (node > 0) this.tokens[node] = id;
    }
  }

  private find(node: number, unit: number): number {
    const key = node * 0x10000 + unit;
    let slot = Math.imul(node ^ Math.imul(unit, 0x85ebca6b), 0x9e3779b1) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.keys[slot] !== -1 && this.keys[slot] !== key) slot = (slot + 1) & this.mask;
    return slot;
  }

  /** Visits the tokens from `start` on, shortest first. */
  search(text: string, start: number, visit: (end: number, id: number) => void): void {
    let node = 0;
    for (let i = start; i < text.length; i++) {
      const slot = this.find(node, text.charCodeAt(i));
      if (this.keys[slot] === -1) return;
      node = this.targets[slot];
      if (this.tokens[node] !== -1) visit(i + 1, this.tokens[node]);
    }
  }
}
