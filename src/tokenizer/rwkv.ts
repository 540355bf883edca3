/**
 * @file RWKV's tokenizer ("World", B. Peng; rwkv_tokenizer.py of BlinkDL/ChatRWKV): of the tokens that begin the rest of a text, byte for byte, the longest
 * is taken. In a GGUF the tokens are escaped as in a Python string.
 */

import { latin1 } from "./bpe.js";
import { encodeUtf8, unescapeBytes } from "./bytes.js";
import { noUnknownToken, type Model } from "./models.js";
import { Trie } from "./trie.js";

/** The bytes of a token that is written with `\n`, `\t`, `\r`, `\xff` and `\\`. */
export function unescapeRwkv(text: string): Uint8Array {
  const bytes = encodeUtf8(text);
  const result: number[] = [];
  const escapes: Readonly<Record<number, number>> = { 0x74: 0x09, 0x6e: 0x0a, 0x72: 0x0d };
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 0x5c || i + 1 >= bytes.length) {
      if (bytes[i] !== 0x5c) result.push(bytes[i]);
      continue;
    }
    const next = bytes[++i];
    const hex = next === 0x78 ? /^[0-9a-fA-F]{2}$/.exec(latin1(bytes.subarray(i + 1, i + 3))) : null;
    if (hex !== null) {
      result.push(parseInt(hex[0], 16));
      i += 2;
    } else result.push(escapes[next] ?? next);
  }
  return Uint8Array.from(result);
}

export class RwkvModel implements Model {
  private readonly trie: Trie;

  /** @param tokens bytes and id of each token that text may become */
  constructor(
    tokens: readonly (readonly [bytes: Uint8Array, id: number])[],
    private readonly unkId: number | undefined,
  ) {
    this.trie = new Trie(tokens.map(([bytes, id]) => [latin1(bytes), id]));
  }

  encode(piece: string, ids: number[]): void {
    const text = latin1(unescapeBytes(piece));
    for (let start = 0; start < text.length; ) {
      let next = start + 1;
      let found = this.unkId;
      this.trie.search(text, start, (end, id) => ([next, found] = [end, id]));
      if (found === undefined) throw noUnknownToken(text.slice(start, start + 1));
      ids.push(found);
      start = next;
    }
  }
}
