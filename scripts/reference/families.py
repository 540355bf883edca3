"""
Makes test/fixtures/families/NAME for every family of models that Hornbook reads: a tiny random model as Hugging Face transformers writes it
(weights in bf16), with `expected.json`, what transformers and PyTorch compute from these weights in float32:

    ids [2, 19], logits [2, 19, vocab] (base64 of little-endian float32), prompts (the first row, and the beginning of the second), greedy [2, 24]
    (their continuations), and training: losses and gradient norms (before clipping) of 6 AdamW steps on one batch of rows
    (inputs are all tokens of a row but the last, targets all but the first; the loss is the mean over all targets).

The dimensions differ from each other, windows and pretraining contexts are shorter than the texts, and weights are large, biases and norms
random too, so that a wrong axis or a forgotten term shows. Each result is computed in float64 as well; a seed whose numbers float32 alone
would leave in doubt is passed over. The continuations are computed without a cache: each token from its whole text.

Run from the repository root, with torch 2 and transformers 5 (bench/peers/requirements.txt):

    python scripts/reference/families.py [NAME...]        # all, or these
"""

import base64
import copy
import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, logging

ROOT = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "families"
OPTIMIZER = {"learningRate": 3e-3, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clipNorm": 1.0, "steps": 6}

ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
SIZES = {"vocab_size": 41, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 6, **ENDS}
LLAMA = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 29, "max_position_embeddings": 64, "rms_norm_eps": 1e-3, "tie_word_embeddings": False}
WIDE = {**LLAMA, "head_dim": 10}
EVEN = {**LLAMA, "hidden_size": 32, "num_attention_heads": 4}  # for those whose heads are hidden_size / num_attention_heads wide
COHERE = {**{k: v for k, v in LLAMA.items() if k not in ("rms_norm_eps", "tie_word_embeddings")}, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 23, "layer_norm_eps": 1e-3, "logit_scale": 0.3}
GEMMA = {**LLAMA, "head_dim": 6, "tie_word_embeddings": True, "query_pre_attn_scalar": 17, "sliding_window": 7, "num_hidden_layers": 4}
FALCON = {**SIZES, "hidden_size": 30, "num_attention_heads": 5, "layer_norm_epsilon": 1e-3, "ffn_hidden_size": 31, "max_position_embeddings": 64}


def rope(kind, **parameters):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0, **parameters}}


FAMILIES = {
    "gpt2": {"vocab_size": 41, "n_embd": 24, "n_head": 3, "n_layer": 3, "n_inner": 29, "n_positions": 64, "layer_norm_epsilon": 1e-3, **ENDS},
    "llama": {**LLAMA},
    # Everything that a Llama may have besides: a tied head, biases, heads that are not hidden_size / num_attention_heads wide.
    "llama-bias": {**WIDE, "attention_bias": True, "tie_word_embeddings": True},
    "llama-linear": {**WIDE, **rope("linear", factor=3.5)},
    "llama-dynamic": {**WIDE, "max_position_embeddings": 13, **rope("dynamic", factor=5.0)},
    "llama-yarn": {**WIDE, **rope("yarn", factor=4.5, original_max_position_embeddings=14, beta_fast=4.0, beta_slow=0.5)},
    "llama-llama3": {**WIDE, **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=14)},
    "mistral": {**WIDE, "sliding_window": 7},
    "ministral": {**WIDE, "sliding_window": 7, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    "qwen2": {**EVEN, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1, "tie_word_embeddings": True},
    "qwen3": {**WIDE},
    "gemma2": {**GEMMA, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    "gemma3": {
        **GEMMA, "num_hidden_layers": 5, "sliding_window_pattern": 3,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 3.0, "rope_theta": 40000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        },
    },
    "phi3": {**EVEN, "sliding_window": 7, "original_max_position_embeddings": 64},
    "phi3-longrope": {
        **EVEN, "original_max_position_embeddings": 15,
        **rope("longrope", partial_rotary_factor=0.75, short_factor=[1.0, 1.2, 1.5], long_factor=[1.1, 2.3, 6.5]),
    },
    "smollm3": {**EVEN, "num_hidden_layers": 4, "no_rope_layer_interval": 3, "tie_word_embeddings": True},
    "olmo2": {**EVEN},
    "granite": {**EVEN, "embedding_multiplier": 1.7, "residual_multiplier": 0.6, "attention_multiplier": 0.3, "logits_scaling": 2.5, "tie_word_embeddings": True},
    "cohere": {**COHERE},
    "cohere-qknorm": {**COHERE, "use_qk_norm": True},
    "cohere2": {**COHERE, "num_hidden_layers": 5, "sliding_window": 7, "sliding_window_pattern": 3},
    "gpt_neox": {
        **SIZES, "hidden_size": 30, "num_attention_heads": 3, "intermediate_size": 29, "max_position_embeddings": 64, "layer_norm_eps": 1e-3,
        **rope("default", partial_rotary_factor=0.6),
    },
    "gpt_neox-sequential": {**SIZES, "intermediate_size": 29, "max_position_embeddings": 64, "layer_norm_eps": 1e-3, "use_parallel_residual": False, "attention_bias": False, **rope("default", partial_rotary_factor=1.0)},
    "falcon-7b": {**FALCON, "multi_query": True, "parallel_attn": True},
    "falcon-40b": {**FALCON, "hidden_size": 36, "num_attention_heads": 6, "num_kv_heads": 2, "new_decoder_architecture": True, "bias": True},
    # transformers rounds the slopes and the biases to bfloat16 here; with four heads and a short text both are exact.
    "falcon-rw": {**FALCON, "hidden_size": 24, "num_attention_heads": 4, "multi_query": False, "parallel_attn": False, "alibi": True, "bias": True},
    "bloom": {"vocab_size": 41, "hidden_size": 24, "n_head": 6, "n_layer": 3, "layer_norm_epsilon": 1e-3, "seq_length": 64, **ENDS},
}
MODEL_TYPES = {"gemma3": "gemma3_text"}
# transformers' eager attention adds Falcon's ALiBi twice, once with the mask; sdpa, which it runs by default, adds it once.
ATTENTION = {"falcon-rw": "sdpa"}


def randomise(model):
    """Values that bfloat16 holds, so that the file is small and exact."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = "norm" in name.lower() or ".ln_" in name
            offset = 0.0 if "Gemma" in type(model).__name__ else 1.0
            std = 0.5 if "embed" in name or "wte" in name or "wpe" in name else 0.3
            parameter.normal_(mean=offset if is_gain and name.endswith("weight") else 0.0, std=std)
            parameter.copy_(parameter.bfloat16().float())


def fresh(model):
    """A copy: RoPE that depends on the length keeps what it computed for the longest text so far."""
    return copy.deepcopy(model)


def greedy(model, prompt, count):
    """The continuation and the smallest lead of a chosen token over the runner-up."""
    ids, lead = torch.tensor([prompt]), float("inf")
    for _ in range(count):
        best = model(ids, use_cache=False).logits[0, -1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        ids = torch.cat([ids, best.indices[None, :1]], dim=1)
    return ids[0, len(prompt):].tolist(), lead


def train(model, tokens):
    o = OPTIMIZER
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": o["weightDecay"]}, {"params": vectors, "weight_decay": 0.0}],
        lr=o["learningRate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"], foreach=False, fused=False,
    )
    losses, norms = [], []
    model.train()
    for _ in range(o["steps"]):
        logits = model(tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), o["clipNorm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def apart(a, b):
    return (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)).abs().max().item()


def make(name, seed):
    """The model and what is expected of it, or why this seed will not do."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(MODEL_TYPES.get(name, name.split("-")[0]), **FAMILIES[name])
    for rate in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "attention_dropout", "hidden_dropout"):
        if hasattr(config, rate):
            setattr(config, rate, 0.0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION.get(name, "eager")).float().eval()
    randomise(model)
    exact = copy.deepcopy(model).double()

    ids = torch.randint(3, config.vocab_size, (2, 19))
    prompts = [ids[0].tolist(), ids[1, :11].tolist()]
    batch = torch.randint(3, config.vocab_size, (2, 18))
    with torch.no_grad():
        logits = fresh(model)(ids).logits
        logits_apart = apart(logits, fresh(exact)(ids).logits)
        continuations = [greedy(fresh(model), prompt, 24) for prompt in prompts]
    losses, norms = train(fresh(model), batch)
    exact_losses, _ = train(fresh(exact), batch)
    losses_apart, lead = apart(losses, exact_losses), min(lead for _, lead in continuations)
    print(f"{name}, seed {seed}: logits up to {logits.abs().max():.2f}; float32 is off by {logits_apart:.1e}, the losses by {losses_apart:.1e}; greedy lead {lead:.3f}")
    if not (logits_apart < 2e-5 and losses_apart < 1e-5 and lead > 0.005):
        return None
    return model, {
        "ids": ids.tolist(),
        "logits": base64.b64encode(logits.numpy().astype("<f4").tobytes()).decode(),
        "prompts": prompts,
        "greedy": [continuation for continuation, _ in continuations],
        "training": {**OPTIMIZER, "batch": batch.tolist(), "losses": losses, "gradientNorms": norms},
    }


def write(name):
    model, expected = next(made for seed in range(1, 200) if (made := make(name, seed)) is not None)
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.bfloat16().save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print("  losses", [round(loss, 4) for loss in expected["training"]["losses"]], "norms", [round(norm, 2) for norm in expected["training"]["gradientNorms"]])
    print("  bytes", {path.name: path.stat().st_size for path in sorted(folder.iterdir())})


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FAMILIES:
        write(name)
