/**
 * @file `hornbook chat`: a conversation with a model, on a terminal; or, where its input is none, one message a line, for scripts.
 */

import { createInterface } from "node:readline";
import { Command } from "commander";
import pc from "picocolors";
import { z } from "zod";
import { DataError, HornbookError } from "../../errors.js";
import { generationSettings, type ChatOptions, type ChatSession } from "../../generate/index.js";
import type { StateDType } from "../../model/index.js";
import { LanguageModel } from "../../language-model.js";
import type { FloatDType } from "../../tensor/index.js";
import { converse } from "../converse.js";
import { compact } from "../format.js";
import { interruptible } from "../interrupt.js";
import { number, requireTokenizer, strings, wholeNumber, withSampling } from "../options.js";
import { endLine, say, write } from "../terminal.js";

interface ChatFlags {
  system?: string;
  maxTokens: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  stop?: string[];
  seed: number;
  dtype: FloatDType;
  cache?: StateDType;
  template: boolean;
  json?: boolean;
}

/** Where neither the command line nor the model says one. */
const defaultTemperature = 0.7;

export function chatCommand(): Command {
  const command = new Command("chat")
    .description("Talk to a model. Where the input is no terminal, each line of it is a message.")
    .argument("<model>", "a model's folder or file, or a run's folder")
    .option("--system <text>", "what the model is told before all else")
    .option("--max-tokens <n>", "the most tokens of a reply", wholeNumber(1), 1024)
    .option("--temperature <t>", `0 takes the most probable token each time; by default the model's own, else ${defaultTemperature}`, number(0))
    .option("--stop <text>", "ends a reply before this string; may be given several times", strings);
  return withSampling(command)
    .option("--no-template", "go on with what is said as a text, though the model has a chat template")
    .option("--json", "read {content} or {reset: true}, one a line; print {content, finishReason, ...} or {error}, one a line")
    .addHelpText(
      "after",
      `
On a terminal: /reset /system /temperature /tokens /save /help /quit.
Ctrl-C stops a reply.

Examples:
  hornbook chat my-model --system "Answer in one sentence."
  hornbook chat SmolLM2-135M-Instruct.Q8_0.gguf --cache q8
  echo "What is the capital of France?" | hornbook chat my-model --temperature 0
  echo '{"content": "Hi!"}' | hornbook chat my-model --json`,
    )
    .action(async (path: string, flags: ChatFlags) => {
      const { template, json = false, system, temperature: wanted, ...rest } = flags;
      generationSettings({ ...rest, temperature: wanted });
      const model = await LanguageModel.load(path);
      requireTokenizer(path, model, "`hornbook generate` takes token ids.");
      const temperature = wanted ?? model.generation.temperature ?? defaultTemperature;
      const options: Partial<ChatOptions> = { ...rest, system, temperature };
      const session = model.chat(template ? options : { ...options, template: undefined });
      try {
        if (json) await answerJson(session);
        else if (process.stdin.isTTY && process.stdout.isTTY) await talk(model, session, path);
        else await answerLines(session);
      } finally {
        session.dispose();
      }
    });
}

async function talk(model: LanguageModel, session: ChatSession, path: string): Promise<void> {
  console.log(pc.dim(`${path}: ${compact(model.numParameters)} parameters, a context of ${model.config.contextLength} tokens. /help tells what can be done.`));
  if (session.template === undefined) {
    const why = model.chatTemplate === undefined ? "This model has no chat template" : "Without its chat template";
    console.log(pc.yellow(`${why}: it goes on with what you write, and answers nobody.`));
  }
  console.log("");
  await converse(session);
}

/** Messages from lines, replies to stdout. */
async function answerLines(session: ChatSession): Promise<void> {
  const { signal, dispose } = interruptible();
  try {
    for await (const { text } of inputLines(signal)) {
      for await (const piece of session.send(text, { signal })) write(piece.text);
      endLine();
      const { droppedMessages } = session;
      if (droppedMessages > 0) say(`(the oldest ${droppedMessages} messages no longer fit the context)`);
    }
  } finally {
    dispose();
  }
}

const request = z.union([z.strictObject({ content: z.string(), role: z.literal("user").optional() }), z.strictObject({ reset: z.literal(true) })]);

/** JSONL to JSONL. A line that fails has its error in its place; the exit code tells that one did. */
async function answerJson(session: ChatSession): Promise<void> {
  const { signal, dispose } = interruptible();
  let failed: HornbookError | undefined;
  try {
    for await (const { text, line } of inputLines(signal)) {
      try {
        const asked = parsed(text, line);
        if ("reset" in asked) {
          session.reset();
          console.log(JSON.stringify({ reset: true }));
          continue;
        }
        const pieces: string[] = [];
        let finishReason: string | undefined;
        for await (const piece of session.send(asked.content, { signal })) {
          pieces.push(piece.text);
          finishReason = piece.finishReason ?? finishReason;
        }
        console.log(JSON.stringify({ role: "assistant", content: pieces.join(""), finishReason, droppedMessages: session.droppedMessages, ...session.lastTurn, cacheBytes: session.cacheBytes }));
      } catch (error) {
        if (!(error instanceof HornbookError)) throw error;
        console.log(JSON.stringify({ error: { name: error.name, code: error.code, message: error.message } }));
        failed = error;
      }
    }
  } finally {
    dispose();
  }
  if (failed !== undefined) throw failed;
}

function parsed(text: string, line: number): z.output<typeof request> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError({ file: "stdin", line }, "this is not JSON.", { code: "bad-json", hint: 'A line is {"content": "..."}.', cause });
  }
  const result = request.safeParse(value);
  if (!result.success) throw new DataError({ file: "stdin", line }, "this is no message.", { code: "bad-json", hint: 'A line is {"content": "..."} or {"reset": true}.' });
  return result.data;
}

/** The lines of stdin that say something, with their numbers. */
async function* inputLines(signal: AbortSignal): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  const lines = createInterface({ input: process.stdin, signal, crlfDelay: Infinity });
  try {
    let line = 0;
    for await (const text of lines) {
      line++;
      if (text.trim() !== "") yield { text, line };
    }
    signal.throwIfAborted();
  } finally {
    lines.close();
  }
}
