"""
Reads a GGUF model in several files with gguf-py and, where llama-cpp-python is there, with llama.cpp: each part as `llama-gguf-split` makes it.

    python scripts/reference/check_split.py NAME-00001-of-0000N.gguf
"""

import sys
from pathlib import Path

from gguf import GGUFReader

first = Path(sys.argv[1])
prefix, count = first.name.split("-00001-of-")
count = int(count.split(".")[0])
names = []
for index in range(count):
    reader = GGUFReader(first.with_name(f"{prefix}-{index + 1:05d}-of-{count:05d}.gguf"))
    field = {key: reader.fields[key] for key in ("split.no", "split.count", "split.tensors.count")}
    values = {key: int(value.parts[value.data[0]][0]) for key, value in field.items()}
    types = {key: value.types[0].name for key, value in field.items()}
    assert types == {"split.no": "UINT16", "split.count": "UINT16", "split.tensors.count": "INT32"}, types
    assert values["split.no"] == index and values["split.count"] == count, values
    names += [tensor.name for tensor in reader.tensors]
assert len(names) == len(set(names)) == values["split.tensors.count"], (len(names), values)
print(f"{count} parts, {len(names)} tensors")
try:
    from llama_cpp import Llama
except ImportError:
    print("llama-cpp-python is not there")
else:
    print(Llama(str(first), n_ctx=16, verbose=False).metadata["general.architecture"])
