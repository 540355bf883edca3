"""llama.cpp's side of the generation benchmark. It speaks the protocol of generate-inkling.ts.

    generate_llama.py MODEL.gguf THREADS

Needs llama-cpp-python, built for this machine (pip builds it from source).
"""

import json
import resource
import sys
import time

from llama_cpp import Llama

path, threads = sys.argv[1], int(sys.argv[2])
prompt, repeats = 512, 32


def ids(count):
    return [100 + i * 37 % 5000 for i in range(count)]


began = time.perf_counter()
model = Llama(path, n_ctx=1024, n_batch=prompt, n_ubatch=prompt, n_threads=threads, n_threads_batch=threads, verbose=False)
model.eval([1])
first = time.perf_counter() - began
print(json.dumps({"ready": True, "firstTokenMs": 1000 * first}), flush=True)

for line in sys.stdin:
    model.reset()
    clock, busy = time.perf_counter(), time.process_time()
    model.eval(ids(prompt))
    prefill, prefill_busy = time.perf_counter() - clock, time.process_time() - busy
    clock, busy = time.perf_counter(), time.process_time()
    for i in range(repeats):
        model.eval([7 + i])
    decode, decode_busy = time.perf_counter() - clock, time.process_time() - busy
    print(json.dumps({
        "prefill": prompt / prefill, "decode": repeats / decode,
        "prefillOfProcessor": prompt / prefill_busy, "decodeOfProcessor": repeats / decode_busy,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }), flush=True)
