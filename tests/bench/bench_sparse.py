#!/usr/bin/env python3
"""Attune and PyTorch's FlexAttention, forward, with masks that leave keys out and scores that are changed, timed against each
other in one process. One JSON line a point and peer. 16 heads of 128, bf16, 16,384 tokens or one sequence; the set is
SPARSE in sets.py: every pattern of `attune`'s --pattern (causal-bottom-right is causal here), ten expressions, and `dense`,
which has neither and which the others' times are held against.

Peers: attune, through its C API, with the kernel its dispatch chooses; flex, torch.compile(flex_attention) with a score_mod
and a block mask of 128 x 128 that was made before, as a CUDA graph, so that Python costs it nothing. Both are checked
against float64 before they are timed, as in bench_forward.py, on the same inputs and values. density is the part of the
128 x 128 blocks in which any key is seen.

Tune first, so that the dispatch has something to choose: build/attune tune --workload bench-sparse
"""
import argparse
import functools

import attune
import gpu
from gpu import torch
from sets import SPARSE

BLOCK = 128


# ---- the set's masks and scores as functions, by name ----

def random_bits(a, b, c):
    """What expressions call random."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA6B + c * 0xC2B2AE35) & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return (x ^ x >> 16) & 0x7FFFFFFF


def one_bit_at_most(x):
    return (x & (x - 1)) == 0


MASKS = {
    "causal": gpu.causal,
    "alibi-causal": gpu.causal,
    "window1023": lambda b, h, q, k: (k <= q) & (q - k <= 1023),
    "window512": lambda b, h, q, k: (q - k).abs() <= 512,
    "prefix": lambda b, h, q, k: (k < 1024) | (k <= q),
    "global": lambda b, h, q, k: (q < 128) | (k < 128),
    "longformer": lambda b, h, q, k: ((q - k).abs() <= 256) | (q < 128) | (k < 128),
    "chunked": lambda b, h, q, k: q // 1024 == k // 1024,
    "strided": lambda b, h, q, k: ((q - k).abs() < 64) | ((q - k) % 64 == 0),
    "dilated": lambda b, h, q, k: ((q - k).abs() <= 256) & ((q - k) % 4 == 0),
    "blocks": lambda b, h, q, k: (q // 128 - k // 128).abs() <= 2,
    "butterfly": lambda b, h, q, k: (((q // 128 - k // 128).abs() <= 1) | (k // 128 == 0)
                                     | one_bit_at_most(q // 128 ^ k // 128)),
}


def bigbird(blocks, device):
    first, second, third = (torch.tensor([random_bits(q, i, 0) % blocks for q in range(blocks)], device=device)
                            for i in range(3))

    def seen(b, h, q, k):
        q, k = q // 128, k // 128
        return ((q - k).abs() <= 1) | (q < 1) | (k < 1) | (k == first[q]) | (k == second[q]) | (k == third[q])

    return seen


def mask_of(point, values, device):
    """None: all keys are seen."""
    doc, prefix = values.get("doc"), values.get("prefix")
    tokens = 1 if doc is None else max(1, point["Sq"] // len(doc))
    if point["name"] == "bigbird":
        return bigbird(point["Sq"] // 128, device)
    return {**MASKS,
            "document": lambda b, h, q, k: doc[q // tokens] == doc[k // tokens],
            "document-causal": lambda b, h, q, k: (doc[q // tokens] == doc[k // tokens]) & (k <= q),
            "prefix-batch": lambda b, h, q, k: (k < prefix[b]) | (k <= q)}.get(point["name"])


def score_of(point, values, bias):
    """None: the score stays."""
    slope, table = values.get("slope"), values.get("table")
    return {"noop": lambda score, b, h, q, k: score,
            "alibi": lambda score, b, h, q, k: score - slope[h] * (q - k).abs(),
            "alibi-causal": lambda score, b, h, q, k: score + slope[h] * (k - q),
            "relative": lambda score, b, h, q, k: score + table[(k - q + 512).clamp(0, 1024)],
            "softcap": lambda score, b, h, q, k: 30 * torch.tanh(score / 30),
            "distance": lambda score, b, h, q, k: score - 0.01 * (q - k).abs(),
            "bias": lambda score, b, h, q, k: score + bias[h, q, k]}.get(point["name"])


def density(seen, batch, seqlen, device):
    """The part of the blocks in which any key is seen, a row of blocks at a time."""
    if seen is None:
        return 1.0
    places = torch.arange(seqlen, device=device)
    kept = sum(seen(b, 0, rows[:, None], places[None, :]).any(0).view(-1, BLOCK).any(1).sum()
               for b in range(batch) for rows in places.split(BLOCK))
    return round(kept.item() / (batch * (seqlen // BLOCK) ** 2), 6)


# ---- peers ----

def problem_fields(point):
    """What the point's mask and score are to Attune."""
    fields = {key: point[key] for key in ("mask_expr", "score_expr") if key in point}
    fields["mask"] = attune.MASK_CAUSAL if point["causal"] else attune.MASK_NONE
    fields["window_left"], fields["window_right"] = point.get("window", (-1, -1))
    if "bias" in point:
        fields.update(want_bias=1, bias=(0, point["Sk"], point["Sq"] * point["Sk"]))
    return fields


def block_mask(point, seen, device):
    from torch.nn.attention.flex_attention import create_block_mask
    if seen is None:
        return None
    batch = point["B"] if "prefix" in point.get("params", {}) else None
    # Without the compiler all pairs of a query and a key lie in memory.
    create = torch.compile(create_block_mask) if point["Sq"] > 16384 else create_block_mask
    return create(seen, batch, None, point["Sq"], point["Sk"], device=device, BLOCK_SIZE=BLOCK)


def flex_peer(point, q, k, v, seen, change):
    from torch.nn.attention.flex_attention import flex_attention
    torch._dynamo.reset()
    torch._dynamo.config.cache_size_limit = 1024
    blocks = block_mask(point, seen, q.device)
    headed = [t.transpose(1, 2).contiguous() for t in (q, k, v)]
    flex = torch.compile(flex_attention, dynamic=False, fullgraph=True)

    def call():
        return flex(*headed, score_mod=change, block_mask=blocks)

    facts = gpu.check_result(q, k, v, call().transpose(1, 2), seen, change)
    return gpu.graphed(call), facts


def bench_point(sink, context, peers, point, budget_s):
    B, H, S, D, dtype = (point[x] for x in ("B", "H", "Sq", "D", "dtype"))
    q, k, v = (torch.randn(B, S, H, D, dtype=getattr(torch, dtype), device="cuda") for _ in range(3))
    values = {name: torch.tensor(value, device="cuda", dtype=torch.float32 if isinstance(value[0], float) else torch.int32)
             for name, value in point.get("params", {}).items()}
    bias = torch.randn(H, S, S, dtype=q.dtype, device="cuda") if "bias" in point else None
    seen, change = mask_of(point, values, q.device), score_of(point, values, bias)
    known = {"attune": functools.partial(gpu.attune_peer, context, problem_fields(point), q, k, v, seen, change,
                                         values, bias),
             "flex": functools.partial(flex_peer, point, q, k, v, seen, change)}
    row = {key: point[key] for key in ("name", "B", "H", "Hk", "Sq", "Sk", "D", "causal", "dtype")}
    gpu.bench_point(sink, dict(set="sparse", **row, density=density(seen, B, S, q.device)),
                    {peer: known[peer] for peer in peers}, budget_s)


def selected(flags, kept):
    """The set's points that the flags leave and that Attune has no row of in kept."""
    known = {(row["name"], row["Sq"]) for row in kept if row.get("peer") == "attune"}
    return [p for p in SPARSE if gpu.chosen(flags.only, p["name"]) and gpu.chosen(flags.seqs, p["Sq"])
            and (p["name"], p["Sq"]) not in known]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="of the set, only these (as butterfly,window1023)")
    parser.add_argument("--seqs", help="of the set, only these seqlens")
    parser.add_argument("--peers", default="attune,flex", help="default: %(default)s")
    gpu.add_flags(parser)
    flags = parser.parse_args()
    names = dict.fromkeys(p["name"] for p in SPARSE)
    for name in flags.only.split(",") if flags.only else []:
        if name not in names:
            parser.error(f"there is no {name}; there are {', '.join(names)}")
    context, sink = gpu.start(flags, "sparse")
    for point in selected(flags, sink.kept):
        bench_point(sink, context, flags.peers.split(","), point, flags.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
