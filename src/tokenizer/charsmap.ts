/**
 * @file SentencePiece's precompiled character map: the rules of a normalisation (usually NFKC and changes to white space) as one binary blob.
 *
 * A 32-bit length, a trie of so many bytes that finds the longest source that has a rule, and the replacements, UTF-8 strings that end with a
 * zero byte. The trie is a double array as darts-clone lays it out (S. Yata; J. Aoe 1989, "An efficient digital search algorithm by using a double-array
 * structure"): a node is 32 bits, of which bit 8 says that a value hangs below, bits 0 to 7 and 31 are the label, and the rest is the offset to
 * its children. The blob comes from a stranger: every step stays within it.
 */

import { TokenizerError, type FilePlace } from "../errors.js";
import { decodeUtf8 } from "./bytes.js";

export class CharsMap {
  private readonly units: Uint32Array;
  private readonly replacements: Uint8Array;

  /** @param place named in errors */
  constructor(readonly blob: Uint8Array, place: FilePlace) {
    const fail = (message: string): never => {
      throw new TokenizerError(place, message, { code: "bad-tokenizer" });
    };
    if (blob.length < 5) fail(`a precompiled character map has at least 5 bytes, not ${blob.length}.`);
    const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
    const trieBytes = view.getUint32(0, true);
    if (trieBytes % 4 !== 0 || trieBytes < 4 || trieBytes > blob.length - 4) fail(`the trie of the character map claims ${trieBytes} of ${blob.length} bytes.`);
    this.units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.replacements = blob.subarray(4 + trieBytes);
  }

  /** Lengths and values of the rules that begin the text at `start`, shortest first, as `visit` takes them. */
  private search(bytes: Uint8Array, start: number, end: number, visit: (length: number, value: number) => void): void {
    const { units } = this;
    let unit = units[0];
    let node = offsetOf(unit);
    for (let i = start; i < end; i++) {
      const byte = bytes[i];
      if (byte === 0) return;
      node ^= byte;
      if (node >= units.length) return;
      unit = units[node];
      if ((unit & 0x800000ff) >>> 0 !== byte) return;
      node ^= offsetOf(unit);
      if (node >= units.length) return;
      if ((unit >>> 8) & 1) visit(i + 1 - start, units[node] & 0x7fffffff);
    }
  }

  private replacement(value: number): Uint8Array | undefined {
    if (value >= this.replacements.length) return undefined;
    const end = this.replacements.indexOf(0, value);
    return this.replacements.subarray(value, end < 0 ? this.replacements.length : end);
  }

  /** The longest rule that begins the text at `start`: how many bytes it takes, and by what it replaces them. */
  longest(bytes: Uint8Array, start: number): { length: number; replacement: Uint8Array } | undefined {
    let found: [length: number, value: number] | undefined;
    this.search(bytes, start, bytes.length, (length, value) => (found = [length, value]));
    const replacement = found === undefined ? undefined : this.replacement(found[1]);
    return found === undefined || replacement === undefined ? undefined : { length: found[0], replacement };
  }

  /** What Hugging Face makes of a piece of text: the replacement of the shortest rule that begins it, whether or not it is the whole piece. */
  private first(bytes: Uint8Array): string | undefined {
    let value: number | undefined;
    this.search(bytes, 0, bytes.length, (_, found) => (value ??= found));
    const replacement = value === undefined ? undefined : this.replacement(value);
    return replacement === undefined ? undefined : decodeUtf8(replacement);
  }

  /**
   * As the `Precompiled` normaliser of Hugging Face: grapheme by grapheme where one is short, then character by character. It is not quite what
   * SentencePiece does, but what the models that carry it were used with.
   */
  normalizeGraphemes(text: string): string {
    let result = "";
    for (const { segment } of graphemes(text)) {
      const bytes = encoder.encode(segment);
      const whole = bytes.length < 6 ? this.first(bytes) : undefined;
      if (whole !== undefined) {
        result += whole;
        continue;
      }
      for (const character of segment) result += this.first(encoder.encode(character)) ?? character;
    }
    return result;
  }
}

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

const encoder = new TextEncoder();
/** Made when it is first needed: it takes longer than the import of a whole room. */
let segmenter: Intl.Segmenter | undefined;
const graphemes = (text: string): Iterable<Intl.SegmentData> => (segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" })).segment(text);
