import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ChatTemplate } from "../data/index.js";
import { ConfigError, DataError } from "../errors.js";
import { Decoder, Head } from "../model/index.js";
import { Random, memory } from "../tensor/index.js";
import { Tokenizer } from "../tokenizer/index.js";
import { ChatSession, generateText, type ChatOptions, type ChatPiece } from "./index.js";

const chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const template = new ChatTemplate({ template: chatml });
let tokenizer: Tokenizer;
let model: Decoder;

beforeAll(async () => {
  const trained = await Tokenizer.train(["user assistant system one two three"], { vocabSize: 300, specialTokens: ["<|im_start|>", "<|im_end|>"] });
  tokenizer = trained;
  model = new Decoder({ vocabSize: tokenizer.vocabSize, hiddenSize: 32, numLayers: 2, numHeads: 4, contextLength: 160, position: "rope", tieEmbeddings: false });
  const random = new Random(3);
  for (const parameter of model.parameters().values()) {
    if (parameter.rank === 2) parameter.write(Float32Array.from({ length: parameter.size }, () => (random.uniform() - 0.5) * 0.8));
  }
});
afterAll(() => model.dispose());

const sessions: ChatSession[] = [];
const session = (options: Partial<ChatOptions> = {}) => {
  const made = new ChatSession(model, { tokenizer, template, temperature: 0, maxTokens: 6, ...options });
  sessions.push(made);
  return made;
};
const collect = async (pieces: AsyncIterable<ChatPiece>) => {
  const all: ChatPiece[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
};
const said = (chat: ChatSession) => chat.messages.map(({ role, content }) => [role, content]);
afterAll(() => sessions.forEach((one) => one.dispose()));

describe("a turn", () => {
  it("is what generating from the rendered conversation gives", async () => {
    const chat = session({ system: "be" });
    const first = await chat.reply("one");
    const second = await chat.reply("two", { maxTokens: 4 });
    expect(said(chat)).toEqual([["user", "one"], ["assistant", first], ["user", "two"], ["assistant", second]]);
    const ids = await template.encode([{ role: "system", content: "be" }, ...chat.messages.slice(0, 3)], tokenizer, { addGenerationPrompt: true });
    const expected = await generateText(model, { ids, tokenizer, temperature: 0, maxTokens: 4, stopIds: [1], cache: false });
    expect(second).toBe(expected.text);
  });

  it("computes what is new and no more, for every kind of cache", async () => {
    const spy = vi.spyOn(model, "hidden");
    const fed = () => spy.mock.calls.reduce((sum, [ids]) => sum + ids.shape[1], 0);
    try {
      for (const cache of ["f32", "bf16", "q8"] as const) {
        spy.mockClear();
        const chat = session({ cache, maxTokens: 3, system: "one two three one two three" });
        await chat.reply("one");
        // Of the two tokens that are read after it, one is only queued again.
        const read = model.device.record === undefined ? 2 : 1;
        expect(fed()).toBe(chat.lastTurn!.promptTokens + read);
        for (const text of ["two", "three"]) {
          const held = chat.contextTokens;
          spy.mockClear();
          await chat.reply(text);
          const { promptTokens, reusedTokens, newTokens } = chat.lastTurn!;
          expect(newTokens).toBe(3);
          expect(fed()).toBe(promptTokens - reusedTokens + read);
          // All that was read before the reply is still of use, and what is read is the turn's own.
          expect(reusedTokens).toBeGreaterThanOrEqual(held - 2);
          expect(fed()).toBeLessThan(45);
        }
        expect(chat.cacheBytes).toBeGreaterThan(0);
      }
    } finally {
      spy.mockRestore();
    }
  });

  it("ends at whatever the vocabulary has to end a turn", async () => {
    const logits = vi.spyOn(model.head, "logits");
    // The second token is <|im_end|>.
    let count = 0;
    logits.mockImplementation((hidden) => {
      const out = Head.prototype.logits.call(model.head, hidden);
      if (++count === 2) out.write(Float32Array.from({ length: out.size }, (_, i) => (i === 1 ? 100 : 0)));
      return out;
    });
    try {
      const chat = session();
      const pieces = await collect(chat.send("one"));
      expect(pieces.length).toBe(2);
      expect(pieces[1]).toMatchObject({ id: 1, text: "", finishReason: "stop", stoppedBy: 1 });
      expect(chat.messages[1].content).toBe(pieces[0].text);
    } finally {
      logits.mockRestore();
    }
  });

  it("has a seed of its own, and the same conversation the same answers", async () => {
    const talk = async () => {
      const chat = session({ temperature: 3, seed: 7 });
      return [await chat.reply("one"), await chat.reply("one")];
    };
    expect(await talk()).toEqual(await talk());
    const [first, second] = [session({ temperature: 3, seed: 7 }), session({ temperature: 3, seed: 8 })];
    expect(await first.reply("one")).not.toBe(await second.reply("one"));
  });
});

describe("a turn that is broken off", () => {
  it("stands in the history as far as it went, and the next goes on from there", async () => {
    const chat = session();
    const controller = new AbortController();
    const reason = new Error("enough");
    const heard: string[] = [];
    const run = async () => {
      for await (const { text } of chat.send("one", { signal: controller.signal })) {
        heard.push(text);
        if (heard.length === 2) controller.abort(reason);
      }
    };
    await expect(run()).rejects.toBe(reason);
    expect(said(chat)).toEqual([["user", "one"], ["assistant", heard.join("")]]);
    for await (const { text } of chat.send("two")) {
      heard[0] = text;
      break;
    }
    expect(said(chat).slice(2)).toEqual([["user", "two"], ["assistant", heard[0]]]);
    const again = session();
    again.reset(chat.messages);
    expect(await chat.reply("three")).toBe(await again.reply("three"));
  });

  it("before its first token is as if never said", async () => {
    const chat = session();
    await chat.reply("one");
    const before = said(chat);
    const reason = new Error("enough");
    await expect(chat.reply("two", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    // While it reads: the parts of the prompt that it read are of use to the next.
    const controller = new AbortController();
    const spy = vi.spyOn(model, "hidden").mockImplementationOnce((ids, options) => {
      controller.abort(reason);
      return Decoder.prototype.hidden.call(model, ids, options);
    });
    await expect(collect(chat.send("three ".repeat(10), { signal: controller.signal, prefillChunk: 4 }))).rejects.toBe(reason);
    spy.mockRestore();
    expect(said(chat)).toEqual(before);
    const fresh = session();
    fresh.reset(chat.messages);
    expect(await chat.reply("two")).toBe(await fresh.reply("two"));
  });

  it("by the template's refusal leaves the history as it was", async () => {
    const refusing = new ChatTemplate({ template: `{% if messages[0].role == 'system' %}{{ raise_exception('No system role.') }}{% endif %}${chatml}` });
    const chat = session({ template: refusing, system: "be" });
    await expect(chat.reply("one")).rejects.toThrow(DataError);
    await expect(chat.reply("one")).rejects.toMatchObject({ code: "template-refused" });
    expect(chat.messages).toEqual([]);
    chat.system = undefined;
    await chat.reply("one");
    expect(chat.messages.length).toBe(2);
  });

  it("and one at a time", async () => {
    const chat = session();
    const running = chat.send("one");
    await running.next();
    await expect(chat.reply("two")).rejects.toMatchObject({ code: "busy" });
    expect(() => chat.reset()).toThrow("A reply is under way");
    await running.return();
    await chat.reply("two");
    expect(chat.messages.length).toBe(4);
  });
});

describe("a full context", () => {
  it("loses its oldest turns, whole, and says so; the system prompt stays", async () => {
    const spy = vi.spyOn(template, "encode");
    const chat = session({ system: "three" });
    const dropped: number[] = [];
    for (let turn = 0; turn < 12; turn++) {
      const pieces = await collect(chat.send(`${turn}`));
      dropped.push(pieces[0].droppedMessages);
      expect(new Set(pieces.map(({ droppedMessages }) => droppedMessages)).size).toBe(1);
      expect(chat.droppedMessages).toBe(pieces[0].droppedMessages);
      // What was read begins with the system prompt, and then a whole turn.
      const [messages] = spy.mock.lastCall!;
      expect(messages.map(({ role }) => role)).toEqual(["system", ...Array.from({ length: messages.length - 1 }, (_, i) => (i % 2 === 0 ? "user" : "assistant"))]);
      expect(messages.slice(1, -1)).toEqual(chat.messages.slice(chat.droppedMessages, -2));
      expect(chat.contextTokens).toBeLessThanOrEqual(160);
    }
    spy.mockRestore();
    expect(dropped[0]).toBe(0);
    expect(dropped.at(-1)).toBeGreaterThan(2);
    expect(dropped.every((count, i) => count % 2 === 0 && count >= (dropped[i - 1] ?? 0))).toBe(true);
    // Seldom, so that what is read can mostly be used again.
    expect(new Set(dropped).size).toBeLessThan(7);
    expect(chat.messages.length).toBe(24);
  });

  it("refuses a message that cannot fit at all", async () => {
    const chat = session();
    await chat.reply("one");
    const long = chat.reply("8".repeat(200));
    await expect(long).rejects.toThrow(ConfigError);
    await expect(long).rejects.toMatchObject({ code: "context-exceeded" });
    expect(chat.messages.length).toBe(2);
    await chat.reply("two");
    expect(chat.droppedMessages).toBe(0);
  });
});

it("without a template goes on with the text, of which the oldest part falls out", async () => {
  const chat = session({ template: undefined, maxTokens: 8 });
  const reply = await chat.reply("one two");
  const expected = await generateText(model, { prompt: "one two\n", tokenizer, temperature: 0, maxTokens: 8 });
  expect(reply).toBe(expected.text);
  await chat.reply("three");
  const { promptIds } = await generateText(model, { prompt: `one two\n${reply}three\n`, tokenizer, maxTokens: 1 });
  expect(chat.lastTurn!.promptTokens).toBe(promptIds.length);
  const pieces = await collect(chat.send("8".repeat(200), { maxTokens: 100 }));
  expect(pieces[0].droppedTokens).toBeGreaterThan(80);
  expect(pieces.length).toBe(100);
  expect(chat.messages.length).toBe(6);
});

it("wrong settings are named at once, and memory is as before once it is disposed of", async () => {
  expect(() => session({ topP: 2 })).toThrow(ConfigError);
  const before = memory.live;
  const chat = new ChatSession(model, { tokenizer, template, maxTokens: 3, cache: "q8" });
  await chat.reply("one");
  expect(memory.live).toBeGreaterThan(before);
  chat.dispose();
  expect(memory.live).toBe(before);
  const text = await chat.reply("two");
  expect(said(chat).at(-1)).toEqual(["assistant", text]);
  chat.dispose();
  expect(memory.live).toBe(before);
});
