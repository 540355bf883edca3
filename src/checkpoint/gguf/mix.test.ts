import { describe, expect, it } from "vitest";
import { ggufMix, mixedDType, type GgufMix } from "./mix.js";

const model = { architecture: "llama", numLayers: 16, tieEmbeddings: true };
const of = (mix: GgufMix, name: string, shape: readonly number[] = [1024, 1024], more = {}) => mixedDType(mix, { ...model, ...more }, name, shape);
const layers = (mix: GgufMix, role: string, dtype: string, more = {}) => Array.from({ length: 16 }, (_, i) => i).filter((i) => of(mix, `blk.${i}.${role}.weight`, [1024, 1024], more) === dtype);

describe("a mix", () => {
  it("keeps norms, biases and positions in float32, and plain types everywhere else", () => {
    for (const mix of ["F16", "Q8_0", "Q4_K_M"] as const) {
      expect([of(mix, "blk.0.attn_norm.weight", [1024]), of(mix, "blk.0.attn_q.bias", [1024]), of(mix, "position_embd.weight"), of(mix, "blk.0.attn_q_norm.weight")]).toEqual(Array(4).fill("F32"));
    }
    expect([of("F16", "token_embd.weight"), of("BF16", "blk.0.ffn_up.weight"), of("F32", "output.weight")]).toEqual(["F16", "BF16", "F32"]);
  });

  it("gives the unembedding Q6_K, and the embedding where it is the unembedding", () => {
    expect([of("Q4_0", "token_embd.weight"), of("Q4_0", "token_embd.weight", [9, 1024], { tieEmbeddings: false }), of("Q4_0", "output.weight")]).toEqual(["q6_k", "q4_0", "q6_k"]);
    expect([of("Q8_0", "output.weight"), of("Q4_K_M", "output.weight", [9, 1056]), of("Q4_K_M", "output.weight", [9, 1024], { architecture: "falcon" })]).toEqual(["q8_0", "q8_0", "q8_0"]);
  });

  it("gives the values and the down projection of some layers more bits", () => {
    const sensitive = [0, 1, 4, 7, 10, 13, 14, 15];
    expect([layers("Q4_K_M", "attn_v", "q6_k"), layers("Q4_K_M", "ffn_down", "q6_k"), layers("Q5_K_M", "attn_v", "q6_k"), layers("Q4_K_M", "attn_qkv", "q6_k")]).toEqual(Array(4).fill(sensitive));
    expect([layers("Q4_K_S", "attn_v", "q5_k"), layers("Q4_K_S", "ffn_down", "q5_k"), layers("Q5_K_S", "attn_v", "q5_k").length]).toEqual([[0, 1, 2, 3], [0, 1], 16]);
    expect([layers("Q4_K_M", "ffn_down", "q6_k", { architecture: "falcon" }), layers("Q4_K_M", "ffn_down", "q5_k", { architecture: "falcon" })]).toEqual([[0], sensitive.slice(1)]);
    for (const role of ["attn_q", "attn_k", "attn_output", "ffn_up", "ffn_gate"]) expect(layers("Q4_K_M", role, "q4_k")).toHaveLength(16);
  });

  it("takes smaller blocks where a row is no whole number of large ones", () => {
    const at = (mix: GgufMix, row: number) => of(mix, "blk.2.attn_q.weight", [8, row]);
    expect([at("Q4_K_M", 576), at("Q5_K_M", 576), at("Q6_K", 576), at("Q4_K_M", 48), at("Q4_0", 48), at("Q8_0", 64)]).toEqual(["q5_0", "q5_1", "q8_0", "F16", "F16", "q8_0"]);
  });

  it("goes by its name in either case, and by the usual short ones", () => {
    expect([ggufMix("q4_k_m"), ggufMix("Q4_K"), ggufMix("bf16"), ggufMix("Q3_K"), ggufMix("toString")]).toEqual(["Q4_K_M", "Q4_K_M", "BF16", undefined, undefined]);
  });
});
