/** @file The table of case makers. A kernel of the contract without one does not compile. */

import type { KernelName } from "../contract.js";
import { kernelNames } from "../contract.js";
import type { Case } from "./generator.js";
import { Generator } from "./generator.js";
import { layerCases } from "./layer-cases.js";
import { quantizedCases } from "./quantized-cases.js";
import type { CaseMaker } from "./tensor-cases.js";
import { tensorCases } from "./tensor-cases.js";

const makers: { readonly [K in KernelName]: CaseMaker<K> } = { ...tensorCases, ...layerCases, ...quantizedCases };

/** Case `index` of a kernel: always the same. */
export function makeCase<K extends KernelName>(kernel: K, index: number): Case<K> {
  const make: CaseMaker<K> = makers[kernel];
  return make(new Generator(kernelNames.indexOf(kernel), index));
}
