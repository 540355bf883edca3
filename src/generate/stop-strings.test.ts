import fc from "fast-check";
import { expect, it } from "vitest";
import { StopStrings } from "./stop-strings.js";

/** What comes out of pieces: the text, piece by piece, and the stop string. */
function run(stops: string[], pieces: string[]): { emitted: string[]; stop?: string } {
  const matcher = new StopStrings(stops);
  const emitted: string[] = [];
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece);
    emitted.push(text);
    if (stop !== undefined) return { emitted, stop };
  }
  emitted.push(matcher.flush());
  return { emitted };
}

it("holds back what may become a stop string, and no more", () => {
  expect(run(["\n\nUser:"], ["Hello", "\n", "there", "\n\nUs", "er", ": x"])).toEqual({ emitted: ["Hello", "", "\nthere", "", "", ""], stop: "\n\nUser:" });
  expect(run(["END"], ["an E", "", "N", "d EN"])).toEqual({ emitted: ["an ", "", "", "ENd ", "EN"] });
});

it("passes everything where there is nothing to stop at", () => {
  expect(run([], ["a", "", "bc"])).toEqual({ emitted: ["a", "", "bc", ""] });
});

it("ends with the string that is complete first, and of those with the one that began first", () => {
  expect(run(["abc", "b"], ["xabc"])).toEqual({ emitted: ["xa"], stop: "b" });
  expect(run(["bc", "abc"], ["xabc"])).toEqual({ emitted: ["x"], stop: "abc" });
});

it("does not depend on how the text is cut", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 }), { maxLength: 3 });
  fc.assert(
    fc.property(text, stops, fc.array(fc.nat(30), { maxLength: 8 }), (whole, stops, cuts) => {
      const bounds = [0, ...cuts.filter((cut) => cut <= whole.length).sort((a, b) => a - b), whole.length];
      const pieces = bounds.slice(1).map((end, i) => whole.slice(bounds[i], end));
      const cut = run(stops, pieces);
      const letters = run(stops, [...whole]);
      expect({ text: cut.emitted.join(""), stop: cut.stop }).toEqual({ text: letters.emitted.join(""), stop: letters.stop });
      // By the definition: no stop string in what came out, and it is the text up to one, or all of it.
      const out = cut.emitted.join("");
      expect(stops.some((stop) => out.includes(stop))).toBe(false);
      expect(whole.startsWith(out + (cut.stop ?? ""))).toBe(true);
      if (cut.stop === undefined) expect(out).toBe(whole);
    }),
    { seed: 1, numRuns: 500 },
  );
});
