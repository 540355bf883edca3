/**
 * @file A seeded order of 0 .. n-1 without an array of n: where each index goes is computed on the spot, so that an epoch over billions of
 * windows is shuffled in no memory, and resumed by its number and a position.
 *
 * A Feistel network (Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom functions") with Philox as the
 * round function permutes 0 .. 4^k - 1 >= n; an image outside 0 .. n-1 is sent round again until it falls inside ("cycle walking", Black
 * and Rogaway 2002), which keeps it a permutation and takes fewer than four turns on average.
 */
import { randomKey, randomWord } from "../tensor/random.js";

const rounds = 4;

/** Where `index` goes in the order that (seed, stream, number) chooses among those of 0 .. n-1; n up to 2^52. */
export function permuted(index: number, n: number, { seed, stream, number }: { seed: number; stream: number; number: number }): number {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < n)) throw new RangeError(`${index} is not one of 0 .. ${n - 1}.`);
  const key = randomKey(seed, stream);
  let half = 2; // 2^k
  while (half * half < n) half *= 2;
  let image = index;
  do {
    let left = Math.floor(image / half);
    let right = image % half;
    for (let round = 0; round < rounds; round++) {
      // Each order and round has words of its own: `half` of them, from (number * rounds + round) * half on.
      const mixed = (left + randomWord(key, (number * rounds + round) * half + right)) % half;
      left = right;
      right = mixed;
    }
    image = left * half + right;
  } while (image >= n);
  return image;
}
