/**
 * @file Seeded, counter-based randomness: element i of a random tensor is a function of (seed, stream, i) alone, the same on every
 * device, for any number of threads. The C++ twin is `native/kernels/random.h`, bit for bit: it uses only operations that IEEE 754 fixes.
 */

/** A 64-bit seed as two words, and which of its 2^32 independent streams to draw from. */
export interface RandomKey {
  readonly seedLow: number;
  readonly seedHigh: number;
  readonly stream: number;
}

const words = new Uint32Array(4);

/**
 * Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): ten rounds of multiply and swap turn the counter
 * (block, stream) under the key (seed) into four random words. The returned array is reused by the next call.
 */
export function philox(key: RandomKey, block: number): Uint32Array {
  let c0 = block >>> 0;
  let c1 = Math.floor(block / 2 ** 32) >>> 0;
  let c2 = key.stream >>> 0;
  let c3 = 0;
  let k0 = key.seedLow >>> 0;
  let k1 = key.seedHigh >>> 0;
  for (let round = 0; round < 10; round++) {
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high0 = mulHigh(0xd2511f53, c0);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    const high1 = mulHigh(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
  return words;
}

/** The upper 32 bits of a 32 by 32 bit product. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const low = aLow * bLow;
  const mid1 = aHigh * bLow + (low >>> 16);
  const mid2 = aLow * bHigh + (mid1 & 0xffff);
  return (aHigh * bHigh + Math.floor(mid1 / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}

/** Word i of the stream: word i mod 4 of block i / 4. */
export function randomWord(key: RandomKey, i: number): number {
  return philox(key, Math.floor(i / 4))[i % 4];
}

/** Uniform in [0, 1) on a grid of 2^-24, exact in float32. */
export function uniformAt(key: RandomKey, i: number): number {
  return (randomWord(key, i) >>> 8) * 2 ** -24;
}

/** Standard normal: the inverse distribution function at (word + 1/2) 2^-32, in float64. */
export function normalAt(key: RandomKey, i: number): number {
  return inverseNormal((randomWord(key, i) + 0.5) * 2 ** -32);
}

/**
 * Inverse of the standard normal distribution function by Wichura's rational approximations (AS 241, PPND16, 1988), about 16 digits.
 */
export function inverseNormal(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (
      (q *
        (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r + 45921.953931549871457) * r +
          13731.693765509461125) * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608)) /
      (((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) * r +
        5394.1960214247511077) * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1)
    );
  }
  let r = Math.sqrt(-naturalLog(q < 0 ? p : 1 - p));
  let value: number;
  if (r <= 5) {
    r -= 1.6;
    value =
      (((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r + 1.27045825245236838258) * r +
        3.64784832476320460504) * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734) /
      (((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r + 0.14810397642748007459) * r +
        0.68976733498510000455) * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1);
  } else {
    r -= 5;
    value =
      (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r + 0.026532189526576123093) * r +
        0.29656057182850489123) * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r + 6.6579046435011037772) /
      (((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4) * r +
        0.0148753612908506148525) * r + 0.13692988092273580531) * r + 0.59983220655588793769) * r + 1);
  }
  return q < 0 ? -value : value;
}

const float64 = new Float64Array(1);
const float64Words = new Uint32Array(float64.buffer);

/**
 * Natural logarithm of a positive normal number from additions, multiplications and one division alone, so that C++ gives the same bits
 * (Math.log may differ between engines): x = m 2^e with m in [1/sqrt 2, sqrt 2), log m = 2 artanh((m - 1) / (m + 1)).
 */
export function naturalLog(x: number): number {
  float64[0] = x;
  let exponent = ((float64Words[1] >>> 20) & 0x7ff) - 1023;
  float64Words[1] = (float64Words[1] & 0xfffff) | 0x3ff00000;
  let m = float64[0];
  if (m > Math.SQRT2) {
    m *= 0.5;
    exponent += 1;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let sum = 0;
  for (let n = 21; n >= 3; n -= 2) sum = z * (sum + 1 / n);
  return exponent * Math.LN2 + 2 * (s + s * sum);
}

/** A stream of random numbers for code that runs on the host (shuffling, sampling); `position` is all its state. */
export class Random {
  readonly #key: RandomKey;
  #position: number;

  constructor(seed: number, stream = 0, position = 0) {
    this.#key = randomKey(seed, stream);
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  /** A whole number in [0, 2^32). */
  word(): number {
    return randomWord(this.#key, this.#position++);
  }

  /** Uniform in [0, 1), with 53 bits. */
  uniform(): number {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 2 ** 26 + low) * 2 ** -53;
  }

  /** Uniform whole number in [0, n). */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  normal(): number {
    return normalAt(this.#key, this.#position++);
  }
}

/** Splits a seed (a whole number up to 2^53) into words. Throws RangeError on anything else. */
export function randomKey(seed: number, stream = 0): RandomKey {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`A seed is a whole number from 0 to 2^53 - 1, not ${seed}.`);
  return { seedLow: seed | 0, seedHigh: Math.floor(seed / 2 ** 32) | 0, stream: stream | 0 };
}
