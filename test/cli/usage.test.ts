/** Wrong use: found before anything is loaded, said in the words that were typed, with what may have been meant. And right use: the help's examples. */

import { describe, expect, it, vi } from "vitest";
import type { Command } from "commander";
import { commandLine } from "../../src/cli/main.js";
import { showWarnings } from "../../src/cli/warnings.js";
import { generationSettings } from "../../src/generate/index.js";
import { failing } from "./harness.js";

/** No such model: whoever looks at it first says that it is absent. */
const absent = "no-such-model";

describe("options are checked before a model is loaded", () => {
  it.each<[string, keyof Parameters<typeof generationSettings>[0], readonly string[]]>([
    ["--temperature", "temperature", ["-0.1", "0", "1e-9", "5", "NaN", "Infinity", "1e999", "", "x", "0x"]],
    ["--top-k", "topK", ["-1", "0", "1", "1.5", "NaN", "x"]],
    ["--top-p", "topP", ["-0.5", "0", "0.5", "1", "1.01", "NaN"]],
    ["--min-p", "minP", ["-0.5", "0", "1", "1.01"]],
    ["--repetition-penalty", "repetitionPenalty", ["-1", "0", "0.5", "2"]],
    ["--seed", "seed", ["-1", "0", "9007199254740991", "9007199254740992", "1.5"]],
    ["--max-tokens", "maxTokens", ["-1", "0", "1", "2.5", "1e300"]],
  ])("%s takes what the library takes", async (option, setting, values) => {
    for (const verb of [["generate", absent, "--prompt", "a"], ["chat", absent]]) {
      for (const value of values) {
        const allowed = value !== "" && fits({ [setting]: Number(value) });
        const said = await failing(allowed ? 1 : 2, ...verb, option, value);
        expect(said).toContain(allowed ? `${absent}: there is no such file` : option);
        if (/[A-Z]/.test(setting)) expect(said).not.toContain(setting);
      }
    }
  });

  const fits = (settings: Parameters<typeof generationSettings>[0]): boolean => {
    try {
      generationSettings(settings);
      return true;
    } catch {
      return false;
    }
  };

  it.each<[string[], RegExp]>([
    [["generate", absent, "--prompt", "a", "--stop", ""], /option '--stop <text>' argument '' is invalid\. It is empty/],
    [["generate", absent, "--prompt", "a", "--ids", "1"], /Give --prompt or --ids, not both/],
    [["generate", absent], /nothing to go on with/],
    [["chat", absent, "--dtype", "f16"], /Allowed choices are f32, bf16/],
    [["evaluate", absent], /Give --text or --ids/],
    [["evaluate", absent, "--text", "x", "--ids", "1"], /not both/],
    [["export", absent, "--format", "gguf", "--quantize", "Q9"], /--quantize: "Q9" is not a type that can be written; there are F32/],
    [["export", absent, "--format", "hf", "--quantize", "Q8_0"], /--quantize: a Hugging Face folder is written in f32 or bf16/],
    [["tokenizer", "train", "--data", "package.json", "--out", "no-such-folder", "--vocab-size", "3"], /--vocab-size: 3 is not a whole number from 257/],
    [["tokenizer", "train", "--data", "package.json", "--out", "no-such-folder", "--special", "foo"], /--special: "foo" could occur in ordinary text/],
  ])("%j", async (args, said) => {
    expect(await failing(2, ...args)).toMatch(said);
  });

  it("so are files that will be read or written", async () => {
    expect(await failing(1, "evaluate", absent, "--text", "no-such.txt")).toContain("no-such.txt: there is no such file");
    expect(await failing(1, "evaluate", absent, "--text", "src")).toContain("src: this is a folder. Name a text file");
    expect(await failing(1, "train", "--out", "package.json")).toContain("package.json: this is a file, and a folder is written");
    expect(await failing(1, "tokenizer", "train", "--data", "package.json", "--out", "README.md")).toContain("README.md: this is a file, and a folder is written");
    expect(await failing(1, "export", absent, "--format", "gguf", "--out", "src")).toContain("src: this is a folder, and a file is written");
    expect(await failing(1, "train", "--data", "https://example.com/x.txt", "--out", "no-such-folder")).toContain("It is an address: download it");
  });
});

describe("what there is none of suggests what may have been meant", () => {
  it.each<[string, string]>([
    ["generate m --temp 0", "Did you mean --temperature?"],
    ["generate m --temprature 0", "Did you mean --temperature?"],
    ["generate m --top_p 0.5", "Did you mean --top-p?"],
    ["generate m --topP=0.5", "Did you mean --top-p?"],
    ["generate m --n-predict 5", "Did you mean --max-tokens?"],
    ["generate m --max-new-tokens 5", "Did you mean --max-tokens?"],
    ["generate m --repeat-penalty 1.1", "Did you mean --repetition-penalty?"],
    ["generate m -p hello", "Did you mean --prompt?"],
    ["generate -m file.gguf", "The model is named without an option: hornbook generate MODEL"],
    ["chat --model file.gguf", "The model is named without an option: hornbook chat MODEL"],
    ["chat m --system-prompt x", "Did you mean --system?"],
    ["evaluate m --ctx-size 512", "Did you mean --context?"],
    ["export m --format gguf --outtype q8_0", "Did you mean --quantize?"],
    ["train --max_iters 5", "Did you mean --steps?"],
    ["train --learning-rate 1e-3", "Did you mean --lr?"],
    ["train --micro-batch-size 8", "Did you mean --batch-size?"],
    ["train --grad-clip 1", "the setting clip of a recipe"],
    ["train --hidden-size 8", "the setting hiddenSize of a recipe"],
    ["train --threads 8", "the environment variable HORNBOOK_THREADS"],
    ["pull org/name --branch main", "Did you mean --revision?"],
    ["generate m Once upon", 'A prompt is given with --prompt, in quotes'],
    ["generate", "`hornbook pull ORG/NAME` downloads one"],
    ["generat m", "Did you mean hornbook generate?"],
    ["gen m", "Did you mean hornbook generate?"],
    ["run m", "Did you mean hornbook generate MODEL --prompt TEXT?"],
    ["quantize m", "Did you mean hornbook export MODEL?"],
    ["tokenizer enc m", "Did you mean hornbook tokenizer encode?"],
    ["-v", "Did you mean --version?"],
  ])("%s", async (line, said) => {
    expect(await failing(2, ...line.split(" "))).toContain(said);
  });

  it("every option that is suggested is one of the command", async () => {
    for (const command of leaves(commandLine())) {
      const path = pathOf(command);
      for (const flag of ["--temp", "-n", "--ctx-size", "-p", "-f", "-o", "-m", "--quant", "--rev", "--text", "--data", "--input", "--kv-cache", "--config", "--base", "-s"]) {
        if (command.options.some(({ long }) => long === flag)) continue;
        const stderr = await failing(2, ...path, flag, "1");
        const meant = /Did you mean (?:one of )?(--[\w-]+)/.exec(stderr)?.[1];
        if (meant !== undefined) expect(["--help", ...command.options.map(({ long }) => long)]).toContain(meant);
      }
    }
  });
});

describe("help", () => {
  it("has an example of each command, which all parse, and no long lines", () => {
    const commands = leaves(commandLine());
    expect(commands.length).toBeGreaterThan(11);
    for (const command of commands) {
      const path = pathOf(command);
      const help = helpOf(command);
      const examples = help.slice(help.indexOf("\nExamples:")).split("\n").flatMap((line) => (line.startsWith("  ") ? commandsIn(line) : []));
      expect(examples.length, path.join(" ")).toBeGreaterThan(0);
      for (const words of examples) {
        const program = commandLine();
        const ran = vi.fn();
        for (const leaf of leaves(program)) leaf.action(ran);
        program.parse(words, { from: "user" });
        expect(ran, words.join(" ")).toHaveBeenCalledTimes(1);
      }
      expect(examples.some((words) => path.every((word, i) => words[i] === word))).toBe(true);
      expect(help.split("\n").filter((line) => line.length > 90)).toEqual([]);
    }
  });
});

describe("warnings of the library", () => {
  it("are one line each on stderr, once; Node's own are left to Node", async () => {
    const lines: string[] = [];
    const node = vi.fn();
    const before = process.listeners("warning");
    process.removeAllListeners("warning").on("warning", node);
    vi.spyOn(console, "error").mockImplementation((text: unknown) => void lines.push(String(text)));
    try {
      await using _shown = showWarnings();
      for (const text of ["config.json: `x` is\n  not acted on.", "config.json: `x` is\n  not acted on.", "another"]) process.emitWarning(text, { code: "HORNBOOK_IGNORED" });
      process.emitWarning("of Node", { code: "DEP0" });
    } finally {
      vi.restoreAllMocks();
      process.removeAllListeners("warning");
      for (const listener of before) process.on("warning", listener);
    }
    expect(lines.map((line) => line.replace(/\x1b\[\d+m/g, ""))).toEqual(["hornbook: warning: config.json: `x` is not acted on.", "hornbook: warning: another"]);
    expect(node).toHaveBeenCalledTimes(1);
  });
});

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function pathOf(command: Command): string[] {
  return command.parent === null ? [] : [...pathOf(command.parent), command.name()];
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 80 });
  command.outputHelp();
  return text;
}

/** The command lines of ours in a line of shell: in a pipe, in $( ), with a remark after several spaces. */
function commandsIn(line: string): string[][] {
  return line
    .trim()
    .replace(/ {3,}.*$/, "")
    .split(/ \| |\$\(|\)/)
    .filter((part) => part.trim().startsWith("hornbook "))
    .map((part) => {
      const words = Array.from(part.trim().matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g), ([, a, b, c]) => a ?? b ?? c);
      // What was cut out of it is a path.
      return words[1] === "chat" && words.length === 2 ? [words[1], "a-path"] : words.slice(1);
    });
}
