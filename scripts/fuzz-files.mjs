/**
 * Reads files that have been damaged at random, for as long as wanted: whatever is wrong with a file, reading it ends soon, in memory of the
 * file's size class, with what the file holds or with an error of Hornbook's that names the file.
 *
 *   npm run build && node scripts/fuzz-files.mjs KIND [COUNT] [--seed 1]
 *
 * KIND is one of those in `kinds` below: a kind says which files to start from and how to read one. Exits 1 where a rule is broken, and saves the
 * file that broke it.
 */
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const dist = (path) => import(new URL(`../dist/src/${path}`, import.meta.url));
const fixtures = new URL("../test/fixtures/", import.meta.url);
const samples = (folder, ending) => readdirSync(new URL(folder, fixtures)).filter((name) => name.endsWith(ending) && name !== "expected.json").map((name) => readFileSync(new URL(`${folder}${name}`, fixtures)));
const text = "the lord 中文 \u00e9<s>  123";

/** Each: `load` gives the files to damage and a function that reads one, synchronous or not, and takes the name it has in errors. */
const kinds = {
  "tokenizer.json": async () => {
    const { Tokenizer } = await dist("tokenizer/index.js");
    const { TokenizerError } = await dist("errors.js");
    const read = (bytes, file) => {
      let json;
      try {
        json = JSON.parse(bytes.toString());
      } catch {
        throw new TokenizerError({ file }, "not JSON", {});
      }
      const tokenizer = Tokenizer.fromJSON(json, { file });
      return () => tokenizer.decode(tokenizer.encode(text));
    };
    return { files: samples("tokenizers/", ".json"), read, mutate: mutateJson };
  },
  "tokenizer.model": async () => {
    const { readSentencePiece } = await dist("tokenizer/index.js");
    const read = (bytes, file) => {
      const tokenizer = readSentencePiece(bytes, { file });
      return () => tokenizer.decode(tokenizer.encode(text));
    };
    return { files: samples("tokenizers/", ".model"), read, mutate: mutateBytes };
  },
  /** The vocabularies of GGUF files without tensors: every kind of tokenizer model. */
  "gguf-tokenizer": async () => {
    const { tokenizerFromGguf } = await dist("tokenizer/index.js");
    const { Gguf } = await dist("checkpoint/gguf/index.js");
    const read = async (bytes, file) => {
      writeFileSync(file, bytes);
      const opened = await Gguf.open(file);
      await opened.close();
      const tokenizer = tokenizerFromGguf(opened.metadata);
      return () => tokenizer.decode(tokenizer.encode(text, { allowedSpecial: "all" }));
    };
    return { files: [...samples("gguf-pre/models/", ".gguf"), ...samples("gguf-pre/", ".gguf")], read, mutate: mutateBytes };
  },
  gguf: async () => {
    const { LanguageModel } = await dist("language-model.js");
    const { Tokenizer } = await dist("tokenizer/index.js");
    const tokenizer = await Tokenizer.load(fileURLToPath(new URL("tokenizer/tokenizer.json", fixtures))).catch(() => undefined);
    const files = [];
    for (const [family, quantize] of [["llama", "f32"], ["gemma3", undefined], ["gpt2", "q8_0"], ["qwen3", "q4_k_m"], ["phi3-longrope", "bf16"]]) {
      const model = await LanguageModel.load(fileURLToPath(new URL(`families/${family}`, fixtures)));
      const fits = tokenizer !== undefined && tokenizer.vocabSize <= model.config.vocabSize;
      try {
        await model.saveGguf("sample.gguf", { quantize, tokenizer: fits ? tokenizer : undefined, chatTemplate: "{{ messages }}" });
      } catch {
        continue; // the fixture is of a kind that GGUF cannot say
      }
      files.push(readFileSync("sample.gguf"));
    }
    return { files, read: wholeModel(LanguageModel), mutate: mutateHead };
  },
  bin: async () => {
    const { LanguageModel } = await dist("language-model.js");
    const [dim, hidden, layers, heads, keyHeads, vocab, context] = [16, 24, 2, 4, 2, 40, 8];
    const floats = vocab * dim + layers * (2 * dim + 2 * dim * dim + 2 * (dim / heads) * keyHeads * dim + 3 * dim * hidden) + dim + (context * dim) / heads;
    const file = Buffer.concat([Buffer.from(Int32Array.of(dim, hidden, layers, heads, keyHeads, vocab, context).buffer), Buffer.from(new Float32Array(floats).fill(0.01).buffer)]);
    return { files: [file], read: wholeModel(LanguageModel), mutate: mutateHead };
  },
  safetensors: async () => {
    const { Safetensors } = await dist("checkpoint/safetensors.js");
    const read = async (bytes, file) => {
      writeFileSync(file, bytes);
      const opened = await Safetensors.open(file);
      try {
        await opened.verify();
        for (const tensor of opened.tensors.values()) if (tensor.dtype !== "C64") await tensor.readFloat32();
      } finally {
        await opened.close();
      }
    };
    return { files: [readFileSync(new URL("dtypes.safetensors", fixtures)), readFileSync(new URL("families/gpt2/model.safetensors", fixtures))], read, mutate: mutateHead };
  },
};

/** Loads it, weights and all, and takes a step with it. */
function wholeModel(LanguageModel) {
  return async (bytes, file) => {
    writeFileSync(file, bytes);
    const model = await LanguageModel.load(file);
    return async () => {
      try {
        await model.generateText([1, 2], { maxTokens: 1, temperature: 0, stopIds: [] });
      } finally {
        model.dispose();
      }
    };
  };
}

/** Mostly where the meaning is. */
function mutateHead(bytes) {
  if (random(4) === 0) return mutateBytes(bytes);
  const head = Math.min(bytes.length, 4000);
  return Buffer.concat([mutateBytes(bytes.subarray(0, head)), bytes.subarray(head)]);
}

const { values, positionals } = parseArgs({ options: { seed: { type: "string", default: "1" } }, allowPositionals: true });
const [kind = "", count = "1000"] = positionals;
if (!Object.hasOwn(kinds, kind)) {
  console.error(`Which kind? There are ${Object.keys(kinds).join(", ")}.`);
  process.exit(2);
}

let state = Number(values.seed) >>> 0;
/** A whole number below a bound: xorshift, so that a run can be had again. */
const random = (below) => {
  state = (state + 0x9e3779b9) >>> 0;
  let x = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) % Math.max(1, below);
};
const pick = (list) => list[random(list.length)];

/** Cut short, bytes changed, parts repeated, left out or filled, and numbers made huge. */
function mutateBytes(bytes) {
  let mutated = Buffer.from(bytes);
  for (let k = 0; k <= random(4); k++) {
    const at = random(random(3) === 0 ? 200 : mutated.length);
    const length = random(random(2) === 0 ? 8 : 400);
    switch (random(7)) {
      case 0: mutated = mutated.subarray(0, at); break;
      case 1: mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + length)]); break;
      case 2: mutated = Buffer.concat([mutated.subarray(0, at + length), mutated.subarray(at)]); break;
      case 3: mutated.fill(pick([0, 0xff, 0x7f, 0x80]), Math.min(at, mutated.length), Math.min(at + length, mutated.length)); break;
      case 4: for (let i = 0; i < length && at + i < mutated.length; i++) mutated[at + i] = random(256); break;
      default: if (mutated.length > 0) mutated[Math.min(at, mutated.length - 1)] ^= 1 << random(8);
    }
  }
  return mutated;
}

/** As bytes, or a value anywhere in it replaced by another. */
function mutateJson(bytes) {
  if (random(3) === 0) return mutateBytes(bytes);
  const json = JSON.parse(bytes.toString());
  for (let k = 0; k <= random(3); k++) {
    let at = json;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      // The small parts are where the meaning is.
      const key = pick(keys.filter((name) => !(name === "vocab" || name === "merges") || random(8) === 0).concat(keys[0]));
      if (typeof at[key] !== "object" || at[key] === null || random(6) === 0) {
        const odd = [null, true, -1, 0, 0.5, 2 ** 31, 2 ** 53, 1e300, "", "a", "\ud800", "__proto__", "(a+)+$", "[", "(?<=a*)b{999}", "\\p{L}", " ", [], {}, [[]], { type: "Sequence" }, "x".repeat(10_000)];
        const other = random(3) === 0 ? pick(Object.values(json)) : pick(odd);
        if (random(8) === 0) delete at[key];
        else at[key] = other === json ? null : structuredClone(other);
        break;
      }
      at = at[key];
    }
  }
  return Buffer.from(JSON.stringify(json));
}

const { HornbookError } = await dist("errors.js");
const place = mkdtempSync(join(tmpdir(), "hornbook-fuzz-"));
// Files are read by the name that errors must give.
process.chdir(place);
const { files, read, mutate } = await kinds[kind]();
const memoryBefore = process.memoryUsage().rss;
const counts = { read: 0, refused: 0, broken: 0 };
let slowest = 0;
for (let i = 0; i < Number(count); i++) {
  const bytes = mutate(pick(files));
  const started = performance.now();
  let wrong;
  try {
    const use = await read(bytes, "damaged");
    counts.read++;
    try {
      await use?.();
    } catch (error) {
      if (!(error instanceof HornbookError)) wrong = error;
    }
  } catch (error) {
    counts.refused++;
    if (!(error instanceof HornbookError) || error.file !== "damaged") wrong = error;
  }
  const took = performance.now() - started;
  slowest = Math.max(slowest, took);
  if (took > 10_000) wrong ??= new Error(`took ${Math.round(took)} ms`);
  if (wrong !== undefined) {
    counts.broken++;
    const path = join(place, `${i}-${kind}`);
    writeFileSync(path, bytes);
    console.error(`${path}:`, wrong);
    if (counts.broken >= 10) break;
  }
  if ((i + 1) % 10_000 === 0) console.log(`${i + 1} done, ${JSON.stringify(counts)}`);
}
const grown = (process.memoryUsage().rss - memoryBefore) / 2 ** 20;
console.log(`${kind}: ${counts.read} read, ${counts.refused} refused, ${counts.broken} broken; the slowest took ${slowest.toFixed(0)} ms, resident memory grew by ${grown.toFixed(0)} MB`);
process.exit(counts.broken > 0 || grown > 1024 ? 1 : 0);
