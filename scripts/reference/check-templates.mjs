/**
 * Renders every *.jinja of some folders with Hornbook and with transformers, and tells where they differ.
 *
 *     npm run build && node scripts/reference/check-templates.mjs FOLDER...        (PYTHON names the interpreter that has transformers)
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { ChatTemplate } from "../../dist/src/index.js";

const oracle = fileURLToPath(new URL("templates_oracle.py", import.meta.url));
const { stdout, stderr, status } = spawnSync(process.env.PYTHON ?? "python3", [oracle, ...process.argv.slice(2)], { maxBuffer: 2 ** 30 });
if (status !== 0) throw new Error(String(stderr));
const { conversations, choices, special, now, cases } = JSON.parse(stdout);

const byFile = Map.groupBy?.(cases, ([file]) => file) ?? cases.reduce((map, one) => map.set(one[0], [...(map.get(one[0]) ?? []), one]), new Map());
const total = { same: 0, bothRaise: 0, raises: 0, different: 0 };
let milliseconds = 0;
console.log("template                                                same  both raise  only we raise  different");
for (const [file, all] of byFile) {
  const template = new ChatTemplate({ template: readFileSync(file, "utf8"), specialTokens: special });
  const count = { same: 0, bothRaise: 0, raises: 0, different: 0 };
  for (const [, title, choice, { text, error }] of all) {
    const { add_generation_prompt: addGenerationPrompt = false, tools, documents, ...variables } = choices[choice];
    const start = performance.now();
    const result = await template.render(conversations[title], { addGenerationPrompt, tools, documents, variables, now: new Date(now) }).catch((e) => e);
    milliseconds += performance.now() - start;
    if (result instanceof Error) count[text === undefined ? "bothRaise" : "raises"]++;
    else count[text === result ? "same" : "different"]++;
    if (result instanceof Error ? text !== undefined : text !== result) console.error(`${basename(file)}, ${title}, ${JSON.stringify(choices[choice]).slice(0, 60)}:\n  transformers ${JSON.stringify(text ?? error)}\n  hornbook     ${result instanceof Error ? result.message : JSON.stringify(result)}`);
  }
  for (const key of Object.keys(total)) total[key] += count[key];
  console.log(`${basename(file).slice(0, 55).padEnd(55)} ${String(count.same).padStart(4)} ${String(count.bothRaise).padStart(11)} ${String(count.raises).padStart(14)} ${String(count.different).padStart(10)}`);
}
console.log(`${byFile.size} templates, ${cases.length} renderings: ${total.same} the same, ${total.bothRaise} raise in both, ${total.raises} raise only here, ${total.different} differ; ${(milliseconds / cases.length).toFixed(3)} ms each`);
if (total.different > 0) process.exitCode = 1;
