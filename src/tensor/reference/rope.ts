/** @file Rotary position embedding (Su et al. 2021): turns pairs of coordinates by an angle that grows with the position. */

import type { Kernel } from "./view.js";
import { floats, store, values } from "./view.js";

export const rope: Kernel<"rope"> = ({ x, cos, sin, positions, y }, { interleaved, inverse }) => {
  const [batch, time, heads, d] = x.shape;
  const [limit, r] = cos.shape;
  const [c, s] = [floats(cos), floats(sin)];
  const at = values(positions);
  const result = floats(x).slice();
  for (let token = 0; token < batch * time; token++) {
    const position = at[token];
    if (position < 0 || position >= limit) throw new RangeError(`position ${position} of token ${token} is outside [0, ${limit}).`);
    for (let head = 0; head < heads; head++) {
      const start = (token * heads + head) * d;
      for (let i = 0; i < r; i++) {
        const [first, second] = interleaved !== 0 ? [start + 2 * i, start + 2 * i + 1] : [start + i, start + i + r];
        const [u, v] = [result[first], result[second]];
        const cosine = c[position * r + i];
        const sine = inverse !== 0 ? -s[position * r + i] : s[position * r + i];
        result[first] = u * cosine - v * sine;
        result[second] = u * sine + v * cosine;
      }
    }
  }
  store(y, result);
};
