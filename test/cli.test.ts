/**
 * The command line as a script and a person meet it: exit codes, the shapes of --json, help with examples, what is said about bad input,
 * and Ctrl-C. Most of it runs in this process; what needs a process or a terminal of its own runs the built executable.
 */

import { execFile, spawn, spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { modelConfig } from "../src/model/index.js";
import { loadRecipe, recipeNames } from "../src/recipes.js";
import { trainSettings } from "../src/train/index.js";
import { failing, hornbook, json } from "./cli/harness.js";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let model: string;
let recipe: string;
let play: string;
const file = (name: string) => join(folder, name);

const settings = "steps: 8, batchSize: 4, evaluateEvery: 4, evaluateTokens: 256, saveEvery: 4";
const makeRecipe = (changes: { model?: string; train?: string; tokenizer?: string } = {}) =>
  `export default {
    description: "a tiny GPT", text: { path: ${JSON.stringify(play)} }, validation: 0.1, tokenizer: ${changes.tokenizer ?? '{ kind: "characters" }'},
    model: { numLayers: 1, numHeads: 2, hiddenSize: 16, contextLength: 16, ${changes.model ?? ""} },
    train: { ${settings}, ${changes.train ?? ""} },
  };`;
let recipes = 0;
async function recipeWith(changes: Parameters<typeof makeRecipe>[0]): Promise<string> {
  const path = file(`recipe-${recipes++}.mjs`);
  await writeFile(path, makeRecipe(changes));
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-cli-"));
  vi.stubEnv("HORNBOOK_CACHE", file("cache"));
  play = file("play.txt");
  await writeFile(play, (await readFile(join(root, "data", "tinyshakespeare.txt"), "utf8")).slice(0, 20_000));
  recipe = file("tiny.mjs");
  await writeFile(recipe, makeRecipe());
  model = file("model");
  const { code, stdout } = await hornbook("train", "--recipe", recipe, "--out", model);
  expect({ code, stdout }).toMatchObject({ code: 0 });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

describe("help", () => {
  it.each(["start", "train", "chat", "generate", "logits", "evaluate", "info", "export", "pull", "build", "tokenizer train", "tokenizer encode", "tokenizer decode"])("of %s shows its options and examples", async (verb) => {
    const { code, stdout } = await hornbook(...verb.split(" "), "--help");
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: hornbook");
    expect(stdout).toMatch(new RegExp(`Examples:\\n(.*\\n)*  hornbook ${verb} `));
  });

  it("lists every verb; the version is the package's", async () => {
    const { code, stdout } = await hornbook("--help");
    expect(code).toBe(0);
    for (const verb of ["start", "train", "chat", "generate", "logits", "evaluate", "tokenizer", "info", "export", "pull", "build"]) expect(stdout).toContain(`\n  ${verb}`);
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
    expect(await hornbook("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("train", () => {
  it("says what it trains, how it goes in plain lines, and how to go on", async () => {
    const { code, stdout } = await hornbook("train", "--recipe", recipe, "--out", file("plain"), "--seed", "3", "--dtype", "f32");
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toBe("a tiny GPT");
    expect(lines[1]).toMatch(/parameters \(.*\), vocabulary \d+, 18k tokens to learn from, 2k to validate; f32 on .* GFLOP\/s/);
    expect(lines[2]).toMatch(/^step 1\/8 {2}loss \d\.\d{4} {2}.* tok\/s {2}\d+% of matmul rate {2}\d+(\.\d+)? .?B \(tensors at most .*B\)$/);
    expect(lines.filter((line) => line.includes(" left ")).map((line) => /step (\d)\/8/.exec(line)?.[1])).toEqual(["2", "3", "4", "5", "6", "7"]);
    expect(lines.filter((line) => line.includes("validation")).map((line) => /step (\d)\/8 .*validation \d\.\d{4} /.exec(line)?.[1])).toEqual(["1", "2", "3", "4", "5", "6", "7", "8"]);
    expect(lines.filter((line) => line.includes("bits per byte")).map((line) => /step (\d)\/8 .*  \d\.\d{3} bits per byte/.exec(line)?.[1])).toEqual(["1", "4", "8"]);
    expect(lines.at(-1)).toContain(`saved in ${join(file("plain"), "last")}; talk to it: hornbook generate ${file("plain")}`);
  });

  it("--json: one object a step", async () => {
    const { code, stdout } = await hornbook("train", "--recipe", recipe, "--out", file("json"), "--json", "--steps", "5");
    expect(code).toBe(0);
    const reports = stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(reports.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    for (const report of reports) expect(Object.keys(report)).toEqual(expect.arrayContaining(["loss", "gradNorm", "learningRate", "tokens", "seconds", "tokensPerSecond", "peakBytes", "residentBytes"]));
    expect(reports[4]).toHaveProperty("validationLoss");
    expect(reports[4]).toHaveProperty("saved", join(file("json"), "last"));
  });

  it("on Ctrl-C saves, exits with 130 and says how to go on; then it goes on to the same weights", async () => {
    const options = ["--recipe", recipe, "--steps", "400", "--seed", "5", "--dtype", "f32"];
    await hornbook("train", ...options, "--out", file("whole"));
    const out = file("stopped");
    let interrupted = false;
    const interrupt = setInterval(() => {
      // Once steps are done, and once: a second look may be under way already, and a second Ctrl-C ends the process.
      void readFile(join(out, "metrics.jsonl"), "utf8").then((text) => {
        if (interrupted || text.split("\n").length <= 20) return;
        interrupted = true;
        process.emit("SIGINT");
      }, () => undefined);
    }, 5);
    const { code, stdout } = await hornbook("train", ...options, "--out", out);
    clearInterval(interrupt);
    expect(code).toBe(130);
    const goOn = /saved in .*; hornbook (train .* --resume) goes on/.exec(stdout)?.[1].split(" ");
    expect(goOn).toEqual(["train", "--recipe", recipe, "--out", out, "--steps", "400", "--seed", "5", "--dtype", "f32", "--resume"]);
    expect(JSON.parse(await readFile(join(out, "last", "training", "state.json"), "utf8"))).toHaveProperty("step", expect.toSatisfy((step: number) => step > 15 && step < 400));
    expect((await hornbook(...goOn!)).code).toBe(0);
    expect((await readFile(join(out, "last", "model.safetensors"))).equals(await readFile(join(file("whole"), "last", "model.safetensors")))).toBe(true);
  });

  it("takes another text, and BPE", async () => {
    await mkdir(file("texts"));
    await writeFile(file("texts/a.txt"), "the cat sat on the mat. ".repeat(100));
    await writeFile(file("texts/b.txt"), "a dog sat on a cat. ".repeat(100));
    const bpe = await recipeWith({ tokenizer: '{ kind: "bpe", vocabSize: 280 }' });
    const { code } = await hornbook("train", "--recipe", bpe, "--data", file("texts"), "--out", file("bpe"), "--steps", "2");
    expect(code).toBe(0);
    expect(await json("info", file("bpe"), "--json")).toHaveProperty("config.vocabSize", expect.toSatisfy((size: number) => size > 257 && size <= 280));
  });
});

describe("--json", () => {
  it("generate: promptIds, ids (the new ones), text, tokensPerSecond", async () => {
    const result = await json("generate", model, "--prompt", "First", "--max-tokens", "5", "--temperature", "0", "--json");
    expect(Object.keys(result)).toEqual(["promptIds", "ids", "text", "tokensPerSecond"]);
    expect(result["promptIds"]).toHaveLength(5);
    expect(result["ids"]).toHaveLength(5);
    expect(result["text"]).toHaveLength(5);
    expect(result["tokensPerSecond"]).toBeGreaterThan(0);
    const again = await json("generate", model, "--ids", String(result["promptIds"]), "--max-tokens", "5", "--temperature", "0", "--json");
    expect(again).toMatchObject({ promptIds: result["promptIds"], ids: result["ids"], text: result["text"] });
    const { code, stdout } = await hornbook("generate", model, "--prompt", "First", "--max-tokens", "5", "--temperature", "0");
    expect({ code, stdout }).toEqual({ code: 0, stdout: `First${String(result["text"])}\n` });
  });

  it("generate: the seed decides", async () => {
    const text = async (seed: string) => (await json("generate", model, "--prompt", "a", "--max-tokens", "10", "--temperature", "1", "--seed", seed, "--json"))["text"];
    expect(await text("1")).toBe(await text("1"));
    expect(await text("1")).not.toBe(await text("2"));
  });

  it("logits: of the last position, or of all", async () => {
    const { logits } = (await json("logits", model, "--ids", "1,2,3")) as { logits: number[] };
    const all = (await json("logits", model, "--ids", "1,2,3", "--all", "--json")) as { logits: number[][] };
    const { config } = (await json("info", model, "--json")) as { config: { vocabSize: number } };
    expect(logits).toHaveLength(config.vocabSize);
    expect(all.logits).toHaveLength(3);
    all.logits[2].forEach((value, i) => expect(value).toBeCloseTo(logits[i], 4));
    const greedy = (await json("generate", model, "--ids", "1,2,3", "--max-tokens", "1", "--temperature", "0", "--json")) as { ids: number[] };
    expect(logits.indexOf(Math.max(...logits))).toBe(greedy.ids[0]);
  });

  it("evaluate --against: nothing lost to itself, something to another, on the same text in the same windows", async () => {
    const other = file("other");
    await hornbook("train", "--recipe", recipe, "--out", other, "--seed", "77");
    const text = ["--text", play, "--tokens", "500", "--context", "8", "--json"];
    const same = await json("evaluate", model, "--against", model, ...text);
    expect(same).toMatchObject({ tokens: 499, kl: { mean: 0, max: 0 }, sameTop1: { mean: 1 }, perplexityRatio: { mean: 1 }, deltaP: { rms: 0 } });
    expect(same["perplexity"]).toBeCloseTo((await json("evaluate", model, ...text))["perplexity"] as number, 3);
    const [there, back] = [await json("evaluate", model, "--against", other, ...text), await json("evaluate", other, "--against", model, ...text)] as { kl: { mean: number }; perplexity: number; basePerplexity: number }[];
    expect(there).toMatchObject({ perplexity: back.basePerplexity, basePerplexity: back.perplexity });
    expect(there.kl.mean).toBeGreaterThan(0);
    expect(there.kl.mean).not.toBe(back.kl.mean);
    const { stdout } = await hornbook("evaluate", model, "--against", other, ...text.slice(0, -1));
    expect(stdout).toMatch(/^tokens +499\nmean KL\(against \|\| model\) +\d\.\d{6} {2}± \d\.\d{6} nats\n/);
    expect(stdout).toMatch(/\nsame top token +\d+\.\d{3}% {2}± \d+\.\d{3}%\n/);

    const foreign = file("foreign");
    await hornbook("train", "--recipe", await recipeWith({ tokenizer: '{ kind: "bpe", vocabSize: 270 }' }), "--out", foreign);
    expect(await failing(2, "evaluate", model, "--against", foreign, "--text", play)).toMatch(/the models read this text differently: token 0 is \d+ to the one and \d+ to the other/);
    expect(await failing(2, "evaluate", model, "--against", foreign, "--ids", "1,2")).toMatch(/the models have \d+ and 270 tokens/);
  });

  it("evaluate: tokens, nll, perplexity, bitsPerByte, and the logits say the same", async () => {
    const ids = [3, 1, 4, 1, 5, 9];
    const result = (await json("evaluate", model, "--ids", ids.join(","), "--json")) as Record<"tokens" | "nll" | "perplexity" | "bitsPerByte", number>;
    const { logits } = (await json("logits", model, "--ids", ids.slice(0, -1).join(","), "--all")) as { logits: number[][] };
    const nll = logits.reduce((sum, row, i) => sum + Math.log(row.reduce((total, value) => total + Math.exp(value), 0)) - row[ids[i + 1]], 0);
    expect(result.tokens).toBe(5);
    expect(result.nll).toBeCloseTo(nll, 3);
    expect(result.perplexity).toBeCloseTo(Math.exp(nll / 5), 2);
    expect(result.bitsPerByte).toBeCloseTo(nll / 5 / Math.LN2, 3);
    const text = await json("evaluate", model, "--text", play, "--json");
    expect(text).toMatchObject({ tokens: 19_999 });
    expect((await hornbook("evaluate", model, "--text", play)).stdout).toMatch(/perplexity +\d+\.\d{4}\n/);
  });

  it("info: the configuration and where the parameters sit", async () => {
    const info = (await json("info", model, "--json")) as { parameters: number; bytes: number; family: string; tensors: { name: string; shape: number[]; bytes: number; file: string }[] };
    expect(info.family).toBe("gpt2");
    expect(info.tensors.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(info.bytes);
    expect(info.parameters * 4).toBe(info.bytes);
    expect(info.tensors.find(({ name }) => name === "transformer.wpe.weight")).toMatchObject({ shape: [16, 16], bytes: 1024, file: "model.safetensors" });
    const { stdout } = await hornbook("info", model, "--tensors");
    expect(stdout).toMatch(/transformer\.wpe\.weight +F32 +\[16, 16\] +256 +1\.02 kB +model\.safetensors/);
  });

  it("tokenizer: train, encode, decode", async () => {
    const out = file("tokenizer");
    expect(await json("tokenizer", "train", "--data", play, "--vocab-size", "300", "--out", out, "--json")).toEqual({ vocabSize: 300, path: out });
    const { ids, tokens } = (await json("tokenizer", "encode", out, "the citizens", "--json")) as { ids: number[]; tokens: string[] };
    expect(tokens.join("").replaceAll("Ġ", " ")).toBe("the citizens");
    expect(await json("tokenizer", "decode", out, ids.join(","), "--json")).toEqual({ text: "the citizens" });
    expect((await hornbook("tokenizer", "encode", out, "the citizens")).stdout).toBe(`${ids.join(",")}\n`);
    expect((await hornbook("tokenizer", "decode", out, ids.join(","))).stdout).toBe("the citizens\n");
    expect(await json("tokenizer", "train", "--data", play, "--characters", "--out", file("characters"), "--json")).toHaveProperty("vocabSize", new Set(await readFile(play, "utf8")).size);
  });
});

describe("wrong use exits with 2 and says what is possible", () => {
  it.each<[string[], RegExp]>([
    [["frobnicate"], /unknown command 'frobnicate'/],
    [["train", "--frobnicate"], /unknown option '--frobnicate'.*--help/s],
    [["generate"], /missing required argument 'model'/],
    [["logits", "m"], /--ids <1,2,3>' not specified/],
    [["train", "--steps", "0"], /A whole number from 1/],
    [["train", "--steps", "many"], /A whole number from 1/],
    [["train", "--dtype", "f16"], /Allowed choices are f32, bf16/],
    [["train", "--seed", "-1"], /A whole number from 0/],
    [["logits", "m", "--ids", "1,x"], /Token ids are whole numbers/],
    [["generate", "m", "--top-p", "2"], /A number above 0 to 1/],
    [["generate", "m", "--temperature", "-1"], /A number from 0/],
    [["tokenizer", "train", "--data", "x"], /--out <dir>' not specified/],
  ])("%j", async (args, said) => {
    expect(await failing(2, ...args)).toMatch(said);
  });

  it("an unknown recipe lists those that exist, which all load", async () => {
    const said = await failing(2, "train", "--recipe", "shakspeare");
    expect(said).toContain('There is no recipe "shakspeare"');
    expect(recipeNames()).toEqual(expect.arrayContaining(["shakespeare-char", "shakespeare-char-10m", "books-llama", "start", "start-reference"]));
    for (const name of recipeNames()) {
      expect(said).toContain(name);
      const { description, model, train } = await loadRecipe(name);
      expect(description.length).toBeGreaterThan(20);
      expect(() => [modelConfig({ ...model, vocabSize: 65 }), trainSettings(train)]).not.toThrow();
    }
    expect(await failing(2, "train", "--recipe", "./no-such.mjs")).toContain("There is no recipe");
  });

  it("generate without a prompt outside a terminal; with two; evaluate without a text", async () => {
    expect(await failing(2, "generate", model)).toContain("a conversation needs a terminal");
    expect(await failing(2, "generate", model, "--prompt", "a", "--ids", "1")).toContain("not both");
    expect(await failing(2, "evaluate", model)).toContain("Give --text or --ids");
  });

  it.each<[Parameters<typeof makeRecipe>[0], string]>([
    [{ model: "numHeads: 3" }, "numHeads: 3 heads do not divide the hidden size 16"],
    [{ model: "numLayers: 0" }, "numLayers: "],
    [{ model: "hiddensize: 3" }, "hiddensize: a model has no such setting"],
    [{ train: 'schedule: { kind: "constant", rate: -0.1 }' }, "schedule.rate: "],
    [{ train: "batchSize: 0" }, "batchSize: "],
    [{ train: "learningRate: 1" }, "learningRate: there is no such setting"],
    [{ tokenizer: '{ kind: "words" }' }, "recipe.tokenizer.kind: "],
    [{ train: "batchSize: 1e9" }, "not-enough"],
    [{ model: "hiddenSize: 16e3, numLayers: 1000" }, "not-enough"],
    [{ model: "hiddenSize: 4e6, numLayers: 1000" }, "model: it has a parameter that cannot be"],
  ])("a recipe that cannot be: %j", async (changes, said) => {
    const out = file(`refused-${recipes}`);
    const error = await failing(2, "train", "--recipe", await recipeWith(changes), "--out", out);
    if (said === "not-enough") expect(error).toMatch(/needs about \d+ bytes of memory, and \d+ are available/);
    else expect(error).toContain(said);
    await expect(readFile(join(out, "metrics.jsonl"))).rejects.toThrow("ENOENT");
  });

  it("a recipe that is no module, or exports none", async () => {
    await writeFile(file("broken.mjs"), "export default {");
    expect(await failing(2, "train", "--recipe", file("broken.mjs"))).toContain("broken.mjs cannot be loaded");
    await writeFile(file("none.mjs"), "export const recipe = 1;");
    expect(await failing(2, "train", "--recipe", file("none.mjs"))).toContain("exports no recipe");
  });

  it("a prompt longer than the context", async () => {
    expect(await failing(2, "generate", model, "--prompt", "F".repeat(17))).toMatch(/17 tokens do not fit the model's context of 16/);
    expect(await failing(2, "logits", model, "--ids", Array(17).fill(1).join(","))).toMatch(/17 tokens do not fit a context of 16/);
  });
});

describe("bad input exits with 1 and says what, where, and what to do", () => {
  const train = (...args: string[]) => failing(1, "train", "--recipe", recipe, "--out", file("bad"), ...args);

  it("no such file", async () => {
    expect(await train("--data", file("absent.txt"))).toMatch(/absent\.txt: there is no such file or folder\. Check the path/);
    expect(await failing(1, "evaluate", model, "--text", file("absent.txt"))).toContain("absent.txt: there is no such file");
    expect(await failing(1, "tokenizer", "train", "--data", file("absent.txt"), "--out", file("t"))).toContain("absent.txt: there is no such file");
    expect(await failing(1, "generate", file("absent"), "--prompt", "a")).toContain("absent: there is no such file");
    expect(await failing(1, "tokenizer", "encode", file("absent"), "a")).toContain("absent");
  });

  it("empty text, for every kind of tokenizer", async () => {
    await writeFile(file("empty.txt"), "");
    expect(await train("--data", file("empty.txt"))).toMatch(/empty\.txt: there is no text in it\. Give a text/);
    const bpe = await recipeWith({ tokenizer: '{ kind: "bpe", vocabSize: 300 }' });
    expect(await failing(1, "train", "--recipe", bpe, "--out", file("bad"), "--data", file("empty.txt"))).toMatch(/empty\.txt: there is no text in it/);
    expect(await failing(1, "evaluate", model, "--text", file("empty.txt"))).toContain("hold nothing to predict");
  });

  it("text shorter than the context", async () => {
    await writeFile(file("short.txt"), "To be or not");
    expect(await train("--data", file("short.txt"))).toMatch(/the train split has 10 tokens and needs at least 17.*Give more text, or a shorter context/s);
  });

  it("invalid UTF-8, said for characters with its place, and fine for bytes", async () => {
    await writeFile(file("latin1.txt"), Buffer.concat([Buffer.from("Friends, Romans, countrymen. ".repeat(20)), Buffer.from([0xe9]), Buffer.from(" tu, Brute? ".repeat(20))]));
    expect(await train("--data", file("latin1.txt"))).toMatch(/latin1\.txt, at byte 580: the text is not UTF-8 here\. Convert the file/);
    expect(await failing(1, "evaluate", model, "--text", file("latin1.txt"))).toContain("at byte 580: the text is not UTF-8");
    const bpe = await recipeWith({ tokenizer: '{ kind: "bpe", vocabSize: 280 }' });
    expect((await hornbook("train", "--recipe", bpe, "--out", file("bytes"), "--data", file("latin1.txt"), "--steps", "1")).code).toBe(0);
  });

  it("characters that the tokenizer does not have, and token ids outside the vocabulary", async () => {
    expect(await failing(1, "generate", model, "--prompt", "héllo")).toMatch(/the character "é" \(U\+00E9\) at index 1 has no token/);
    const outside = /token id 9999 .*outside the model's vocabulary of \d+\. Ids go from 0 to/;
    expect(await failing(1, "generate", model, "--ids", "1,9999")).toMatch(outside);
    expect(await failing(1, "logits", model, "--ids", "1,9999")).toMatch(outside);
    expect(await failing(1, "evaluate", model, "--ids", "1,9999")).toMatch(outside);
    expect(await failing(1, "tokenizer", "decode", join(model, "best"), "9999")).toContain("9999");
  });

  it("a folder that is no model", async () => {
    await mkdir(file("nothing"));
    for (const verb of [["generate", file("nothing"), "--prompt", "a"], ["info", file("nothing")], ["logits", file("nothing"), "--ids", "1"], ["evaluate", file("nothing"), "--ids", "1,2"]]) {
      expect(await failing(1, ...verb)).toMatch(/nothing: this is no model's folder: it has no config\.json/);
    }
    expect(await failing(1, "generate", play, "--prompt", "a")).toContain("no file that holds a model: neither safetensors, nor GGUF");
  });

  it("a truncated or altered checkpoint, naming the file", async () => {
    const copy = file("damaged");
    const weights = join(copy, "model.safetensors");
    await cp(join(model, "best"), copy, { recursive: true });
    const content = await readFile(weights);
    await truncate(weights, content.length - 100);
    expect(await failing(1, "generate", copy, "--prompt", "a")).toMatch(/damaged\/model\.safetensors/);
    expect(await failing(1, "info", copy)).toMatch(/damaged\/model\.safetensors/);
    content[content.length - 100] ^= 4;
    await writeFile(weights, content);
    expect(await failing(1, "generate", copy, "--prompt", "a")).toMatch(/damaged\/model\.safetensors: .*checksum differs/);
    await writeFile(join(copy, "config.json"), '{"model_type": "gpt2", ');
    expect(await failing(1, "generate", copy, "--prompt", "a")).toMatch(/damaged\/config\.json: it is no JSON/);
  });

  it("a run that is there already, and one that is resumed as another", async () => {
    expect(await failing(1, "train", "--recipe", recipe, "--out", model)).toMatch(/a run with 8 steps is here already\. Resume it \(--resume\), or name another folder \(--out\)/);
    expect(await failing(2, "train", "--recipe", recipe, "--out", model, "--resume", "--seed", "9")).toMatch(/seed: the run was started with 0, and 9 would make it another/);
    await writeFile(file("other.txt"), (await readFile(play, "utf8")).slice(1000));
    expect(await failing(2, "train", "--recipe", recipe, "--out", model, "--resume", "--data", file("other.txt"))).toContain("data: the run was started on other data");
  });

  it("a loss that is no number: says at which step", async () => {
    const out = file("diverging");
    const wild = await recipeWith({ train: 'steps: 40, saveEvery: 5, evaluateEvery: 0, dtype: "f32", clip: 0, optimizer: { kind: "sgd" }, schedule: { kind: "wsd", rate: 1e30, warmup: 39, decay: 0 }' });
    expect(await failing(1, "train", "--recipe", wild, "--out", out)).toMatch(/step \d+ .*A lower learning rate/);
  });
});

describe("the executable", () => {
  const bin = join(root, "dist", "src", "cli", "bin.js");
  const hasScript = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;

  const { FORCE_COLOR: _, ...environment } = process.env;
  beforeAll(async () => {
    environment["HORNBOOK_CACHE"] = file("cache");
    await promisify(execFile)(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], { cwd: root });
  }, 120_000);

  /** Runs it; `onOutput` sees all its output so far, and may write to it or signal it. */
  function run(command: string, args: string[], onOutput?: (output: string, child: ReturnType<typeof spawn>) => void): Promise<{ code: number | null; output: string }> {
    return new Promise((resolve) => {
      const child = spawn(command, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"], env: { ...environment, NO_COLOR: "1" } });
      if (onOutput === undefined) child.stdin.end();
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          output += chunk.toString();
          onOutput?.(output, child);
        });
      }
      child.on("close", (code) => resolve({ code, output }));
    });
  }

  it("hands on exit codes, and takes text from a pipe", async () => {
    expect((await run(process.execPath, [bin, "--version"])).code).toBe(0);
    expect((await run(process.execPath, [bin, "info", "absent"])).code).toBe(1);
    expect((await run(process.execPath, [bin, "--no-such-flag"])).code).toBe(2);
    const [command, text] = [`'${process.execPath}' '${bin}' tokenizer`, "First Citizen:"];
    const encoded = await run("sh", ["-c", `printf '${text}' | ${command} encode '${join(model, "best")}'`]);
    expect(encoded.code).toBe(0);
    expect(await run(process.execPath, [bin, "tokenizer", "decode", join(model, "best"), encoded.output.trim()])).toEqual({ code: 0, output: `${text}\n` });
    // A reader that leaves early is no error.
    const { output } = await run("sh", ["-c", `('${process.execPath}' '${bin}' info '${model}'; echo "exit $?" >&2) | head -1`]);
    expect(output.trim().split("\n").sort()).toEqual([expect.stringMatching(/^architecture +gpt2$/), "exit 0"]);
  });

  it("start in a pipe trains, prints a sample and exits; the second time it only prints", async () => {
    const first = await run(process.execPath, [bin, "start", "--steps", "3", "--out", "started"]);
    expect(first.code).toBe(0);
    expect(first.output).toMatch(/step 3\/3 .*\n(.*\n)*saved in started\/last(.*\n)+A sample of what it writes:\n(.|\n){50}/);
    const second = await run(process.execPath, [bin, "start", "--out", "started"]);
    expect(second.code).toBe(0);
    expect(second.output).toMatch(/^\nA sample of what it writes:\n(.|\n){50}/);
  });

  it("saves on SIGINT, with 130", async () => {
    let sent = false;
    const { code, output } = await run(process.execPath, [bin, "train", "--recipe", recipe, "--steps", "100000", "--out", "killed"], (text, child) => {
      if (!sent && text.includes("step ")) sent = child.kill("SIGINT");
    });
    expect({ code, output }).toMatchObject({ code: 130, output: expect.stringContaining("saved in killed/last") as string });
    expect(await readFile(join(folder, "killed", "last", "training", "state.json"), "utf8")).toContain('"step": ');
  });

  it("chat: a message a line, in text and as JSON; a line that fails does not end it", async () => {
    const talk = async (input: string, ...args: string[]) => {
      const command = [process.execPath, bin, "chat", model, "--temperature", "0", "--max-tokens", "4", ...args].map((word) => `'${word}'`).join(" ");
      const { code, output } = await run("sh", ["-c", `printf '%s' '${input}' | ${command} 2>/dev/null`]);
      return { code, lines: output.trimEnd().split("\n") };
    };
    const { code, lines } = await talk('{"content": "the"}\n\n{"reset": true}\nnonsense\n{"content": "the"}\n', "--json", "--cache", "q8");
    expect(code).toBe(1);
    const [first, reset, error, again] = lines.map((line) => (line.startsWith("{") ? (JSON.parse(line) as Record<string, unknown>) : {}));
    expect(first).toMatchObject({ role: "assistant", content: expect.any(String) as string, newTokens: 4, reusedTokens: 0, droppedMessages: 0, cacheBytes: expect.any(Number) as number });
    expect(reset).toEqual({ reset: true });
    expect(error).toMatchObject({ error: { name: "DataError", code: "bad-json", message: expect.stringContaining("stdin:4: this is not JSON") as string } });
    expect(again["content"]).toBe(first["content"]);
    expect(await talk("the\n")).toEqual({ code: 0, lines: (first["content"] as string).trimEnd().split("\n") });
  });

  it.runIf(hasScript)("holds a conversation on a terminal, and lives on two lines while it trains", async () => {
    const command = `'${process.execPath}' '${bin}' start --steps 3 --out on-terminal`;
    const sends: [RegExp, string][] = [
      [/› /, "/tokens 5\rKING:\r"],
      [/\[5 tokens, .* a second, the first after .* s;.*\]/, "/help\r"],
      [/\/quit +leaves[^]*› /, "\x03"],
      [/Ctrl-C again/, "\x03"],
    ];
    const { code, output } = await run("script", ["-qec", command, "/dev/null"], (text, child) => {
      if (sends.length > 0 && sends[0][0].test(text)) child.stdin?.write(sends.shift()![1]);
    });
    expect(output).toContain("\x1b[2A");
    expect(output).toMatch(/step 3\/3 /);
    expect({ code, left: sends.length }).toEqual({ code: 0, left: 0 });
  });
});
