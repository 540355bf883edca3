/** @file A binary heap: `pop` gives the item that comes before all others. */
export class Heap<T> {
  private readonly items: T[] = [];

  /** @param before whether `a` must leave the heap earlier than `b` */
  constructor(private readonly before: (a: T, b: T) => boolean) {}

  push(item: T): void {
    const { items, before } = this;
    let i = items.length;
    for (; i > 0; i = (i - 1) >> 1) {
      const parent = items[(i - 1) >> 1];
      if (!before(item, parent)) break;
      items[i] = parent;
    }
    items[i] = item;
  }

  pop(): T | undefined {
    const { items, before } = this;
    const first = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1], items[child])) child++;
      if (!before(items[child], item)) break;
      items[i] = items[child];
      i = child;
    }
    items[i] = item;
    return first;
  }
}
