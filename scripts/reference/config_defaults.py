"""
Writes test/fixtures/config-defaults.json: for every family that Hornbook reads, what transformers' configuration class takes where config.json says
nothing, by field; `rope_theta` and `partial_rotary_factor` are those of the RoPE that results. A list of one entry a layer is left out: it
follows from the rest, and models/config_kinds.py tries it.

Run from the repository root with transformers 5.24:

    python scripts/reference/config_defaults.py
"""

import json
from dataclasses import fields
from pathlib import Path

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

FIXTURE = Path(__file__).resolve().parents[2] / "test/fixtures/config-defaults.json"
TYPES = [
    "gpt2", "llama", "mistral", "ministral", "qwen2", "qwen3", "smollm3", "granite", "olmo2", "phi3", "gemma2", "gemma3_text", "cohere", "cohere2", "gpt_neox", "falcon",
    "bloom",
]

common = {field.name for field in fields(PreTrainedConfig)}
result = {}
for model_type in TYPES:
    cls = CONFIG_MAPPING[model_type]
    result[model_type] = {field.name: field.default for field in fields(cls) if field.name not in common and field.name != "rope_parameters"}
    config = cls()
    rope = getattr(config, "rope_parameters", None)
    if rope:
        full = rope.get("full_attention", rope)
        result[model_type]["rope_theta"] = full["rope_theta"]
        if "partial_rotary_factor" in full:
            result[model_type]["partial_rotary_factor"] = full["partial_rotary_factor"]
        if "sliding_attention" in rope:
            result[model_type]["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
FIXTURE.write_text(json.dumps({"transformers": transformers.__version__, "defaults": result}, indent=1, sort_keys=True) + "\n")
print({model_type: len(values) for model_type, values in result.items()})
