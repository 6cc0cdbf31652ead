"""The bindings against the host device, with nothing but Python: one small causal problem, judged by plain arithmetic."""
import ctypes as C
import math
import random
import struct

import attune


def to_bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def from_bf16(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def aligned(kind, count):
    """count elements at a 64-byte boundary, which ctypes alone does not promise."""
    memory = C.create_string_buffer(count * C.sizeof(kind) + 64)
    array = (kind * count).from_buffer(memory, -C.addressof(memory) % 64)
    return array


def run():
    batch, seqlen, heads, dim = 1, 20, 2, 16
    random.seed(1)
    count = batch * seqlen * heads * dim
    q, k, v, o = (aligned(C.c_uint16, count) for _ in range(4))
    lse = aligned(C.c_float, batch * heads * seqlen)
    for tensor in (q, k, v):
        for i in range(count):
            tensor[i] = to_bf16(random.gauss(0, 1))
    context = attune.Context(attune.load(), "host", ":memory:")
    problem = context.problem(dtype=attune.BF16, head_dim=dim, head_dim_v=dim, batch=batch, heads_q=heads,
                              heads_kv=heads, seqlen_q=seqlen, seqlen_k=seqlen, mask=attune.MASK_CAUSAL, want_lse=1)
    plan = context.plan(problem)
    workspace = aligned(C.c_uint8, plan.workspace) if plan.workspace else None
    plan.bind(*(C.addressof(t) for t in (q, k, v, o, lse)), C.addressof(workspace) if workspace else None)()

    at = lambda tensor, i, h, c: from_bf16(tensor[(i * heads + h) * dim + c])
    error = lse_error = 0.0
    for h in range(heads):
        for i in range(seqlen):
            scores = [sum(at(q, i, h, c) * at(k, j, h, c) for c in range(dim)) / math.sqrt(dim) for j in range(i + 1)]
            top = max(scores)
            weights = [math.exp(s - top) for s in scores]
            total = sum(weights)
            lse_error = max(lse_error, abs(lse[h * seqlen + i] - top - math.log(total)))
            for c in range(dim):
                exact = sum(w * at(v, j, h, c) for j, w in enumerate(weights)) / total
                error = max(error, abs(at(o, i, h, c) - exact))
    print(f"{context.device}: {plan.config}, rung {plan.rung}, error {error:.2g} of O and {lse_error:.2g} of LSE")
    plan.close()
    context.close()
    if not error < 2e-2 or not lse_error < 1e-3:
        raise SystemExit("selftest: the result is wrong, or the structs do not agree with runtime/attune.h")
