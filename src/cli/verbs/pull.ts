/** @file `hornbook pull`: a model from the hub into the cache. */

import { Command } from "commander";
import pc from "picocolors";
import { parseHubName, pullModel, type PullProgress } from "../../checkpoint/hub/index.js";
import { UsageError } from "../../errors.js";
import { bytes, duration } from "../format.js";
import { interruptible } from "../interrupt.js";
import { checkWritable } from "../options.js";
import { LiveLines, say } from "../terminal.js";

interface PullFlags {
  revision?: string;
  out?: string;
  json?: boolean;
}

export function pullCommand(): Command {
  return new Command("pull")
    .description("Download a model from the Hugging Face Hub, and say where it lies.")
    .argument("<org/name[:file]>", "a repository, or its address in the browser; of one with GGUF files, which: a file's name, or a part of it that only one has")
    .option("--revision <revision>", "a branch, tag or commit (default: main, or what the address names)")
    .option("--out <folder>", "copy it to this folder as well")
    .option("--json", "print {path, repo, commit, files, downloadedBytes, offline}")
    .addHelpText(
      "after",
      `
Files are checked against the hub's checksums and kept in $HORNBOOK_CACHE/hub
(~/.cache/hornbook/hub). A download that was cut goes on where it stopped.
Without a network, what is in the cache is used. HF_TOKEN is the token for gated
and private models; HF_ENDPOINT another hub; HTTPS_PROXY and NO_PROXY count.

Examples:
  hornbook pull HuggingFaceTB/SmolLM2-135M-Instruct
  hornbook pull unsloth/gemma-3-270m-it-GGUF:Q4_K_M
  hornbook pull https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/tree/main
  hornbook chat $(hornbook pull HuggingFaceTB/SmolLM2-135M-Instruct)`,
    )
    .action(async (name: string, { revision: wanted, out, json = false }: PullFlags) => {
      const { repo, file, revision = wanted } = parseHubName(name);
      if (wanted !== undefined && wanted !== revision) throw new UsageError(`The address names the revision ${revision}, and --revision ${wanted}.`, { hint: "Leave one out." });

      if (out !== undefined) await checkWritable(out, "folder");
      const { signal, dispose } = interruptible();
      const progress = new DownloadProgress(json);
      try {
        const pulled = await pullModel({ repo, file, revision, out, signal, onProgress: (at) => progress.update(at), onNotice: (text) => progress.say(text) });
        progress.clear();
        if (!json) say(pc.dim(`${pulled.files.length === 1 ? "1 file" : `${pulled.files.length} files`}, ${bytes(pulled.files.reduce((sum, file) => sum + file.bytes, 0))}, at ${pulled.commit.slice(0, 12)}${pulled.downloadedBytes === 0 ? ", from the cache" : ""}`));
        // The path alone on stdout, so that a shell can use it.
        console.log(json ? JSON.stringify(pulled) : pulled.path);
      } finally {
        progress.clear();
        dispose();
      }
    });
}

/** On stderr: a live line on a terminal, elsewhere a line at each tenth. */
class DownloadProgress {
  readonly #line = new LiveLines(process.stderr);
  #drawnAt = 0;
  #tenth = 0;

  constructor(private readonly quiet: boolean) {}

  update({ file, bytes: have, totalBytes, bytesPerSecond, secondsLeft }: PullProgress): void {
    if (this.quiet) return;
    const live = process.stderr.isTTY;
    const done = have >= totalBytes;
    const tenth = Math.floor((10 * have) / totalBytes);
    if (live ? performance.now() - this.#drawnAt < 100 && !done : tenth === this.#tenth) return;
    this.#tenth = tenth;
    this.#drawnAt = performance.now();
    const share = Math.floor((100 * have) / totalBytes);
    const line = `${share}%  ${bytes(have)} of ${bytes(totalBytes)}  ${bytes(Math.round(bytesPerSecond))}/s  ${done ? "" : `${duration(secondsLeft)} left  `}${file}`;
    if (live) this.#line.show(line.slice(0, this.#line.width));
    else say(line);
  }

  say(text: string): void {
    if (!this.quiet) say(pc.yellow(text));
  }

  clear(): void {
    this.#line.clear();
  }
}
