/** @file Post-processors: the special tokens that a model wants around a text, such as `<s>` before it. Put there only where the caller asks. */

import type { Fail, PostProcessorStep } from "./steps.js";

export interface Surroundings {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export const noSurroundings: Surroundings = { before: [], after: [] };

/** What the steps put around a single text. */
export function surroundingsOf(steps: readonly PostProcessorStep[], fail: Fail): Surroundings {
  let { before, after } = noSurroundings;
  for (const step of steps) {
    const around = stepSurroundings(step, fail);
    before = [...around.before, ...before];
    after = [...after, ...around.after];
  }
  return { before, after };
}

function stepSurroundings(step: PostProcessorStep, fail: Fail): Surroundings {
  if (step.type === "ByteLevel") return noSurroundings;
  if (step.type !== "TemplateProcessing") return { before: [step.cls[1]], after: [step.sep[1]] };
  const around: { before: number[]; after: number[] } = { before: [], after: [] };
  let seen = 0;
  for (const piece of step.single) {
    if ("Sequence" in piece) {
      seen++;
      continue;
    }
    const { id } = piece.SpecialToken;
    const special = Object.hasOwn(step.special_tokens, id) ? step.special_tokens[id] : fail("post_processor.special_tokens", `${JSON.stringify(id)} is in the template and not here.`);
    around[seen === 0 ? "before" : "after"].push(...special.ids);
  }
  if (seen !== 1) fail("post_processor.single", "the text must stand in the template once.");
  return around;
}

/** The template that puts single tokens around a text. */
export function templateOf({ before, after }: Surroundings, nameOf: (id: number) => string): PostProcessorStep[] {
  if (before.length + after.length === 0) return [];
  const special = (type_id: number) => (id: number) => ({ SpecialToken: { id: nameOf(id), type_id } });
  const sequence = (id: "A" | "B", type_id: number) => ({ Sequence: { id, type_id } });
  return [
    {
      type: "TemplateProcessing",
      single: [...before.map(special(0)), sequence("A", 0), ...after.map(special(0))],
      pair: [...before.map(special(0)), sequence("A", 0), ...after.map(special(0)), ...before.map(special(1)), sequence("B", 1), ...after.map(special(1))],
      special_tokens: Object.fromEntries([...before, ...after].map((id) => [nameOf(id), { id: nameOf(id), ids: [id], tokens: [nameOf(id)] }])),
    },
  ];
}
