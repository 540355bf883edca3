/**
 * The conformance suite in plain Node, from dist/: for machines and emulators on which vitest does not run.
 *
 *   npm run build && node scripts/check-conformance.mjs [--isa NAME,...] [--cases N] [KERNEL...]
 *
 * Without --isa it takes every instruction set that the machine can run and that was built; INKLING_BUILD names another folder than build/.
 */
import { parseArgs } from "node:util";
import { kernelNames } from "../dist/src/tensor/contract.js";
import { CpuDevice } from "../dist/src/tensor/cpu/device.js";
import { edgeTruths, findDisagreements, findMissedErrors, findThreadDependence, summary, truthsOf } from "../dist/src/tensor/conformance/checks.js";

const { values, positionals } = parseArgs({ options: { isa: { type: "string" }, cases: { type: "string", default: "40" } }, allowPositionals: true });
const isas = values.isa?.split(",") ?? CpuDevice.availableIsas();
const cases = Number(values.cases);
const kernels = positionals.length > 0 ? positionals : kernelNames;
if (isas.length === 0) throw new Error("there are no native kernels for this machine; INKLING_BUILD names the folder they are in");

const devices = new Map();
const deviceOf = (isa, threads) => {
  const key = `${isa}/${threads}`;
  if (!devices.has(key)) devices.set(key, CpuDevice.create({ isa, threads }));
  return devices.get(key);
};
let wrong = 0;
const tell = (what, reports) => {
  if (reports.length === 0) return;
  wrong++;
  console.log(`${what}: ${summary(reports)}\n`);
};

for (const kernel of kernels) {
  const truths = await truthsOf(kernel, cases);
  for (const isa of isas) tell(`${kernel} on ${isa}`, await findDisagreements(deviceOf(isa, 2), truths));
}
if (positionals.length === 0) {
  for (const isa of isas) {
    tell(`edges of floating point on ${isa}`, await findDisagreements(deviceOf(isa, 2), await edgeTruths()));
    tell(`threads on ${isa}`, await findThreadDependence((threads) => deviceOf(isa, threads), cases / 4));
    tell(`errors on ${isa}`, await findMissedErrors(deviceOf(isa, 2)));
  }
}
console.log(`${process.platform}-${process.arch}, ${isas.join(", ")}: ${kernels.length} kernels, ${cases} cases each: ${wrong === 0 ? "conform" : `${wrong} checks failed`}.`);
process.exitCode = wrong === 0 ? 0 : 1;
