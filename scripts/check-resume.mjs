/**
 * Kills a training run with SIGKILL at random moments, resumes it each time, and compares its final weights byte for byte with those of a
 * run that was never stopped; in f32 and bf16, with 1 and 2 threads. All of them must agree for each dtype.
 *
 *     npm run build && node scripts/check-resume.mjs [kills=20] [seed=1]
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "../dist/src/tensor/random.js";

const kills = Number(process.argv[2] ?? 20);
const random = new Random(Number(process.argv[3] ?? 1));
const bin = fileURLToPath(new URL("../dist/src/cli/bin.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hornbook-resume-"));
const recipe = join(folder, "recipe.mjs");
writeFileSync(
  recipe,
  `export default {
  description: "a small run", text: "shakespeare", validation: 0.1, tokenizer: { kind: "characters" },
  model: { numLayers: 2, numHeads: 2, hiddenSize: 64, contextLength: 32, dropout: 0.1 },
  train: { steps: 1500, batchSize: 8, saveEvery: 25, evaluateEvery: 100, evaluateTokens: 2048, accumulation: 2 },
};`,
);

/** Trains in a process of its own; kills it after `lifetime` milliseconds of steps, when one is given. */
function run(out, dtype, threads, lifetime) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, "train", "--recipe", recipe, "--out", out, "--dtype", dtype, "--resume", "--json"], {
      env: { ...process.env, HORNBOOK_THREADS: String(threads), HORNBOOK_CACHE: join(folder, "cache") },
    });
    let errors = "";
    let steps = 0;
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.stdout.on("data", (chunk) => {
      // The clock starts with the first step, so that every life gets somewhere; where in a step or a save it ends is chance.
      if (steps === 0 && lifetime !== undefined) setTimeout(() => child.kill("SIGKILL"), lifetime);
      steps += String(chunk).split("\n").length - 1;
    });
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") resolve({ finished: false, steps });
      else if (code === 0) resolve({ finished: true, steps });
      else reject(new Error(`exit ${code}: ${errors}`));
    });
  });
}

const hash = (out) => createHash("sha256").update(readFileSync(join(out, "last", "model.safetensors"))).update(readFileSync(join(out, "last", "training", "optimizer.safetensors"))).digest("hex").slice(0, 16);

let failed = false;
try {
  for (const dtype of ["f32", "bf16"]) {
    const whole = join(folder, `${dtype}-whole`);
    const start = performance.now();
    await run(whole, dtype, 2);
    const duration = performance.now() - start;
    const expected = hash(whole);
    console.log(`${dtype}: never stopped, 2 threads: ${expected}`);
    for (const threads of [1, 2]) {
      const out = join(folder, `${dtype}-${threads}`);
      let killed = 0;
      let finished = false;
      while (!finished) {
        // The last life is not cut short.
        const lifetime = killed < kills ? 20 + random.uniform() * ((2 * duration) / kills) : undefined;
        ({ finished } = await run(out, dtype, threads, lifetime));
        if (!finished) killed++;
      }
      const equal = hash(out) === expected;
      failed ||= !equal;
      console.log(`${dtype}: killed ${killed} times, ${threads} thread${threads > 1 ? "s" : ""}: ${hash(out)} ${equal ? "equal" : "DIFFERENT"}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
