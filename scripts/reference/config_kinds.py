"""
Writes test/fixtures/config-kinds.json: settings of config.json as people have them, each over one of test/fixtures/families, with the logits
that transformers computes then in float32: after the last of the fixture's first row of ids. Where transformers refuses a setting, that is kept.

Run from the repository root, with torch 2 and transformers 5.24, after scripts/reference/families.py:

    python scripts/reference/config_kinds.py
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, logging

logging.set_verbosity_error()
FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures"
ABSENT = "(absent)"
FULL, SLIDING = "full_attention", "sliding_attention"
DEFAULT = {"rope_type": "default", "rope_theta": 300.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 14}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.3], "long_factor": [1.1, 3.0]}
SU = {"short_factor": [1.0, 1.2, 1.5], "long_factor": [1.1, 2.3, 6.5]}

KINDS = {
    "llama": {
        "scaling without a base beside parameters with one": {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": DEFAULT},
        "scaling, its base beside it, and parameters with another": {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 70.0, "rope_parameters": DEFAULT},
        "scaling with a base of its own": {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}, "rope_theta": 70.0, "rope_parameters": DEFAULT},
        "an empty scaling beside parameters": {"rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 300.0}},
        "a null scaling beside parameters": {"rope_scaling": None, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 300.0}},
        "parameters without a base beside one": {"rope_parameters": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 90.0},
        "parameters with a base beside another": {"rope_parameters": {**DEFAULT}, "rope_theta": 90.0},
        "parameters whose kind is called type": {"rope_parameters": {"type": "linear", "factor": 3.0, "rope_theta": 300.0}},
        "no word of RoPE": {"rope_parameters": ABSENT},
        "a base alone": {"rope_parameters": ABSENT, "rope_theta": 90.0},
        "yarn beside parameters": {"rope_scaling": YARN, "rope_parameters": DEFAULT},
        "yarn with an attention factor": {"rope_scaling": {**YARN, "attention_factor": 1.7}, "rope_theta": 300.0},
        "yarn with both scales": {"rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.4}, "rope_theta": 300.0},
        "yarn with one scale": {"rope_scaling": {**YARN, "mscale": 0.7}, "rope_theta": 300.0},
        "yarn with a ramp of zero and null": {"rope_scaling": {**YARN, "beta_fast": 0, "beta_slow": None}, "rope_theta": 300.0},
        "yarn that is not truncated": {"rope_scaling": {**YARN, "truncate": False, "beta_fast": 4.0, "beta_slow": 0.7}, "rope_theta": 300.0},
        "yarn without its original context": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": None}, "max_position_embeddings": 8},
        "yarn with its original context outside": {"rope_scaling": YARN, "original_max_position_embeddings": 5},
        "yarn with a null factor": {"rope_scaling": {**YARN, "factor": None}, "max_position_embeddings": 24},
        "yarn under its older name for the kind": {"rope_scaling": {**{k: v for k, v in YARN.items() if k != "rope_type"}, "type": "yarn"}},
        "yarn called by both names, which differ": {"rope_scaling": {**YARN, "type": "linear"}},
        "llama3 in scaling": {"rope_scaling": LLAMA3, "rope_theta": 300.0, "rope_parameters": ABSENT},
        "llama3 without its original context": {"rope_scaling": {k: v for k, v in LLAMA3.items() if k != "original_max_position_embeddings"}, "max_position_embeddings": 20, "rope_theta": 300.0},
        "longrope with a factor": {"rope_scaling": {**LONG, "factor": 4.0, "original_max_position_embeddings": 12}},
        "longrope without a factor": {"rope_scaling": {**LONG, "original_max_position_embeddings": 12}},
        "longrope within its original context": {"rope_scaling": {**LONG, "original_max_position_embeddings": 40}},
        "dynamic beside parameters": {"rope_scaling": {"type": "dynamic", "factor": 3.0}, "rope_parameters": DEFAULT, "max_position_embeddings": 9},
        "dynamic without a context": {"rope_scaling": {"type": "dynamic", "factor": 3.0}, "max_position_embeddings": ABSENT},
        "yarn without a context": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "max_position_embeddings": ABSENT},
        "an unknown kind": {"rope_scaling": {"rope_type": "spiral", "factor": 4.0}},
        "head_dim null": {"head_dim": None},
        "head_dim absent": {"head_dim": ABSENT},
        "rms_norm_eps absent": {"rms_norm_eps": ABSENT},
        "a window that Llama does not read": {"sliding_window": 7},
        "the share of a head said to be all": {"partial_rotary_factor": 1.0},
        "activation under its other name": {"hidden_act": "swish"},
    },
    "mistral": {
        "layers of both kinds": {"layer_types": [FULL, SLIDING, FULL]},
        "layers that all slide": {"layer_types": [SLIDING] * 3},
        "layers that all see everything": {"layer_types": [FULL] * 3},
        "null layers": {"layer_types": None},
        "no window": {"sliding_window": None},
        "no word of a window": {"sliding_window": ABSENT},
        "layers that slide without a window": {"layer_types": [FULL, SLIDING, FULL], "sliding_window": None},
        "layers by their older name": {"layer_types": ["attention", SLIDING, "attention"]},
        "two layers of three": {"layer_types": [FULL, SLIDING]},
    },
    "qwen2": {
        "listed layers": {"layer_types": [SLIDING, FULL, SLIDING]},
        "no window in use": {"use_sliding_window": False, "layer_types": ABSENT},
        "a window in use that is null": {"sliding_window": None, "layer_types": ABSENT},
        "no layers, and from which on they slide": {"layer_types": ABSENT, "max_window_layers": 2},
        "no layers, and no word of from where": {"layer_types": ABSENT, "max_window_layers": ABSENT},
        "no window in use, and layers that slide": {"use_sliding_window": False, "layer_types": [SLIDING, FULL, SLIDING]},
    },
    "qwen3": {"listed layers": {"use_sliding_window": True, "sliding_window": 5, "layer_types": [SLIDING, FULL, SLIDING]}, "rms_norm_eps absent": {"rms_norm_eps": ABSENT}},
    "smollm3": {
        "layers that slide, windows not in use": {"use_sliding_window": False, "sliding_window": 5, "layer_types": [SLIDING, FULL, SLIDING, FULL]},
        "windows in use where there is no RoPE": {"use_sliding_window": True, "sliding_window": 5, "layer_types": ABSENT},
        "windows in use, and null": {"use_sliding_window": True, "sliding_window": None, "layer_types": ABSENT},
        "a longer list of layers with RoPE": {"no_rope_layers": [0, 1, 1, 0, 1, 1], "layer_types": ABSENT},
        "neither list nor interval": {"no_rope_layers": ABSENT, "no_rope_layer_interval": ABSENT, "layer_types": ABSENT},
        "no word of RoPE": {"rope_parameters": ABSENT},
    },
    "gemma2": {
        "listed layers": {"layer_types": [FULL, FULL, SLIDING, FULL]},
        "no layers": {"layer_types": ABSENT},
        "no caps": {"attn_logit_softcapping": None, "final_logit_softcapping": None},
        "no word of caps": {"attn_logit_softcapping": ABSENT, "final_logit_softcapping": ABSENT},
        "no word of the scale": {"query_pre_attn_scalar": ABSENT},
        "a null window": {"sliding_window": None},
        "scaling": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_theta": 70.0},
    },
    "gemma3": {
        "the words of version 4": {"rope_parameters": ABSENT, "rope_theta": 5000.0, "rope_local_base_freq": 70.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        "scaling beside parameters": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        "scaling that says a part": {"rope_scaling": {"factor": 7.0}},
        "parameters that are not divided": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 77.0}},
        "parameters of one kind of layers": {"rope_parameters": {FULL: {"rope_type": "linear", "factor": 2.0, "rope_theta": 77.0}}},
        "a base beside parameters without": {"rope_parameters": {FULL: {"rope_type": "default"}, SLIDING: {"rope_type": "default"}}, "rope_theta": 60.0, "rope_local_base_freq": 40.0},
        "no word of RoPE": {"rope_parameters": ABSENT},
        "a pattern": {"layer_types": ABSENT, "sliding_window_pattern": 2},
        "no pattern": {"layer_types": ABSENT, "sliding_window_pattern": ABSENT},
        "layers beside a pattern": {"layer_types": [FULL, SLIDING, FULL, SLIDING, FULL], "sliding_window_pattern": 2},
        "caps": {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
        "yarn where layers see everything": {"rope_parameters": {FULL: {**YARN, "rope_theta": 500.0}, SLIDING: {"rope_type": "default", "rope_theta": 77.0}}},
    },
    "phi3-longrope": {
        "called su": {"rope_parameters": ABSENT, "rope_scaling": {"type": "su", **SU}, "partial_rotary_factor": 0.75},
        "called yarn": {"rope_parameters": ABSENT, "rope_scaling": {"type": "yarn", **SU, "factor": 2.0}, "partial_rotary_factor": 0.75},
        "its original context inside as well": {"rope_parameters": ABSENT, "rope_scaling": {"type": "longrope", **SU, "original_max_position_embeddings": 5}, "partial_rotary_factor": 0.75},
        "no word of its original context": {"rope_parameters": ABSENT, "rope_scaling": {"type": "longrope", **SU}, "partial_rotary_factor": 0.75, "original_max_position_embeddings": ABSENT},
        "with a factor": {"rope_parameters": ABSENT, "rope_scaling": {"type": "longrope", **SU, "factor": 3.0}, "partial_rotary_factor": 0.75},
    },
    "phi3": {"no window": {"sliding_window": None}, "no word of a window": {"sliding_window": ABSENT}, "no word of RoPE": {"rope_parameters": ABSENT}, "listed layers": {"layer_types": [FULL, SLIDING, FULL]}},
    "gpt_neox": {
        "under its own names": {"rope_parameters": ABSENT, "rotary_pct": 0.4, "rotary_emb_base": 500},
        "no word of RoPE": {"rope_parameters": ABSENT},
        "names that it does not read": {"rope_parameters": ABSENT, "rope_theta": 50.0, "partial_rotary_factor": 0.4},
        "scaling": {"rope_parameters": ABSENT, "rotary_pct": 0.4, "rope_scaling": {"type": "linear", "factor": 2.0}},
        "its activation called gelu_fast": {"hidden_act": "gelu_fast"},
        "its activation called gelu_new": {"hidden_act": "gelu_new"},
    },
    "falcon-40b": {"a base": {"rope_parameters": ABSENT, "rope_theta": 70.0}, "scaling": {"rope_parameters": ABSENT, "rope_scaling": {"type": "linear", "factor": 2.0}}, "older name of the width": {"hidden_size": ABSENT, "n_embed": 36}},
    "falcon-7b": {"as many key heads said as it does not have": {"num_kv_heads": 5}},
    "cohere": {"no word of RoPE": {"rope_parameters": ABSENT}, "no word of the scale": {"logit_scale": ABSENT}, "scaling": {"rope_scaling": {"type": "linear", "factor": 2.0}}, "head_dim said": {"head_dim": 8}},
    "cohere2": {
        "no word of RoPE": {"rope_parameters": ABSENT},
        "listed layers": {"layer_types": [FULL, SLIDING, SLIDING, FULL, SLIDING]},
        "no layers": {"layer_types": ABSENT, "sliding_window_pattern": ABSENT},
        "a pattern": {"layer_types": ABSENT, "sliding_window_pattern": 2},
    },
    "olmo2": {"no word of RoPE": {"rope_parameters": ABSENT}, "rms_norm_eps absent": {"rms_norm_eps": ABSENT}},
    "granite": {"no multipliers": {key: ABSENT for key in ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling")}},
    "bloom": {"other names": {"hidden_size": ABSENT, "n_embed": 24, "n_layer": ABSENT, "num_hidden_layers": 3}},
    "gpt2": {"other names": {"n_embd": ABSENT, "hidden_size": 24, "n_layer": ABSENT, "num_hidden_layers": 3}, "inner width null where it is four times": {"n_inner": 29}},
}

result = []
for family, kinds in KINDS.items():
    folder = FIXTURES / "families" / family
    original = json.loads((folder / "config.json").read_text())
    ids = json.loads((folder / "expected.json").read_text())["ids"][0]
    for name, changes in kinds.items():
        config = {key: value for key, value in {**original, **changes}.items() if value != ABSENT}
        entry = {"family": family, "name": name, "set": {k: v for k, v in changes.items() if v != ABSENT}, "remove": [k for k, v in changes.items() if v == ABSENT]}
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "config.json").write_text(json.dumps(config))
            shutil.copy(folder / "model.safetensors", place)
            try:
                model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
                with torch.no_grad():
                    logits = model(torch.tensor([ids])).logits[0, -1]
                assert torch.isfinite(logits).all()
                entry["logits"] = [round(value, 5) for value in logits.tolist()]
            except Exception as error:  # whatever transformers refuses a setting by
                entry["refused"] = type(error).__name__
                print("refused:", family, name, type(error).__name__, str(error)[:150], file=sys.stderr)
        result.append(entry)
(FIXTURES / "config-kinds.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in result) + "\n]\n")
print(len(result), "kinds")
