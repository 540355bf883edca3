/**
 * @file A conversation on a terminal with a model that continues text: what is typed is added to the text so far, and the model goes on
 * from there. Ctrl-C ends a reply; at the prompt it ends the program.
 */

import { createInterface } from "node:readline/promises";
import pc from "picocolors";
import type { GenerateTextOptions, LanguageModel } from "../language-model.js";
import { compact } from "./format.js";

const help = `${pc.dim("/reset")} forgets the text so far, ${pc.dim("/temperature N")} changes how bold it is, ${pc.dim("/tokens N")} how long a reply is, ${pc.dim("/quit")} ends.`;

export async function converse(model: LanguageModel, initial: GenerateTextOptions): Promise<void> {
  let options = { ...initial };
  let text = "";
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  let reply: AbortController | undefined;
  terminal.on("SIGINT", () => {
    if (reply === undefined) terminal.close();
    else reply.abort();
  });
  console.log(`\nWrite a beginning and the model goes on. ${help}`);
  try {
    for (;;) {
      const line = await terminal.question(pc.bold(pc.cyan("› "))).catch(() => undefined);
      if (line === undefined) break;
      const [command, value] = line.trim().split(/\s+/, 2);
      if (command === "/quit" || command === "/exit") break;
      if (command.startsWith("/")) {
        const number = Number(value);
        if (command === "/reset") text = "";
        else if (command === "/temperature" && number >= 0) options = { ...options, temperature: number };
        else if (command === "/tokens" && Number.isSafeInteger(number) && number > 0) options = { ...options, maxTokens: number };
        else console.log(help);
        continue;
      }
      text += `${line}\n`;
      reply = new AbortController();
      const start = performance.now();
      let [tokens, dropped] = [0, 0];
      try {
        const settings: GenerateTextOptions = { ...options, seed: Math.floor(start), onContextFull: "slide", truncatePrompt: true, signal: reply.signal };
        for await (const piece of model.generate(text, settings)) {
          process.stdout.write(piece.text);
          text += piece.text;
          tokens++;
          dropped = Math.max(dropped, piece.droppedTokens);
        }
      } catch (error) {
        if (!reply.signal.aborted) console.log(pc.red((error as Error).message));
      }
      reply = undefined;
      const speed = compact(tokens / ((performance.now() - start) / 1000));
      console.log(pc.dim(`\n[${tokens} tokens, ${speed} a second${dropped > 0 ? `; the oldest ${dropped} no longer fit the context` : ""}]`));
    }
  } finally {
    terminal.close();
  }
}
