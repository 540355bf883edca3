"""
Makes test/fixtures/dtypes.safetensors, one tensor of every dtype that PyTorch can save, and dtypes.json, their values as float32
(null where not finite, with "NaN", "Infinity" and "-Infinity" spelt out).

Every pattern of the 8-bit floats is there; of the 16-bit ones a spread that takes in zeros, subnormals, infinities and NaN.

Run from the repository root (bench/peers/requirements.txt):  python scripts/reference/safetensors_dtypes.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2] / "test" / "fixtures"

every_byte = torch.arange(256, dtype=torch.int16).to(torch.uint8).reshape(4, 64)
words = torch.cat([torch.arange(-32768, 32768, 331), torch.tensor([0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7C01, 0x7F80, 0x7F81, -32768, -1024, -128])]).to(torch.int16)
wholes = torch.tensor([[0, 1, -1, 100], [-128, 127, 7, -7]])

tensors = {
    "f64": torch.tensor([0.1, -1e300, 1e-300, 3.0], dtype=torch.float64),
    "f32": torch.tensor([[0.1, -0.0, 3e38], [1e-45, float("inf"), -2.5]], dtype=torch.float32),
    "f16": words.view(torch.float16),
    "bf16": words.view(torch.bfloat16),
    "f8_e4m3": every_byte.view(torch.float8_e4m3fn),
    "f8_e5m2": every_byte.view(torch.float8_e5m2),
    "f8_e8m0": every_byte.view(torch.float8_e8m0fnu),
    "i64": wholes.to(torch.int64) * (2**40 + 1),
    "i32": wholes.to(torch.int32) * 16777219 % (2**31),
    "i16": wholes.to(torch.int16) * 257,
    "i8": wholes.to(torch.int8),
    "u8": every_byte,
    "u16": words.view(torch.uint16),
    "u32": wholes.to(torch.int32).view(torch.uint32),
    "u64": wholes.to(torch.int64).view(torch.uint64),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(3, 0, 2),
}


def spell(x):
    return x if x == x and abs(x) != float("inf") else "NaN" if x != x else "Infinity" if x > 0 else "-Infinity"


save_file({name: t.clone() for name, t in tensors.items()}, ROOT / "dtypes.safetensors", metadata={"format": "pt", "made by": "PyTorch"})
(ROOT / "dtypes.safetensors").chmod(0o644)
values = {name: {"shape": list(t.shape), "values": [spell(x) for x in t.flatten().to(torch.float32).tolist()]} for name, t in tensors.items()}
(ROOT / "dtypes.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
