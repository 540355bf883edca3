/**
 * Writes test/fixtures/gguf-rope.json: settings of RoPE in GGUF, old and new, over the file of a case, with the logits that llama.cpp computes then
 * (scripts/reference/llama_logits.cpp says how to build that).
 *
 *     npm run build && node scripts/reference/gguf_rope.mjs PATH_OF_llama_logits
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Gguf, writeGguf } from "../../dist/src/checkpoint/gguf/index.js";

const ids = "1,5,9,13,2,40,7,7,3,30,21,11";
const float = (value) => ({ type: "float32", value: Math.fround(value) });
const whole = (value) => ({ type: "uint32", value });
const text = (value) => ({ type: "string", value });
const kinds = {
  "none of it": {},
  "the factor's older name": { "rope.scale_linear": float(4) },
  "both names of the factor": { "rope.scale_linear": float(4), "rope.scaling.factor": float(2) },
  "a factor, and no kind": { "rope.scaling.factor": float(2) },
  "a factor of 0": { "rope.scaling.factor": float(0) },
  "linear": { "rope.scaling.type": text("linear"), "rope.scaling.factor": float(3) },
  "linear, under the older name": { "rope.scaling.type": text("linear"), "rope.scale_linear": float(3) },
  "none, with a factor": { "rope.scaling.type": text("none"), "rope.scaling.factor": float(3) },
  "yarn": { "rope.scaling.type": text("yarn"), "rope.scaling.factor": float(4), "rope.scaling.original_context_length": whole(8) },
  "yarn, under the older name": { "rope.scaling.type": text("yarn"), "rope.scale_linear": float(4), "rope.scaling.original_context_length": whole(8) },
  "yarn without its original context": { "rope.scaling.type": text("yarn"), "rope.scaling.factor": float(4) },
  "yarn with a growth": { "rope.scaling.type": text("yarn"), "rope.scaling.factor": float(4), "rope.scaling.original_context_length": whole(8), "rope.scaling.attn_factor": float(1.5) },
  "a growth alone": { "rope.scaling.attn_factor": float(1.5) },
  "linear with a growth": { "rope.scaling.type": text("linear"), "rope.scaling.factor": float(3), "rope.scaling.attn_factor": float(1.5) },
  "a base": { "rope.freq_base": float(50) },
  "finetuned": { "rope.scaling.finetuned": { type: "bool", value: true } },
};

const folder = mkdtempSync(join(tmpdir(), "gguf-rope-"));
const file = await Gguf.open("test/fixtures/cases/gguf-rope-scale_linear.gguf");
const tensors = [...file.tensors.values()].map((tensor) => ({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, data: () => tensor.read() }));
const plain = [...file.metadata.values].filter(([key]) => key !== "llama.rope.scale_linear");
const result = [];
for (const [name, set] of Object.entries(kinds)) {
  const path = join(folder, "model.gguf");
  await writeGguf(path, { metadata: new Map([...plain, ...Object.entries(set).map(([key, value]) => [`llama.${key}`, value])]), tensors });
  const logits = execFileSync(process.argv[2], [path, ids, "6"], { encoding: "utf8" }).trim().split("\n").map(Number);
  result.push({ name, set, logits });
}
await file.close();
rmSync(folder, { recursive: true });
writeFileSync("test/fixtures/gguf-rope.json", `[\n${result.map((one) => JSON.stringify(one)).join(",\n")}\n]\n`);
console.log(`${result.length} kinds`);
