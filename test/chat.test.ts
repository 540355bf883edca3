/** A conversation with a model that was saved and loaded: as a folder, and as one GGUF file. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LanguageModel, Tokenizer, ChatTemplate } from "hornbook";
import { afterAll, beforeAll, expect, it } from "vitest";

const source = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
let folder: string;
let model: LanguageModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hornbook-chat-"));
  const tokenizer = await Tokenizer.train(["user assistant system one two three"], { vocabSize: 300, specialTokens: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] });
  const options = { position: "rope", norm: "rmsnorm", feedForward: "swiglu", bias: false } as const;
  const chatTemplate = new ChatTemplate({ template: source, specialTokens: { bos_token: "<|endoftext|>" } });
  model = new LanguageModel({ vocabSize: tokenizer.vocabSize, hiddenSize: 64, numLayers: 2, numHeads: 2, contextLength: 128, ...options }, { seed: 5, tokenizer, chatTemplate });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function talk(model: LanguageModel): Promise<unknown[]> {
  const chat = model.chat({ system: "be", temperature: 0, maxTokens: 5 });
  const said = [await chat.reply("one"), chat.lastTurn?.promptTokens, await chat.reply("two"), chat.lastTurn?.promptTokens];
  chat.dispose();
  return said;
}

it("goes as before from a folder", async () => {
  const path = join(folder, "model");
  await model.save(path);
  expect(await readFile(join(path, "chat_template.jinja"), "utf8")).toBe(source);
  const loaded = await LanguageModel.load(path);
  expect(loaded.chatTemplate?.source()).toBe(source);
  expect(await talk(loaded)).toEqual(await talk(model));
});

it("and from a GGUF file", async () => {
  const path = join(folder, "model.gguf");
  await model.saveGguf(path, { quantize: "F32" });
  const loaded = await LanguageModel.load(path);
  expect(loaded.chatTemplate?.source()).toBe(source);
  expect(await talk(loaded)).toEqual(await talk(model));
});
