/**
 * @file The one gate to a device: checks a kernel's operands against the contract and queues it. An input whose layout the contract does
 * not take is copied first; everything else that does not fit is a bug in an op, and an error here.
 */

import { HornbookError } from "../errors.js";
import { findOverlap } from "./aliasing.js";
import type { contract} from "./contract.js";
import { kernelSpec, kernelNames, type Attributes, type KernelName, type OperandSpec, type Operands } from "./contract.js";
import type { BufferView } from "./device.js";
import { isDense } from "./shape.js";
import { Tensor } from "./tensor.js";

const operandLists = Object.fromEntries(kernelNames.map((name) => [name, Object.entries(kernelSpec(name).operands)])) as Record<
  keyof typeof contract,
  [string, OperandSpec][]
>;

let checksAliasing = false;

/** From now on a launch whose operands share memory against the contract throws HornbookError; for tests. */
export function checkAliasing(): void {
  checksAliasing = true;
}

/**
 * Queues a kernel on its operands' device. Throws HornbookError when an operand is missing, lies on another device, or has a dtype or (for
 * an output) a layout that the contract does not allow.
 */
export function launch<K extends KernelName>(kernel: K, operands: Operands<K, Tensor>, attributes: Attributes<K>): void {
  let copies: Tensor[] | undefined;
  let device: Tensor["device"] | undefined;
  let final = operands as Record<string, Tensor | undefined>;
  for (const [name, spec] of operandLists[kernel]) {
    const tensor = final[name];
    if (tensor === undefined) {
      if (!spec.optional) throw new HornbookError(`${kernel}: the operand ${name} is missing.`);
      continue;
    }
    // Checks that it is alive, and allocates a deferred one now: commands are encoded one at a time.
    void tensor.buffer;
    device ??= tensor.device;
    if (tensor.device !== device) throw new HornbookError(`${kernel}: ${name} lies on ${tensor.device.name}, the others on ${device.name}.`);
    if (spec.dtype !== "any" && spec.dtype !== tensor.dtype && !(spec.dtype === "float" && (tensor.dtype === "f32" || tensor.dtype === "bf16"))) {
      throw new HornbookError(`${kernel}: ${name} is ${tensor.dtype}, but must be ${spec.dtype}.`, { code: "bad-dtype" });
    }
    if (spec.direction !== "in") tensor.storage.version++;
    if (fits(tensor, spec)) continue;
    if (spec.direction !== "in") throw new HornbookError(`${kernel}: ${name} must be ${spec.layout}, shape [${tensor.shape.join(", ")}].`);
    const copy = Tensor.empty(tensor.shape, tensor.dtype, tensor.device);
    device.launch("copy", { x: tensor, y: copy }, {});
    if (copies === undefined) final = { ...final };
    final[name] = copy;
    (copies ??= []).push(copy);
  }
  if (checksAliasing) {
    const overlap = findOverlap(kernel, Object.fromEntries(Object.entries(final).map(([name, tensor]) => [name, tensor && viewOf(tensor)])));
    if (overlap !== undefined) throw new HornbookError(overlap);
  }
  device?.launch(kernel, final as unknown as Operands<K, Tensor>, attributes);
  copies?.forEach((copy) => copy.dispose());
}

function viewOf({ buffer, dtype, shape, strides, offset }: Tensor): BufferView {
  return { buffer, dtype, shape, strides, offset };
}

function fits(tensor: Tensor, spec: OperandSpec): boolean {
  if (spec.layout === "strided") return true;
  if (spec.layout === "dense") return isDense(tensor.shape, tensor.strides);
  const last = tensor.rank - 1;
  return last < 0 || tensor.strides[last] === 1 || tensor.shape[last] <= 1;
}
