"""
Opens model folders that Hornbook saved with Hugging Face transformers and compares the logits of random token ids with Hornbook's own
(`hornbook logits`), for every architecture we save as. Prints the largest absolute difference of each; fails above 1e-4, and where
transformers finds a tensor missing or one too many.

Run from the repository root after `npm run build`, with torch 2 and transformers 5 (bench/peers/requirements.txt):

    python scripts/reference/check_export.py            # small models of our own kinds, and test/fixtures/families loaded and saved again
    python scripts/reference/check_export.py FOLDER...  # checks these
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, logging

ROOT = Path(__file__).resolve().parents[2]

MAKE = """
import { readdirSync } from "node:fs";
import { LanguageModel, CharTokenizer, tensor } from "ROOT/dist/src/index.js";
const llama = { position: "rope", norm: "rmsnorm", feedForward: "swiglu", bias: false };
const models = {
  gpt2: {}, "gpt2-gelu-untied": { feedForward: "gelu", tieEmbeddings: false }, "gpt2-no-bias": { bias: false, dropout: 0.2 },
  llama: { ...llama, numKeyValueHeads: 2, tieEmbeddings: false }, "llama-bias-tied": { ...llama, bias: true, headSize: 16, ropeTheta: 5e5 },
};
const tokenizer = await CharTokenizer.fromText("abcdefghijklmnopqrstuvwxyz .,\\n");
for (const [name, options] of Object.entries(models)) {
  const model = new LanguageModel({ vocabSize: tokenizer.vocabSize, hiddenSize: 48, numLayers: 3, numHeads: 4, contextLength: 32, feedForward: "geluTanh", ...options });
  const random = new tensor.Random(1);
  for (const p of model.parameters().values()) p.write(Float32Array.from({ length: p.size }, () => 0.3 * random.normal() + (p.rank === 1 ? 0.5 : 0)));
  await model.save(process.argv[1] + "/" + name, { tokenizer });
  await model.save(process.argv[1] + "/" + name + "-bf16", { tokenizer, dtype: "bf16" });
}
const families = "ROOT/test/fixtures/families/";
for (const name of readdirSync(families)) await (await LanguageModel.load(families + name)).save(process.argv[1] + "/families-" + name);
"""


def ours(folder, ids):
    command = ["node", str(ROOT / "dist/src/cli/bin.js"), "logits", str(folder), "--ids", ",".join(map(str, ids)), "--all", "--json"]
    return torch.tensor(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["logits"]).reshape(len(ids), -1)


def check(folder):
    # Eager attention knows soft caps; but it adds Falcon's ALiBi twice.
    attention = "sdpa" if getattr(AutoConfig.from_pretrained(folder), "alibi", False) else "eager"
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True)
    problems = {kind: names for kind, names in report.items() if names}
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (24,), generator=generator)
    with torch.no_grad():
        theirs = model.eval()(ids[None]).logits[0]
    difference = (theirs - ours(folder, ids.tolist())).abs().max().item()
    tokenizer = ""
    if (Path(folder) / "tokenizer.json").exists():
        opened = AutoTokenizer.from_pretrained(folder)
        text = opened.decode(ids.tolist())
        tokenizer = f"; tokenizer {type(opened).__name__} {'agrees' if opened(text)['input_ids'] == ids.tolist() else 'differs after decode'}"
    print(f"{Path(folder).name:28} {type(model).__name__:20} logits up to {theirs.abs().max():7.2f}, apart by {difference:.1e}{tokenizer} {problems or ''}")
    return difference <= 1e-4 and not problems


if __name__ == "__main__":
    logging.set_verbosity_error()
    folders = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        if not folders:
            subprocess.run(["node", "--input-type=module", "-e", MAKE.replace("ROOT", ROOT.as_posix()), place], check=True)
            folders = sorted(Path(place).iterdir())
        good = [check(folder) for folder in folders]
    sys.exit(0 if all(good) else 1)
