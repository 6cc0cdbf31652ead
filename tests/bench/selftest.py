"""The bindings against the simulator, with nothing but Python: small problems, compared with plain arithmetic."""
import ctypes as C
import math
import random
import struct

import attune
import check_figures

BATCH, SEQLEN, HEADS, DIM = 1, 20, 2, 16


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


def filled(kind, values):
    values = list(values)
    array = aligned(kind, len(values))
    array[:] = values
    return array


def drawn(count):
    return filled(C.c_uint16, (to_bf16(random.gauss(0, 1)) for _ in range(count)))


def element(tensor, i, h, c):
    return from_bf16(tensor[(i * HEADS + h) * DIM + c])


def errors(tensors, lse, seen, change, sink):
    """The largest of O and of LSE. seen(i, j): query i sees key j; change(score, h, i, j): what becomes of its score."""
    q, k, v, o = tensors
    error = lse_error = 0.0
    for h in range(HEADS):
        for i in range(SEQLEN):
            dot = lambda j: sum(element(q, i, h, c) * element(k, j, h, c) for c in range(DIM)) / math.sqrt(DIM)
            scores = {j: change(dot(j), h, i, j) for j in range(SEQLEN) if seen(i, j)}
            total = sum(math.exp(s) for s in scores.values()) + (math.exp(sink[h]) if sink else 0)
            lse_error = max(lse_error, abs(lse[h * SEQLEN + i] - math.log(total)))
            for c in range(DIM):
                exact = sum(math.exp(s) * element(v, j, h, c) for j, s in scores.items()) / total
                error = max(error, abs(element(o, i, h, c) - exact))
    return error, lse_error


def built_mask(context, block, seen):
    """A mask of the blocks in which seen(row, column), built from a mask; and what has to live as long as it does."""
    across = -(-SEQLEN // block)
    mask = filled(C.c_uint8, (seen(r, c) for r in range(across) for c in range(across)))
    words = [aligned(C.c_int32, count) for count in (across + 1, across * across, across, across)]
    rows, blocks, order, workspace = map(C.addressof, words)
    block_mask = attune.BlockMask(1, 1, rows, blocks, across * across, order)
    builder = context.builder(context.problem(seqlen_q=SEQLEN, seqlen_k=SEQLEN, batch=BATCH, heads_q=HEADS, heads_kv=HEADS,
                                            block_size=block))
    builder.bind(block_mask, workspace, attune.OF_MASK, C.addressof(mask))()
    builder.check(block_mask)
    return block_mask, (words, mask)


def check(context, title, seen, change=lambda score, h, i, j: score, values=None, added=None, sinks=None, block_mask=None,
          **problem):
    """added: the bias tensor; the rest of problem are the fields that say to Attune what seen and change say here."""
    count = BATCH * SEQLEN * HEADS * DIM
    tensors = [*(drawn(count) for _ in range(3)), aligned(C.c_uint16, count)]
    lse = aligned(C.c_float, BATCH * HEADS * SEQLEN)
    plan = context.plan(context.problem(dtype=attune.BF16, head_dim=DIM, head_dim_v=DIM, batch=BATCH, heads_q=HEADS,
                                        heads_kv=HEADS, seqlen_q=SEQLEN, seqlen_k=SEQLEN, want_lse=1, **problem))
    workspace = aligned(C.c_uint8, plan.workspace) if plan.workspace else None
    address = lambda array: C.addressof(array) if array else None
    plan.bind(*map(address, (*tensors, lse, workspace)), values=values, bias=address(added), sinks=address(sinks),
              block_mask=block_mask)()
    error, lse_error = errors(tensors, lse, seen, change, sinks)
    print(f"{context.device}, {title}: {plan.config}, source {plan.source}, error {error:.2g} of O and {lse_error:.2g} of LSE")
    plan.close()
    if not error < 2e-2 or not lse_error < 1e-3:
        raise SystemExit("selftest: the result is wrong, or the structs do not agree with runtime/attune.h")


def check_backward(context):
    """dV of a causal problem, against P^T dO."""
    count = BATCH * SEQLEN * HEADS * DIM
    q, k, v, d_o = (drawn(count) for _ in range(4))
    o, dq, dk, dv = (aligned(C.c_uint16, count) for _ in range(4))
    lse = aligned(C.c_float, BATCH * HEADS * SEQLEN)
    fields = dict(dtype=attune.BF16, head_dim=DIM, head_dim_v=DIM, batch=BATCH, heads_q=HEADS, heads_kv=HEADS,
                  seqlen_q=SEQLEN, seqlen_k=SEQLEN, mask=attune.MASK_CAUSAL)
    forward = context.plan(context.problem(want_lse=1, **fields))
    backward = context.plan(context.problem(operation=attune.BACKWARD, **fields))
    workspace = aligned(C.c_uint8, backward.workspace + 64)
    forward.bind(*map(C.addressof, (q, k, v, o, lse, workspace)))()
    backward.bind(*map(C.addressof, (q, k, v, o, lse, workspace)), gradients=[C.addressof(t) for t in (d_o, dq, dk, dv)])()
    error = 0.0
    for h in range(HEADS):
        for j in range(SEQLEN):
            p = [math.exp(sum(element(q, i, h, c) * element(k, j, h, c) for c in range(DIM)) / math.sqrt(DIM)
                          - lse[h * SEQLEN + i]) if j <= i else 0 for i in range(SEQLEN)]
            for c in range(DIM):
                error = max(error, abs(element(dv, j, h, c) - sum(p[i] * element(d_o, i, h, c) for i in range(SEQLEN))))
    print(f"{context.device}, backward: {backward.config}, source {backward.source}, error {error:.2g} of dV")
    if not error < 5e-2:
        raise SystemExit("selftest: dV is wrong, or the structs do not agree with runtime/attune.h")


def check_passes():
    """A figure that was measured as less than nothing, or not at all, passes no limit."""
    for value, passed in ((1.5, True), (0, True), (2.5, False), (-0.678, False), (None, False)):
        if check_figures.passes(value, "<=", 2) != passed:
            raise SystemExit(f"selftest: {value} <= 2 must {'' if passed else 'not '}pass")


def run():
    check_passes()
    random.seed(1)
    context = attune.Context(attune.load(), "host", ":memory:")
    check(context, "causal", lambda i, j: j <= i, mask=attune.MASK_CAUSAL)
    slope = filled(C.c_float, [0.25, 0.0625])
    check(context, "expressions", lambda i, j: abs(i - j) <= 3 or j // 4 == 0,
          lambda score, h, i, j: 0.5 * score + slope[h] * (j - i), mask_expr="abs(q - k) <= reach || k / 4 == 0",
          score_expr="half * score + slope[head] * (k - q)", params=dict(reach="int", half="float", slope="float[]"),
          values=dict(reach=3, half=0.5, slope=(C.addressof(slope), len(slope))))
    bias = drawn(HEADS * SEQLEN * SEQLEN)
    check(context, "bias and sinks", lambda i, j: True,
          lambda score, h, i, j: score + from_bf16(bias[(h * SEQLEN + i) * SEQLEN + j]), score_expr="score + bias",
          want_bias=1, bias=(0, SEQLEN, SEQLEN * SEQLEN), want_sinks=1, added=bias, sinks=filled(C.c_float, [0.5, -1.0]))
    block_mask, memory = built_mask(context, 16, lambda r, c: r == c)
    check(context, "block mask", lambda i, j: i // 16 == j // 16, block_mask=block_mask, block_size=16)
    del memory
    check_backward(context)
    context.close()
