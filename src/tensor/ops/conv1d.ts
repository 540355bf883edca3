/**
 * @file One-dimensional convolution (in truth cross-correlation), grouped: y[b, o, t] = bias[o] + sum over i, j of weight[o, i, j]
 * x[b, group(o) + i, t stride + j dilation - padding], x being 0 outside. The gradients run the same sum the other ways round.
 */

import { ShapeError } from "../../errors.js";
import { launch } from "../launch.js";
import { record } from "../tape.js";
import type { Tensor } from "../tensor.js";
import { checkDType, checkFloat, checkShapeIs, emptyLike, reduced } from "./support.js";

export interface Conv1dOptions {
  readonly stride?: number;
  /** Zeros on both sides; by default 0. */
  readonly padding?: number;
  readonly dilation?: number;
  /** The channels fall into so many groups that do not see each other; as many as channels is a depthwise convolution. */
  readonly groups?: number;
  /** Output t sees inputs up to t alone, and there are as many as inputs. Takes stride 1, and sets the padding. */
  readonly causal?: boolean;
}

/**
 * x [batch, channels, time], weight [outChannels, channels / groups, kernel] in x's dtype, bias f32 [outChannels]; gives [batch, outChannels,
 * outTime] with outTime = floor((time + 2 padding - (kernel - 1) dilation - 1) / stride) + 1. Throws ShapeError or RangeError.
 */
export function conv1d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv1dOptions = {}): Tensor {
  const { stride = 1, dilation = 1, groups = 1, causal = false } = options;
  checkFloat("conv1d", x);
  checkDType("conv1d", "the weight", weight, x.dtype);
  checkDType("conv1d", "the bias", bias, "f32");
  if (x.rank !== 3 || weight.rank !== 3 || weight.shape[1] * groups !== x.shape[1] || weight.shape[0] % groups !== 0) {
    throw new ShapeError("conv1d", [x.shape, weight.shape], `They must be [batch, channels, time] and [outChannels, channels / ${groups}, kernel].`);
  }
  const [batch, , time] = x.shape;
  const [outChannels, , kernel] = weight.shape;
  checkShapeIs("conv1d", "the bias", bias, [outChannels]);
  const reach = (kernel - 1) * dilation;
  const padding = causal ? reach : (options.padding ?? 0);
  if (![stride, dilation, groups].every((value) => Number.isInteger(value) && value > 0) || !Number.isInteger(padding) || padding < 0) {
    throw new RangeError(`conv1d: stride ${stride}, dilation ${dilation}, groups ${groups} and padding ${padding} must be whole and positive.`);
  }
  if (causal && (stride !== 1 || options.padding !== undefined)) throw new RangeError("conv1d: a causal convolution has stride 1 and sets the padding itself.");
  const outTime = causal ? time : Math.floor((time + 2 * padding - reach - 1) / stride) + 1;
  if (outTime < 1 && !causal) throw new ShapeError("conv1d", [x.shape, weight.shape], "The kernel is longer than the padded input.");

  const attributes = { stride, padding, dilation, groups };
  const y = emptyLike(x, [batch, outChannels, outTime]);
  launch("conv1d", { x, weight, bias, y }, attributes);
  const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
  return record("conv1d", y, inputs, [x, weight], (dy, needs) => {
    const dx = needs[0] ? emptyLike(x) : undefined;
    const dweight = needs[1] ? emptyLike(weight, weight.shape, "f32") : undefined;
    if (dx !== undefined || dweight !== undefined) launch("conv1dBackward", { x, weight, dy, dx, dweight }, attributes);
    return [dx, dweight, needs[2] ? reduced("sum", dy, [0, 2]) : undefined];
  });
}
