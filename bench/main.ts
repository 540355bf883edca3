/** @file `npm run bench -- NAME [side ...]`: us and the peers in turns, medians and ratios. */

import { benchGeneration, generateWorkloads } from "./generate.js";
import { benchTokenizer } from "./tokenizer.js";
import { benchTraining, trainWorkloads } from "./train.js";

const benches: Readonly<Record<string, (only: readonly string[]) => Promise<void>>> = {
  ...Object.fromEntries(Object.keys(trainWorkloads).map((name) => [name, (only: readonly string[]) => benchTraining(name, only)])),
  ...Object.fromEntries(Object.keys(generateWorkloads).map((name) => [name, (only: readonly string[]) => benchGeneration(name, only)])),
  "tokenizer-encode": () => benchTokenizer("encode"),
  "tokenizer-train": () => benchTokenizer("train"),
};

const [name, ...only] = process.argv.slice(2);
if (name === undefined || !(name in benches)) {
  console.log(`npm run bench -- NAME [SIDE ...]\n\n${Object.keys(benches).join("\n")}\n\nSIDE keeps only the sides whose name contains it, such as "inkling bf16".`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  await benches[name](only);
}
