/**
 * @file The kernel contract: every kernel that a device must offer, with its operands and attributes.
 *
 * This file is the single truth. `reference/` implements it in plain TypeScript, `native/generated/contract.h` (opcodes, parameter
 * structs, decoding; written by `npm run generate`) is its C++ face, and `conformance.test.ts` holds every device to it. To add a
 * kernel: list it here, run `npm run generate`, implement it in `reference/` and in `native/kernels/`.
 *
 * Operands. `dtype` is one of f32, bf16, i32, u8, or a class: `float` (f32 or bf16), `any`. `layout` is
 *   - `dense`:   row-major without gaps (the launcher copies an input that is not);
 *   - `rows`:    the last axis has stride 1 (or length 1), the others any stride;
 *   - `strided`: any strides, 0 (broadcast) included. Outputs never broadcast.
 * `inout` operands are read and written in place. An `optional` operand may be absent. Arithmetic on bf16 is done in f32 and
 * rounded once on the way out; sums, means, norms and softmax accumulate in f32 (or wider) whatever the operands are.
 *
 * Rows. Of the kernels that generation uses, a row of a result has the same bits whatever other rows a launch has, and wherever they lie
 * (`conformance/row-independence.ts`), so sequences join and leave a batch freely.
 *
 * Sharing memory. An output may lie where an operand of its `mayAlias` lies, element on element (where its elements are narrower, each row begins where that
 * row does). Apart from that an output overlaps no other operand; inputs may overlap each other. `aliasing.ts` holds launches to it in tests.
 *
 * Buffers. A device may have few bindings for a kernel (WebGPU grants 8), so a kernel of more than 8 operands says so: `manyBuffers`.
 *
 * Attributes are `i32`, `f32`, or the name of an enum below. Random kernels take a 64-bit seed (`seedLow`, `seedHigh`) and a
 * `stream`; element i of their output depends on these and on i alone (see `random.ts`), never on the device or thread count.
 */

/** Elementwise functions of one argument. */
export const unaryOps = [
  "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos", "tanh", "sigmoid", "erf",
  "relu", "gelu", "geluTanh", "silu", "softplus", "sign", "floor", "isFinite",
] as const;

/**
 * Elementwise functions of two arguments. Comparisons write u8. The `...Grad` ones take (x, dy) and give dx, where x is the input of
 * the forward function; `tanhGrad` and `sigmoidGrad` take (y, dy), y being its output. `maximum`/`minimum` hand on NaN.
 */
export const binaryOps = [
  "add", "sub", "mul", "div", "pow", "maximum", "minimum",
  "equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual",
  "geluGrad", "geluTanhGrad", "siluGrad", "softplusGrad", "reluGrad", "tanhGrad", "sigmoidGrad",
] as const;

/** `variance` divides by n - correction. `max`/`min` hand on NaN. `sum` of nothing is 0. */
export const reduceOps = ["sum", "mean", "max", "min", "prod", "variance", "norm2"] as const;

export const activations = ["none", "relu", "gelu", "geluTanh", "silu"] as const;

/** The block formats of quantised weights; what each is made of stands in `block-formats.ts`. */
export const blockFormatNames = [
  "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4",
] as const;

/**
 * How rows of blocks lie: as GGUF has them; in panels of 16 rows, as vectors read them; in panels whose upper and lower bits lie apart, which only q8_0 has
 * (`reference/interleave.ts`).
 */
export const blockLayouts = ["rows", "panels", "split"] as const;

export const enums = { UnaryOp: unaryOps, BinaryOp: binaryOps, ReduceOp: reduceOps, Activation: activations, BlockFormat: blockFormatNames, BlockLayout: blockLayouts } as const;
export type UnaryOp = (typeof unaryOps)[number];
export type BinaryOp = (typeof binaryOps)[number];
export type ReduceOp = (typeof reduceOps)[number];
export type Activation = (typeof activations)[number];
export type BlockFormat = (typeof blockFormatNames)[number];
export type BlockLayout = (typeof blockLayouts)[number];

export type DTypeClass = "f32" | "bf16" | "i32" | "u8" | "float" | "any";
export type Layout = "dense" | "rows" | "strided";
export interface OperandSpec {
  readonly direction: "in" | "out" | "inout";
  readonly dtype: DTypeClass;
  readonly layout: Layout;
  readonly optional: boolean;
  /** The shape in words, for people and for error messages. */
  readonly shape: string;
  /** Of an output: the operands whose memory it may take. */
  readonly mayAlias?: readonly string[];
}
export type AttributeSpec = "i32" | "f32" | keyof typeof enums;
export interface KernelSpec {
  readonly doc: string;
  /** More than 8 operands. */
  readonly manyBuffers?: true;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
}

const input = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "in", dtype, layout, optional: false, shape }) as const;
const optional = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "in", dtype, layout, optional: true, shape }) as const;
const output = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "out", dtype, layout, optional: false, shape }) as const;
/** An output that may lie where one of these operands lies. */
const over = <O extends OperandSpec>(operand: O, ...mayAlias: readonly string[]) => ({ ...operand, mayAlias }) as const;
const optionalOutput = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "out", dtype, layout, optional: true, shape }) as const;
const inout = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "inout", dtype, layout, optional: false, shape }) as const;
const optionalInout = <D extends DTypeClass>(dtype: D, shape: string, layout: Layout = "dense") =>
  ({ direction: "inout", dtype, layout, optional: true, shape }) as const;

export const contract = {
  // ---- moving and making -------------------------------------------------------------------------------------------------
  copy: {
    doc: "y = x, converting the dtype. Float to integer truncates toward zero and saturates, NaN becomes 0.",
    operands: { x: input("any", "[...]", "strided"), y: output("any", "[...] as x", "strided") },
    attributes: {},
  },
  append: {
    doc: "y[slots[b], at[b] + t] = x[b, t], converting the dtype as copy does: rows of a batch go into their slots of a larger buffer, each at its own place (keys into a cache). Without `slots`, row b goes to slot b. Everything else in y stays as it is. Rows must not write the same place. Places or a slot outside y are an error.",
    operands: {
      x: input("any", "[batch, time, ...]", "strided"), y: output("any", "[slots, room, ...]", "strided"), at: input("i32", "[batch]", "strided"),
      slots: optional("i32", "[batch]", "strided"),
    },
    attributes: {},
  },
  fill: { doc: "y = value.", operands: { y: output("any", "[...]", "strided") }, attributes: { value: "f32" } },
  arange: { doc: "y[i] = start + i * step.", operands: { y: output("any", "[n]") }, attributes: { start: "f32", step: "f32" } },
  randomUniform: {
    doc: "y uniform in [low, high): low + (high - low) * u, u = the upper 24 bits of a Philox word * 2^-24.",
    operands: { y: output("f32", "[...]") },
    attributes: { low: "f32", high: "f32", seedLow: "i32", seedHigh: "i32", stream: "i32" },
  },
  randomNormal: {
    doc: "y normal with the given mean and standard deviation, by the inverse of the normal distribution function (`random.ts`).",
    operands: { y: output("f32", "[...]") },
    attributes: { mean: "f32", std: "f32", seedLow: "i32", seedHigh: "i32", stream: "i32" },
  },
  dropout: {
    doc: "y = x / (1 - p) where u(i) >= p, else 0; u as in randomUniform. Its own backward.",
    operands: { x: input("float", "[...]"), y: over(output("float", "[...] as x, same dtype"), "x") },
    attributes: { p: "f32", seedLow: "i32", seedHigh: "i32", stream: "i32" },
  },

  // ---- elementwise -------------------------------------------------------------------------------------------------------
  unary: {
    doc: "y = op(x). `isFinite` writes 1 or 0 in x's dtype. i32 takes neg, abs, square, sign, relu.",
    operands: { x: input("any", "[...]", "strided"), y: over(output("any", "[...] as x, same dtype", "dense"), "x") },
    attributes: { op: "UnaryOp" },
  },
  binary: {
    doc: "y = op(a, b); a and b have y's shape (broadcast by stride 0) and one dtype; comparisons write u8. i32 takes arithmetic and comparisons; i32 division truncates toward zero, division by zero gives 0.",
    operands: {
      a: input("any", "[...]", "strided"), b: input("any", "[...] as a", "strided"), y: over(output("any", "[...] as a", "dense"), "a", "b"),
    },
    attributes: { op: "BinaryOp" },
  },
  accumulate: {
    doc: "y += scale * factor * x, in f32, rounded to y's dtype; factor is 1 where absent. x and y may differ in dtype.",
    operands: { x: input("float", "[...]", "strided"), factor: optional("f32", "[]"), y: over(inout("float", "[...] as x", "strided"), "x") },
    attributes: { scale: "f32" },
  },
  where: {
    doc: "y = condition ? a : b.",
    operands: {
      condition: input("u8", "[...]", "strided"), a: input("any", "[...]", "strided"), b: input("any", "[...]", "strided"),
      y: over(output("any", "[...]", "dense"), "a", "b"),
    },
    attributes: {},
  },
  swiglu: {
    doc: "y = silu(gate) * up (Shazeer 2020).",
    operands: { gate: input("float", "[..., n]", "rows"), up: input("float", "[..., n]", "rows"), y: output("float", "[..., n]") },
    attributes: {},
  },
  swigluBackward: {
    doc: "dgate = dy * up * silu'(gate); dup = dy * silu(gate).",
    operands: {
      gate: input("float", "[..., n]", "rows"), up: input("float", "[..., n]", "rows"), dy: input("float", "[..., n]"),
      dgate: output("float", "[..., n]", "rows"), dup: output("float", "[..., n]", "rows"),
    },
    attributes: {},
  },

  // ---- reducing, ordering ------------------------------------------------------------------------------------------------
  reduce: {
    doc: "y = op over the last `reducedAxes` axes of x. x float gives float of any kind; i32 takes sum, max, min, prod. norm2 = sqrt(sum of squares).",
    operands: { x: input("any", "[kept..., reduced...]", "strided"), y: output("any", "[kept...]", "dense") },
    attributes: { op: "ReduceOp", reducedAxes: "i32", correction: "i32" },
  },
  argReduce: {
    doc: "index of the largest (`min` = 0) or smallest (`min` = 1) along the last axis; the first of equals; NaN counts as extreme.",
    operands: { x: input("any", "[..., n]"), y: output("i32", "[...]") },
    attributes: { min: "i32" },
  },
  cumsum: {
    doc: "running sums along the last axis; from the end when `reverse`.",
    operands: { x: input("any", "[..., n]"), y: output("any", "[..., n], same dtype") },
    attributes: { reverse: "i32" },
  },
  topK: {
    doc: "the k first along the last axis in sorted order (largest first when `descending`), with their indices; stable; NaN sorts as the largest. k = the last axis of the outputs; k = n sorts.",
    operands: { x: input("any", "[..., n]"), values: output("any", "[..., k], same dtype"), indices: output("i32", "[..., k]") },
    attributes: { descending: "i32" },
  },

  // ---- indexing ----------------------------------------------------------------------------------------------------------
  gather: {
    doc: "y[..., j] = x[..., index[..., j]] along the last axis. An index outside [0, n) is an error.",
    operands: { x: input("any", "[..., n]", "strided"), index: input("i32", "[..., m]"), y: output("any", "[..., m], same dtype") },
    attributes: {},
  },
  scatterAdd: {
    doc: "y[..., index[..., j]] += x[..., j] along the last axis, in the order of j.",
    operands: { x: input("float", "[..., m]"), index: input("i32", "[..., m]"), y: inout("float", "[..., n]") },
    attributes: {},
  },
  embedding: {
    doc: "y[i] = table[ids[i]], rounded to y's dtype. An id outside [0, rows) is an error that names it.",
    operands: { table: input("any", "[rows, n]", "rows"), ids: input("i32", "[m]"), y: output("any", "[m, n]") },
    attributes: {},
  },
  embeddingBackward: {
    doc: "dtable[ids[i]] += dy[i], in the order of i (so that the bits do not depend on threads), in f32; a row is rounded to dtable's dtype once.",
    operands: { dy: input("float", "[m, n]"), ids: input("i32", "[m]"), dtable: inout("float", "[rows, n]") },
    attributes: {},
  },

  // ---- matmul ------------------------------------------------------------------------------------------------------------
  matmul: {
    doc: "c = activation(a b + bias), or c += a b when `accumulate`. Leading axes are a batch (stride 0 broadcasts); a and b may have any strides, so a transposed operand is a view. a and b share a dtype; c may be f32 or bf16. `preActivation` keeps a b + bias for the backward pass.",
    operands: {
      a: input("float", "[..., m, k]", "strided"), b: input("float", "[..., k, n]", "strided"), bias: optional("f32", "[n]"),
      c: inout("float", "[..., m, n]", "rows"), preActivation: optionalOutput("float", "[..., m, n]"),
    },
    attributes: { activation: "Activation", accumulate: "i32" },
  },
  columnSum: {
    doc: "y[j] = sum over i of x[i, j], or y += that when `accumulate`: the gradient of a bias.",
    operands: { x: input("float", "[m, n]", "rows"), y: inout("f32", "[n]") },
    attributes: { accumulate: "i32" },
  },

  // ---- quantised weights -------------------------------------------------------------------------------------------------
  // Rows of blocks of `format` (`block-formats.ts`, `reference/blocks.ts`); in a layout that `interleave` makes.
  dequantize: {
    doc: "y = the numbers that the blocks stand for, rounded to y's dtype.",
    operands: { w: input("u8", "[rows, rowBytes]"), y: output("float", "[rows, n]", "rows") },
    attributes: { format: "BlockFormat", layout: "BlockLayout" },
  },
  quantize: {
    doc: "w = x in blocks of a format that is written, by the search of `reference/quantizers.ts`, in float64 and the same to the bit on every device. A block with a number that is not finite is an error.",
    operands: { x: input("float", "[rows, n]", "rows"), w: output("u8", "[rows, rowBytes]") },
    attributes: { format: "BlockFormat" },
  },
  interleave: {
    doc: "brings rows into a layout (`reference/interleave.ts`), in place, or with `inverse` back. Rows beyond the last whole panel of 16 stay as they are, as do formats with blocks of one. `split` is for q8_0 alone.",
    operands: { w: inout("u8", "[rows, rowBytes]") },
    attributes: { format: "BlockFormat", layout: "BlockLayout", inverse: "i32" },
  },
  quantizedMatmul: {
    doc: "c = activation(a w^T + bias). Each run of 32 of a row of a is first rounded to whole numbers q = round(a / s), s = max |a| / 127, so that the products are of small integers; a run with a number that is not finite makes its row NaN, and one below 2^-100 throughout counts as 0. With f16 and bf16 weights nothing is rounded.",
    operands: {
      a: input("float", "[m, k]", "rows"), w: input("u8", "[n, rowBytes]"), bias: optional("f32", "[n]"), c: output("float", "[m, n]", "rows"),
    },
    attributes: { format: "BlockFormat", layout: "BlockLayout", activation: "Activation" },
  },
  quantizedBest: {
    doc: "the `count` largest of the first `choices` numbers in each row of a w^T, as quantizedMatmul gives them in f32, the largest first: their columns and themselves. NaN counts as the largest, -0 as 0, and equals rank by column. count is at most what there is to choose from.",
    operands: { a: input("float", "[m, k]", "rows"), w: input("u8", "[n, rowBytes]"), ids: output("i32", "[m, count]"), scores: output("f32", "[m, count]") },
    attributes: { format: "BlockFormat", layout: "BlockLayout", choices: "i32" },
  },
  quantizedEmbedding: {
    doc: "y[i] = row ids[i] of the table, de-quantised and rounded to y's dtype. An id outside [0, rows) is an error that names it.",
    operands: { table: input("u8", "[rows, rowBytes]"), ids: input("i32", "[m]"), y: output("float", "[m, n]") },
    attributes: { format: "BlockFormat", layout: "BlockLayout" },
  },

  // ---- normalisation and softmax -----------------------------------------------------------------------------------------
  softmax: {
    doc: "y = softmax(x) over the last axis, or its logarithm when `log`. A row of -Infinity gives 0 (log: -Infinity).",
    operands: { x: input("float", "[..., n]"), y: output("float", "[..., n], same dtype") },
    attributes: { log: "i32" },
  },
  softmaxBackward: {
    doc: "dx = y (dy - sum(y dy)); with `log`: dx = dy - exp(y) sum(dy). y is the forward output.",
    operands: { y: input("float", "[..., n]"), dy: input("float", "[..., n]"), dx: output("float", "[..., n]") },
    attributes: { log: "i32" },
  },
  layerNorm: {
    doc: "y = (x - mean) * rstd * weight + bias over the last axis, rstd = 1/sqrt(variance + eps) (Ba et al. 2016).",
    operands: {
      x: input("float", "[..., n]"), weight: optional("f32", "[n]"), bias: optional("f32", "[n]"),
      y: output("float", "[..., n], same dtype"), mean: output("f32", "[...]"), rstd: output("f32", "[...]"),
    },
    attributes: { eps: "f32" },
  },
  layerNormBackward: {
    doc: "dx; and dweight, dbias, added to what they hold when `accumulate`.",
    operands: {
      x: input("float", "[..., n]"), weight: optional("f32", "[n]"), mean: input("f32", "[...]"), rstd: input("f32", "[...]"),
      dy: input("float", "[..., n]"), dx: optionalOutput("float", "[..., n]"), dweight: optionalInout("f32", "[n]"),
      dbias: optionalInout("f32", "[n]"),
    },
    attributes: { accumulateWeight: "i32", accumulateBias: "i32" },
  },
  rmsNorm: {
    doc: "y = x * rstd * (weight + offset) over the last axis, rstd = 1/sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019). offset is 1 for Gemma.",
    operands: {
      x: input("float", "[..., n]", "rows"), weight: optional("f32", "[n]"), y: output("float", "[..., n], same dtype"), rstd: output("f32", "[...]"),
    },
    attributes: { eps: "f32", offset: "f32" },
  },
  rmsNormBackward: {
    doc: "dx; and dweight, added to what it holds when `accumulateWeight`.",
    operands: {
      x: input("float", "[..., n]", "rows"), weight: optional("f32", "[n]"), rstd: input("f32", "[...]"), dy: input("float", "[..., n]"),
      dx: optionalOutput("float", "[..., n]"), dweight: optionalInout("f32", "[n]"),
    },
    attributes: { offset: "f32", accumulateWeight: "i32" },
  },

  // ---- what a decoder needs ----------------------------------------------------------------------------------------------
  rope: {
    doc: "rotates the first 2r of the last axis by the angle of its position (Su et al. 2021): pairs (i, i + r), or (2i, 2i + 1) when `interleaved`; `inverse` turns back, which is the backward pass. What lies beyond 2r is copied.",
    operands: {
      x: input("float", "[batch, time, heads, d]", "rows"), cos: input("f32", "[positions, r]"), sin: input("f32", "[positions, r]"),
      positions: input("i32", "[batch, time]", "strided"), y: output("float", "[batch, time, heads, d], same dtype", "rows"),
    },
    attributes: { interleaved: "i32", inverse: "i32" },
  },
  attention: {
    doc: "out = softmax(score) v, score = scale * q k^T (softcap: c * tanh(score / c)) - slope * distance, over the visible keys: with `causal` those up to the query (query i stands at key position i + keys - queries), with `window` > 0 the last `window` of them, from `starts[batch]` on, and where mask is not 0. Head h reads key head floor(h / (heads / keyHeads)). logSumExp is kept for the backward pass. A query that sees nothing gives 0. With `lengths`, only the first lengths[b] keys of row b count, which takes the place of `keys` in the rule above; with `slots`, row b reads k[slots[b]] and v[slots[b]], of which there may be any number. A length outside [0, keys] or a slot outside k is an error. Without dropout, a row's result depends on that row alone: not on the batch, its slot, or the room behind its keys. With p > 0 the weights pass a dropout whose element index is ((batch * heads + head) * queries + query) * keys + key (Dao et al. 2022, 2023 for the tiling).",
    manyBuffers: true,
    operands: {
      q: input("float", "[batch, queries, heads, d]", "rows"), k: input("float", "[batch, keys, keyHeads, d]", "rows"),
      v: input("float", "[batch, keys, keyHeads, dv]", "rows"), slopes: optional("f32", "[heads]"), starts: optional("i32", "[batch]"),
      mask: optional("u8", "[batch, heads, queries, keys]", "strided"), lengths: optional("i32", "[batch]", "strided"),
      slots: optional("i32", "[batch]", "strided"), out: output("float", "[batch, queries, heads, dv]", "dense"),
      logSumExp: output("f32", "[batch, heads, queries]"),
    },
    attributes: { scale: "f32", causal: "i32", window: "i32", softcap: "f32", p: "f32", seedLow: "i32", seedHigh: "i32", stream: "i32" },
  },
  attentionBackward: {
    doc: "dq, dk, dv of attention.",
    manyBuffers: true,
    operands: {
      q: input("float", "[batch, queries, heads, d]", "rows"), k: input("float", "[batch, keys, keyHeads, d]", "rows"),
      v: input("float", "[batch, keys, keyHeads, dv]", "rows"), slopes: optional("f32", "[heads]"), starts: optional("i32", "[batch]"),
      mask: optional("u8", "[batch, heads, queries, keys]", "strided"), out: input("float", "[batch, queries, heads, dv]"),
      logSumExp: input("f32", "[batch, heads, queries]"), dout: input("float", "[batch, queries, heads, dv]"),
      dq: output("float", "[batch, queries, heads, d]", "rows"), dk: output("float", "[batch, keys, keyHeads, d]", "rows"),
      dv: output("float", "[batch, keys, keyHeads, dv]", "rows"),
    },
    attributes: { scale: "f32", causal: "i32", window: "i32", softcap: "f32", p: "f32", seedLow: "i32", seedHigh: "i32", stream: "i32" },
  },
  quantizeInt8: {
    doc: "rows as 8-bit integers with a scale each: scale = max |x| / 127 over the last axis, y = 128 + round(x / scale), which is 128 where scale is 0. A row with a NaN or an infinity has such a scale, and its integers mean nothing. With `at`, the rows of a batch go where append puts them.",
    operands: {
      x: input("float", "[..., n]", "rows"), y: output("u8", "[..., n]", "rows"), scale: output("f32", "[...]", "strided"), at: optional("i32", "[batch]", "strided"),
      slots: optional("i32", "[batch]", "strided"),
    },
    attributes: {},
  },
  attentionInt8: {
    doc: "attention over keys and values that lie as quantizeInt8 makes them: k[i] stands for kScale (k[i] - 128), v likewise. For inference: no mask, no dropout, nothing kept for a backward pass.",
    manyBuffers: true,
    operands: {
      q: input("float", "[batch, queries, heads, d]", "rows"), k: input("u8", "[batch, keys, keyHeads, d]", "rows"), kScale: input("f32", "[batch, keys, keyHeads]", "strided"),
      v: input("u8", "[batch, keys, keyHeads, dv]", "rows"), vScale: input("f32", "[batch, keys, keyHeads]", "strided"), slopes: optional("f32", "[heads]"),
      starts: optional("i32", "[batch]"), lengths: optional("i32", "[batch]", "strided"), slots: optional("i32", "[batch]", "strided"), out: output("float", "[batch, queries, heads, dv]", "dense"),
    },
    attributes: { scale: "f32", causal: "i32", window: "i32", softcap: "f32" },
  },
  conv1d: {
    doc: "y[b, o, t] = bias[o] + sum over i, j of weight[o, i, j] x[b, group(o) + i, t * stride + j * dilation - padding]; what lies outside x is 0. A causal convolution has padding = (kernel - 1) * dilation and as many outputs as inputs.",
    operands: {
      x: input("float", "[batch, channels, time]"), weight: input("float", "[outChannels, channels / groups, kernel]"), bias: optional("f32", "[outChannels]"),
      y: output("float", "[batch, outChannels, outTime]"),
    },
    attributes: { stride: "i32", padding: "i32", dilation: "i32", groups: "i32" },
  },
  conv1dBackward: {
    doc: "dx and dweight of conv1d (dbias is a sum of dy).",
    operands: {
      x: input("float", "[batch, channels, time]"), weight: input("float", "[outChannels, channels / groups, kernel]"),
      dy: input("float", "[batch, outChannels, outTime]"), dx: optionalOutput("float", "as x"), dweight: optionalOutput("f32", "as weight"),
    },
    attributes: { stride: "i32", padding: "i32", dilation: "i32", groups: "i32" },
  },
  crossEntropy: {
    doc: "loss[i] = -(1 - s) log p[target] - s/n sum log p + zLoss * lse^2, where p = softmax(logits[i]) and lse its log-sum-exp; 0 where target = ignoreIndex. dlogits, where given, gets d loss[i] / d logits[i] (it may be the same memory as logits; where it is bf16 and they are f32, each row of it beginning where theirs does). A target outside [0, n) that is not ignoreIndex is an error.",
    operands: {
      logits: input("float", "[rows, n]", "rows"), targets: input("i32", "[rows]"), loss: output("f32", "[rows]"), dlogits: over(optionalOutput("float", "[rows, n]", "rows"), "logits"),
    },
    attributes: { ignoreIndex: "i32", labelSmoothing: "f32", zLoss: "f32" },
  },

  // ---- optimizers --------------------------------------------------------------------------------------------------------
  splitMaster: {
    doc: "a master weight in halves that take no more room: shadow = w rounded to bf16, and remainder = the bits of w less those of the shadow << 16, a 16-bit whole number with a sign in two bytes, the lower first. Where that were 2^15 it is 2^15 - 1.",
    operands: { w: input("f32", "[...]"), shadow: output("bf16", "[...] as w"), remainder: output("u8", "[..., 2]") },
    attributes: {},
  },
  joinMaster: {
    doc: "the weight that splitMaster took apart.",
    operands: { shadow: input("bf16", "[...]"), remainder: input("u8", "[..., 2]"), w: output("f32", "[...] as the shadow") },
    attributes: {},
  },
  adamw: {
    doc: "one AdamW step in place (Loshchilov & Hutter 2019): m, v moments; w -= rate * (weightDecay * w + (m correction1) / (sqrt(v correction2) + eps)), correction = 1 / (1 - beta^t). The gradient is first multiplied by gradScale; when gradScale is not finite nothing changes. Where w is absent, it lies in shadow and remainder, as splitMaster makes them.",
    operands: {
      w: optionalInout("f32", "[...]"), gradient: input("float", "[...]"), m: inout("f32", "[...]"), v: inout("f32", "[...]"),
      gradScale: optional("f32", "[]"), shadow: optionalInout("bf16", "[...]"), remainder: optionalInout("u8", "[..., 2]"),
    },
    attributes: { rate: "f32", beta1: "f32", beta2: "f32", eps: "f32", weightDecay: "f32", correction1: "f32", correction2: "f32" },
  },
  sgd: {
    doc: "m = momentum * m + g (g where m is absent); w -= rate * (weightDecay * w + (nesterov ? g + momentum * m : m)); gradScale and halves as in adamw.",
    operands: {
      w: optionalInout("f32", "[...]"), gradient: input("float", "[...]"), m: optionalInout("f32", "[...]"), gradScale: optional("f32", "[]"),
      shadow: optionalInout("bf16", "[...]"), remainder: optionalInout("u8", "[..., 2]"),
    },
    attributes: { rate: "f32", momentum: "f32", nesterov: "i32", weightDecay: "f32" },
  },
} as const satisfies Record<string, KernelSpec>;

export type KernelName = keyof typeof contract;
export type Contract = typeof contract;
export const kernelNames = Object.keys(contract) as KernelName[];

type OperandsOf<K extends KernelName> = Contract[K]["operands"];
type OptionalOperands<K extends KernelName> = {
  [O in keyof OperandsOf<K>]: OperandsOf<K>[O] extends { optional: true } ? O : never;
}[keyof OperandsOf<K>];

/** What a launch of kernel K passes: one `T` an operand; optional ones may be left out or undefined. */
export type Operands<K extends KernelName, T> = { readonly [O in Exclude<keyof OperandsOf<K>, OptionalOperands<K>>]: T } & {
  readonly [O in OptionalOperands<K>]?: T | undefined;
};

/** Attribute values as numbers; an enum is the name of the member. */
export type Attributes<K extends KernelName> = {
  readonly [A in keyof Contract[K]["attributes"]]: Contract[K]["attributes"][A] extends keyof typeof enums
    ? (typeof enums)[Contract[K]["attributes"][A]][number]
    : number;
};

/** The contract as plain data, for code that walks it (launcher, encoder, generator). */
export function kernelSpec(kernel: KernelName): KernelSpec {
  return contract[kernel];
}
