/**
 * The conformance suite in plain Node, from dist/: for machines and emulators on which vitest does not run. Where no kernel is named, the tokenizer's
 * engine in C++ is held to the one in TypeScript as well.
 *
 *   npm run build && node scripts/check-conformance.mjs [--isa NAME,...] [--cases N] [KERNEL...]
 *
 * Without --isa it takes every instruction set that the machine can run and that was built; HORNBOOK_BUILD names another folder than build/.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { kernelNames } from "../dist/src/tensor/contract.js";
import { CpuDevice } from "../dist/src/tensor/cpu/device.js";
import { edgeTruths, findAliasingErrors, findDisagreements, findMissedErrors, findThreadDependence, summary, truthsOf } from "../dist/src/tensor/conformance/checks.js";
import { findRowDependence } from "../dist/src/tensor/conformance/row-independence.js";
import { BpeTokenizer, nativeEngine, patternNames, referenceEngine } from "../dist/src/tokenizer/index.js";

const { values, positionals } = parseArgs({ options: { isa: { type: "string" }, cases: { type: "string", default: "40" } }, allowPositionals: true });
const isas = values.isa?.split(",") ?? CpuDevice.availableIsas();
const cases = Number(values.cases);
const kernels = positionals.length > 0 ? positionals : kernelNames;
if (isas.length === 0) throw new Error("there are no native kernels for this machine; HORNBOOK_BUILD names the folder they are in");

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
  tell("tokenizer", await findTokenizerDifferences());
  for (const isa of isas) {
    tell(`edges of floating point on ${isa}`, await findDisagreements(deviceOf(isa, 2), await edgeTruths()));
    tell(`threads on ${isa}`, await findThreadDependence((threads) => deviceOf(isa, threads), cases / 4));
    tell(`shared memory on ${isa}`, await findAliasingErrors(deviceOf(isa, 2), cases));
    tell(`rows of batches on ${isa}`, await findRowDependence(deviceOf(isa, 2)));
    tell(`errors on ${isa}`, await findMissedErrors(deviceOf(isa, 2)));
  }
}
console.log(`${process.platform}-${process.arch}, ${isas.join(", ")}: ${kernels.length} kernels, ${cases} cases each: ${wrong === 0 ? "conform" : `${wrong} checks failed`}.`);
process.exitCode = wrong === 0 ? 0 : 1;

/** Where the native engine does not learn or give what the reference does: on text that is cut in every way, on prose, and on bytes that are no text. */
async function findTokenizerDifferences() {
  const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  const cuts = JSON.parse(read("test/fixtures/tokenizer/pieces.json")).map(([text]) => text).join("\n");
  const prose = read("data/tinyshakespeare.txt").slice(0, 200_000);
  const broken = new TextEncoder().encode(cuts + prose).map((byte, i) => (i % 11 === 0 ? byte ^ (i & 0xff) : byte));
  const reports = [];
  for (const pattern of patternNames) {
    const same = (what, one, two) => (one.length === two.length && one.every((id, i) => id === two[i])) || reports.push(`${pattern}: ${what} differ`);
    const [expected, actual] = await Promise.all([referenceEngine, nativeEngine()].map((engine) => BpeTokenizer.train([cuts, prose], { vocabSize: 2000, pattern, engine })));
    same("the merges learned", expected.merges, actual.merges);
    same("the tokens of a text", expected.encode(cuts), actual.encode(cuts));
    same("the tokens of bytes", expected.encodeBytes(broken), actual.encodeBytes(broken));
    const { tokens } = await expected.encodeBatch([cuts, prose, broken]);
    for (const threads of [1, 2, 5]) same(`the tokens with ${threads} threads`, tokens, (await actual.encodeBatch([cuts, prose, broken], { threads })).tokens);
  }
  return reports;
}
