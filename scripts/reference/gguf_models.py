"""
What Hugging Face transformers makes of real GGUF files, de-quantised by the `gguf` package to float32: the mean loss on 400 tokens of a book, and
a greedy continuation. Writes test/fixtures/gguf-models.json, which test/gguf-models.test.ts holds Hornbook to.

Run from the repository root with torch, transformers and gguf:

    python scripts/reference/gguf_models.py BOOK.txt FOLDER_OF_GGUF_FILES
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FIXTURE = Path(__file__).resolve().parents[2] / "test/fixtures/gguf-models.json"
FILES = ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"]

book, folder = sys.argv[1:]
text = Path(book).read_text(encoding="utf-8")[20000:24000]
result = {}
for name in FILES:
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][:400]
    if name.startswith("gemma"):
        ids = [2] + ids[:399]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])).item()
        greedy = model.generate(torch.tensor([ids[:40]]), max_new_tokens=16, do_sample=False)[0, 40:].tolist()
    result[name] = {"ids": ids, "loss": loss, "greedy": greedy}
    print(name, type(model).__name__, loss, tokenizer.decode(greedy))
FIXTURE.write_text(json.dumps(result))
