"""
Opens GGUF files that Hornbook wrote with llama.cpp and compares: for a random model of every family that GGUF has, the logits of every position
(float32), and, for models given on the command line, greedy text in F16, Q8_0 and Q4_K_M.

Run from the repository root after `npm run build`, with numpy and llama-cpp-python:

    python scripts/reference/check_gguf.py              # random models of every family
    python scripts/reference/check_gguf.py MODEL...     # and these, which should be trained: nearly equal logits make the order of tokens a matter of luck
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from llama_cpp import Llama

ROOT = Path(__file__).resolve().parents[2]
CLI = ["node", str(ROOT / "dist/src/cli/bin.js")]
IDS = [5, 17, 3, 60, 41, 9, 22, 22, 58, 0, 33, 12, 47, 8, 29, 51]

MAKE = """
import { readdir } from "node:fs/promises";
import { LanguageModel, Tensor, tensor } from "ROOT/dist/src/index.js";
const sizes = { vocabSize: 64, hiddenSize: 64, numLayers: 8, numHeads: 4, headSize: 16, intermediateSize: 96, contextLength: 64 };
const kv = { bloom: 4, gpt2: 4, gpt_neox: 4, "gpt_neox-sequential": 4, "falcon-7b": 1 };
for (const name of await readdir("ROOT/test/fixtures/families")) {
  const { config, modelType } = await LanguageModel.load("ROOT/test/fixtures/families/" + name);
  const scaling = config.ropeScaling.kind === "longrope" ? { ropeScaling: { ...config.ropeScaling, shortFactors: [1, 1.1, 1.3, 1.5, 2, 2.5, 3, 4], longFactors: [1, 2, 3, 4, 5, 6, 7, 8], originalContextLength: 8 } } : {};
  const periodic = { gemma2: 2, gemma3: 6, cohere2: 4 }[name];
  const layerTypes = periodic && Array.from({ length: 8 }, (_, i) => ((i + 1) % periodic === 0 ? "full" : "sliding"));
  const ropeLayers = name === "cohere2" ? layerTypes.map((type) => type === "sliding") : name === "smollm3" ? [true, true, true, false] : undefined;
  const fraction = { rotaryFraction: name.startsWith("gpt_neox") ? 0.25 : 1, ...(name === "bloom" && { intermediateSize: 256 }) };
  const options = { ...config, ...sizes, ...scaling, ...fraction, numKeyValueHeads: kv[name] ?? 2, layerTypes, ropeLayers, attentionScale: name === "granite" ? 0.2 : undefined,
    slidingWindow: layerTypes ? 8 : 0, bias: undefined, ...(name.startsWith("falcon") && { queryKeyValueBias: false, attentionOutputBias: false, mlpBias: false }), feedForward: config.feedForward === "gelu" ? "geluTanh" : config.feedForward,
    alibiScale: 1, embeddingScale: name.startsWith("gemma") ? 8 : config.embeddingScale };
  const model = new LanguageModel(options, { modelType });
  const random = new tensor.Random(1);
  for (const p of model.parameters().values()) p.write(Float32Array.from({ length: p.size }, () => 0.15 * random.normal() + (p.rank === 1 ? 0.8 - model.config.normOffset : 0)));
  try {
    await model.saveGguf(process.argv[1] + "/" + name + ".gguf");
  } catch (error) {
    console.log(name.padEnd(22), "not said:", error.message);
    continue;
  }
}
"""


def ours(model, ids):
    out = subprocess.run([*CLI, "logits", str(model), "--ids", ",".join(map(str, ids)), "--all", "--json"], check=True, capture_output=True, text=True).stdout
    return np.array(json.loads(out)["logits"])


def theirs(model, ids):
    # Of Llama's YaRN llama.cpp takes the ramp from its options, not from the file.
    scaling = json.loads(subprocess.run([*CLI, "info", str(model), "--json"], check=True, capture_output=True, text=True).stdout)["config"]["ropeScaling"]
    ramp = {"yarn_beta_fast": scaling["betaFast"], "yarn_beta_slow": scaling["betaSlow"]} if scaling["kind"] == "yarn" else {}
    llama = Llama(model_path=str(model), n_ctx=64, n_threads=2, logits_all=True, verbose=False, **ramp)
    llama.eval(ids)
    return np.array(llama.scores[: len(ids)])


def greedy(model, ids, count):
    llama = Llama(model_path=str(model), n_ctx=128, n_threads=2, verbose=False)
    result = []
    for token in llama.generate(ids, temp=0.0, top_k=1):
        result.append(int(token))
        if len(result) == count:
            return result


def check_families(place):
    # For longrope llama.cpp goes by its context, we by the text, so both are beyond the original context here.
    subprocess.run(["node", "--input-type=module", "-e", MAKE.replace("ROOT", ROOT.as_posix()), str(place)], check=True)
    good = True
    for path in sorted(Path(place).glob("*.gguf")):
        try:
            a, b = ours(path, IDS), theirs(path, IDS)
        except Exception as error:
            print(f"{path.stem:22} {error}")
            good = False
            continue
        apart = np.abs(a - b).max()
        # llama.cpp keeps keys and values in f16.
        good &= apart <= 5e-3 * np.abs(b).max()
        print(f"{path.stem:22} logits up to {np.abs(b).max():7.2f}, apart by {apart:.1e}")
    return good


def check_model(model, place):
    good = True
    for quantize in ["F16", "Q8_0", "Q4_K_M"]:
        path = Path(place) / f"{quantize}.gguf"
        subprocess.run([*CLI, "export", model, "--format", "gguf", "--quantize", quantize, "--out", str(path)], check=True, capture_output=True)
        out = subprocess.run([*CLI, "generate", str(path), "--ids", "5,17,3,60,41", "--temperature", "0", "--max-tokens", "50", "--json"], check=True, capture_output=True, text=True).stdout
        a, b = json.loads(out)["ids"], greedy(path, [5, 17, 3, 60, 41], 50)
        equal = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        good &= quantize != "F16" or equal == 50
        print(f"{model:22} {quantize:7} the first {equal} of 50 greedy tokens are equal")
    return good


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        good = check_families(place)
        for model in sys.argv[1:]:
            good &= check_model(model, place)
    sys.exit(0 if good else 1)
