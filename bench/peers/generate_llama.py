"""llama.cpp's side of the generation benchmark. It speaks the protocol of generate-hornbook.ts.

    generate_llama.py MODEL.gguf THREADS

Needs llama-cpp-python, built for this machine (pip builds it from source).
"""

import json
import resource
import sys
import time

import llama_cpp
from llama_cpp import Llama

path, threads = sys.argv[1], int(sys.argv[2])
prompt, repeats, sequences = 512, 32, 8


def ids(count, start=0):
    return [100 + (start + i) * 37 % 5000 for i in range(count)]


class Batched:
    """Eight sequences in one context; their prompts are read once, and every turn goes on after them."""

    def __init__(self, model):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = sequences * 1024
        parameters.n_batch = parameters.n_ubatch = prompt
        parameters.n_seq_max = sequences
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(model, parameters)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(prompt, 0, sequences)
        for row in range(sequences):
            self.decode([(id, i, row, i == prompt - 1) for i, id in enumerate(ids(prompt, 100 * row))])

    def decode(self, tokens):
        """Runs (id, position, sequence, whether its logits are wanted) of each token."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, (id, position, row, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = id, position, wanted
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = row
        if llama_cpp.llama_decode(self.context, batch) != 0:
            sys.exit("llama_decode failed")
        return [llama_cpp.llama_get_logits_ith(self.context, i) for i, token in enumerate(tokens) if token[3]]

    def turn(self):
        for row in range(sequences):
            llama_cpp.llama_memory_seq_rm(self.memory, row, prompt, -1)
        clock, busy = time.perf_counter(), time.process_time()
        for step in range(repeats):
            self.decode([(7 + step + row, prompt + step, row, True) for row in range(sequences)])
        count = sequences * repeats
        return count / (time.perf_counter() - clock), count / (time.process_time() - busy)


began = time.perf_counter()
model = Llama(path, n_ctx=1024, n_batch=prompt, n_ubatch=prompt, n_threads=threads, n_threads_batch=threads, verbose=False)
model.eval([1])
first = time.perf_counter() - began
print(json.dumps({"ready": True, "firstTokenMs": 1000 * first}), flush=True)

batched = None
for line in sys.stdin:
    model.reset()
    clock, busy = time.perf_counter(), time.process_time()
    model.eval(ids(prompt))
    prefill, prefill_busy = time.perf_counter() - clock, time.process_time() - busy
    clock, busy = time.perf_counter(), time.process_time()
    for i in range(repeats):
        model.eval([7 + i])
    decode, decode_busy = time.perf_counter() - clock, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    batched = batched or Batched(model._model.model)
    together, together_of_processor = batched.turn()
    print(json.dumps({
        "prefill": prompt / prefill, "decode": repeats / decode, "batched": together,
        "prefillOfProcessor": prompt / prefill_busy, "decodeOfProcessor": repeats / decode_busy, "batchedOfProcessor": together_of_processor,
        "peakRssBytes": peak,
    }), flush=True)
