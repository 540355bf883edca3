/**
 * @file Weights that were quantised for other programs: FP8, GPTQ, AWQ, bitsandbytes and their like keep integers or narrow floats beside scales, each in
 * a form of its own. None is read here, and each says what it is: read as plain numbers its weights would be wrong.
 */

import { CheckpointError, type FilePlace } from "../errors.js";

const hint = "Get the model as it was before that, in bf16 or f16, or as GGUF, whose quantised types are read: `hornbook pull ORG/NAME-GGUF:Q4_K_M`.";

/** The names of the methods as people say them, by `quant_method`; one that is not here is called what the file calls it. */
const methods = new Map(Object.entries({
  fp8: "FP8", fbgemm_fp8: "FP8 (FBGEMM)", gptq: "GPTQ", awq: "AWQ", bitsandbytes: "bitsandbytes", "compressed-tensors": "compressed-tensors", mxfp4: "MXFP4",
  hqq: "HQQ", aqlm: "AQLM", quanto: "Quanto", eetq: "EETQ", torchao: "torchao", higgs: "HIGGS", vptq: "VPTQ", spqr: "SpQR", bitnet: "BitNet", modelopt: "ModelOpt",
  "auto-round": "AutoRound", autoround: "AutoRound", exl2: "EXL2", exl3: "EXL3", marlin: "Marlin", quark: "Quark", sinq: "SINQ", nvfp4: "NVFP4",
}));

/** The error for a configuration that says its weights are quantised. `config`: `quantization_config`, or ModelOpt's `quantization`. */
export function quantizedConfigError(file: string, field: string, config: Readonly<Record<string, unknown>>): CheckpointError {
  const text = (key: string): string | undefined => (typeof config[key] === "string" ? config[key].slice(0, 40) : undefined);
  const method = text("quant_method") ?? text("quant_algo") ?? (config["load_in_4bit"] === true || config["load_in_8bit"] === true ? "bitsandbytes" : undefined);
  const bits = typeof config["bits"] === "number" ? config["bits"] : config["load_in_4bit"] === true ? 4 : config["load_in_8bit"] === true ? 8 : undefined;
  const details = [bits === undefined ? undefined : `${bits} bits`, text("fmt"), text("format"), text("bnb_4bit_quant_type")].filter((detail) => detail !== undefined);
  const name = method === undefined ? "in a way it does not name" : `by ${methods.get(method.toLowerCase()) ?? method}`;
  return quantizedError({ file, field }, `${name}${details.length === 0 ? "" : ` (${details.join(", ")})`}`);
}

/** Tensors that only quantised weights have, and whose they are. */
const signs: readonly (readonly [RegExp, string])[] = [
  [/\.(qweight|qzeros|g_idx)$/, "by GPTQ or AWQ"],
  [/\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*)$|\.(SCB|weight_format)$/, "by bitsandbytes"],
  [/\.(weight_packed|weight_shape|weight_zero_point|weight_g_idx)$/, "by compressed-tensors"],
  [/_(blocks|scales)$/, "by MXFP4"],
  [/\.weight_scale(_inv|_2)?$|\.(input|k|v|q|kv|output)_scale$|\.activation_scale$/, "to FP8 or another narrow type with scales"],
  [/\.(codes|codebooks|scales|W_q|qscale|q_scale)$/, "in a form with codes and scales"],
];

/** The error for weights that are quantised, though no configuration says so; undefined where no tensor shows it. */
export function quantizedTensorsError(file: string, names: Iterable<string>): CheckpointError | undefined {
  for (const name of names) {
    const how = signs.find(([pattern]) => pattern.test(name))?.[1];
    if (how !== undefined) return quantizedError({ file, field: name }, how);
  }
  return undefined;
}

/** `how`: as in "by GPTQ". */
export function quantizedError(place: FilePlace, how: string): CheckpointError {
  return new CheckpointError(place, `these weights are quantised ${how}, which Hornbook does not read.`, { code: "quantized-weights", hint });
}
