"""
Writes test/fixtures/gguf-package.gguf with the `gguf` package (a value of each type, a tensor of each plain type) and, beside it, what it holds.
Run from the repository root: python scripts/reference/gguf_file.py
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

FIXTURES = Path(__file__).resolve().parents[2] / "test/fixtures"

writer = GGUFWriter(FIXTURES / "gguf-package.gguf", "llama")
fields = {"general.architecture": "llama"}


def add(kind, value):
    getattr(writer, f"add_{kind}")(f"a.{kind}", value)
    fields[f"a.{kind}"] = value


for kind, value in {"uint8": 200, "int8": -3, "uint16": 60000, "int16": -30000, "uint32": 4000000000, "int32": -5, "float32": 0.5, "float64": 0.1,
                    "uint64": 2**40, "int64": -(2**40), "bool": True, "string": "tinta 🖋", "array": ["a", "", "é"]}.items():
    add(kind, value)

random = np.random.default_rng(1)
tensors = {}
for name, dtype, shape in [("f32", np.float32, (3, 5)), ("f16", np.float16, (2, 3, 4)), ("f64", np.float64, (7,)), ("i8", np.int8, (4, 4)), ("i16", np.int16, (3,)),
                           ("i32", np.int32, (2,)), ("i64", np.int64, (2, 1))]:
    values = (random.normal(size=shape) * 50).astype(dtype)
    writer.add_tensor(name, values)
    tensors[name] = {"shape": list(shape), "values": values.astype(np.float32).astype(np.float64).flatten().tolist()}
bf16 = (random.normal(size=(2, 6)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
writer.add_tensor("bf16", bf16.view(np.uint8), raw_dtype=GGMLQuantizationType.BF16)
tensors["bf16"] = {"shape": [2, 6], "values": (bf16.astype(np.uint32) << 16).view(np.float32).astype(np.float64).flatten().tolist()}

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
(FIXTURES / "gguf-package.json").write_text(json.dumps({"fields": fields, "tensors": tensors}))
