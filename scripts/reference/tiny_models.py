"""
Makes test/fixtures/tiny-gpt2 and test/fixtures/tiny-llama: tiny random models as Hugging Face transformers writes them, each with
`expected.json`, what transformers and PyTorch compute from them in float32:

    inputIds [2, 17], logits [2, 17, 61], greedy [2, 12] (continuations), and `training`: the losses and gradient norms (before clipping) of
    10 AdamW steps on `batches` [10, 3, 21] (inputs are tokens 0..19 of each row, targets tokens 1..20; the loss is the mean over all 60).

The dimensions differ from each other and the weights are large, biases and norms random too, so that a wrong axis or a forgotten term
shows. Each result is computed in float64 as well; the script refuses to write numbers that float32 alone would leave in doubt.

Run from the repository root, with torch 2 and transformers 5 (bench/peers/requirements.txt):  python scripts/reference/tiny_models.py
"""

import copy
import json
import shutil
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCAB, HIDDEN, HEADS, LAYERS, CONTEXT = 61, 24, 4, 3, 40
OPTIMIZER = {"learningRate": 3e-3, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clipNorm": 1.0, "steps": 10}
ROOT = Path(__file__).resolve().parents[2] / "test" / "fixtures"


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB, n_embd=HIDDEN, n_head=HEADS, n_layer=LAYERS, n_positions=CONTEXT, bos_token_id=0, eos_token_id=0,
            embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, attn_implementation="eager",
        )
    )


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=44, num_attention_heads=HEADS, num_key_value_heads=2,
            num_hidden_layers=LAYERS, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0,
            tie_word_embeddings=False, attn_implementation="eager",
        )
    )


def randomise(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm_gain = parameter.ndim == 1 and name.endswith("weight")
            std = 0.5 if "embed" in name or "wte" in name or "wpe" in name else 0.3
            parameter.normal_(mean=1.0 if norm_gain else 0.0, std=std)


def greedy(model, ids, count):
    """The continuation and the smallest lead of a chosen token over the runner-up."""
    start, lead = ids.shape[1], float("inf")
    for _ in range(count):
        best = model(ids).logits[:, -1].topk(2)
        lead = min(lead, (best.values[:, 0] - best.values[:, 1]).min().item())
        ids = torch.cat([ids, best.indices[:, :1]], dim=1)
    return ids[:, start:], lead


def train(model, batches):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    o = OPTIMIZER
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": o["weightDecay"]}, {"params": vectors, "weight_decay": 0.0}],
        lr=o["learningRate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"], foreach=False, fused=False,
    )
    losses, norms = [], []
    model.train()
    for tokens in batches:
        logits = model(tokens[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), o["clipNorm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def apart(a, b):
    return (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)).abs().max().item()


def write(name, make, seed):
    torch.manual_seed(seed)
    model = make().float().eval()
    randomise(model)
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)

    ids = torch.randint(VOCAB, (2, 17))
    batches = torch.randint(VOCAB, (OPTIMIZER["steps"], 3, 21))
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        logits = model(ids).logits
        continuation, lead = greedy(model, ids, 12)
        logits_apart = apart(logits, exact(ids).logits)
    losses, norms = train(model, batches)
    exact_losses, _ = train(exact, batches)
    losses_apart = apart(losses, exact_losses)
    print(f"{name}: logits up to {logits.abs().max():.2f}; float32 is off by {logits_apart:.1e}, the losses by {losses_apart:.1e}; greedy lead {lead:.3f}")
    print("  losses", [round(loss, 4) for loss in losses], "norms", [round(norm, 2) for norm in norms])
    assert logits_apart < 2e-5 and losses_apart < 1e-5 and lead > 0.02, "too close to call in float32: choose another seed"

    expected = {
        "inputIds": ids.tolist(),
        "logits": [[[float(f"{x:.9g}") for x in row] for row in rows] for rows in logits.tolist()],
        "greedy": continuation.tolist(),
        "training": {**OPTIMIZER, "batches": batches.tolist(), "losses": losses, "gradientNorms": norms},
    }
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print("  bytes", {path.name: path.stat().st_size for path in sorted(folder.iterdir())})


if __name__ == "__main__":
    torch.set_num_threads(1)
    write("tiny-gpt2", gpt2, seed=1)
    write("tiny-llama", llama, seed=1)
