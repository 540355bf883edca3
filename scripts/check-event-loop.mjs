/**
 * Whether the event loop lives while a model trains, and whether memory is flat: trains a recipe with evaluation, samples and saves in between,
 * prints how late a 10 ms timer was at most, and the resident size up to step 50, 100, ...
 *
 *     npm run build && node scripts/check-event-loop.mjs [recipe=shakespeare-char] [steps=500] [dtype]
 *
 * Fails when the timer was more than 50 ms late, or when the resident size of step 50 and a later one differ by more than 2%.
 */
// As the command line does.
import { collectGarbage } from "../dist/src/cli/heap.js";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { loadRecipe, prepareRecipe, train } = await import("../dist/src/index.js");

const [name = "shakespeare-char", stepsGiven = "500", dtype] = process.argv.slice(2);
const steps = Number(stepsGiven);
const folder = mkdtempSync(join(tmpdir(), "hornbook-event-loop-"));

/** The lateness of a 10 ms timer, as a list of [when, how late], the worst first. */
function watch() {
  const late = [];
  let due = performance.now() + 10;
  const timer = setInterval(() => {
    const now = performance.now();
    late.push([now, now - due]);
    due = now + 10;
  }, 10);
  return () => {
    clearInterval(timer);
    return late.sort((a, b) => b[1] - a[1]);
  };
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
let failed = false;
try {
  const recipe = await loadRecipe(name);
  // Out of step with the looks at memory: after an evaluation the activations of the next step are yet to be made.
  const settings = { ...recipe.train, steps, evaluateEvery: 110, saveEvery: 110, sampleEvery: 220, ...(dtype && { dtype }) };
  const { model, data, tokenizer } = await prepareRecipe({ ...recipe, train: settings });
  const resident = new Map();
  const moments = [];
  const stop = watch();
  const start = performance.now();
  for await (const { step, saved, sample, validationLoss } of train(model, data, { ...settings, tokenizer, out: join(folder, "run") })) {
    if (validationLoss !== undefined || saved !== undefined) collectGarbage();
    moments.push([performance.now(), `step ${step}${validationLoss === undefined ? "" : ", evaluated"}${sample === undefined ? "" : ", sampled"}${saved === undefined ? "" : ", saved"}`]);
    // The least of ten steps: memory outside the JavaScript heap rises by some 4 MB now and then for a moment (V8's compiler, probably).
    const at = Math.ceil(step / 50) * 50;
    if (step > at - 10 && at < steps) resident.set(at, Math.min(resident.get(at) ?? Infinity, process.memoryUsage.rss()));
    if (step === at && at < steps) {
      console.log(`step ${String(step).padStart(5)}  resident ${megabytes(resident.get(step))} MB  ${((performance.now() - start) / 1000).toFixed(0)} s`);
    }
  }
  const late = stop();
  const during = (when) => moments.find(([end]) => end >= when)?.[1] ?? "after the last step";
  console.log(`10 ms timer, ${late.length} times: at most ${late[0][1].toFixed(1)} ms late (before ${during(late[0][0])}); then ${late.slice(1, 6).map(([when, by]) => `${by.toFixed(1)} (${during(when)})`).join(", ")}`);
  failed ||= late[0][1] > 50;
  const [first, ...later] = resident.values();
  if (later.length > 0) {
    const [least, most] = [Math.min(first, ...later), Math.max(first, ...later)];
    const change = 100 * (Math.abs(most - first) > Math.abs(least - first) ? most / first - 1 : least / first - 1);
    console.log(`resident size at step 50: ${megabytes(first)} MB, after that ${megabytes(least)} to ${megabytes(most)} MB (${change.toFixed(2)}%); peak ${megabytes(process.resourceUsage().maxRSS * 1024)} MB`);
    failed ||= Math.abs(change) > 2;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
