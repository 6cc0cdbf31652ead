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

import gpu
from gpu import torch
from patterns import Pattern, check_only
from sets import SPARSE, unrecorded


def flex_peer(pattern, q, k, v):
    call = pattern.flex(*(t.transpose(1, 2).contiguous() for t in (q, k, v)))
    facts = gpu.check_result(q, k, v, call().transpose(1, 2), pattern.seen, pattern.change)
    return gpu.graphed(call), facts


def bench_point(sink, context, peers, point, budget_s):
    B, H, S, D, dtype = (point[x] for x in ("B", "H", "Sq", "D", "dtype"))
    q, k, v = (torch.randn(B, S, H, D, dtype=getattr(torch, dtype), device="cuda") for _ in range(3))
    pattern = Pattern(point)
    known = {"attune": functools.partial(gpu.attune_peer, context, pattern.fields, q, k, v, pattern.seen,
                                         pattern.change, pattern.params, pattern.bias),
             "flex": functools.partial(flex_peer, pattern, q, k, v)}
    gpu.bench_point(sink, dict(set="sparse", **pattern.row()), {peer: known[peer] for peer in peers}, budget_s)


def selected(flags, kept):
    """The set's points that the flags leave and that Attune has no row of in kept."""
    return [p for p in unrecorded(SPARSE, kept)
            if gpu.chosen(flags.only, p["name"]) and gpu.chosen(flags.seqs, p["Sq"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="of the set, only these (as butterfly,window1023)")
    parser.add_argument("--seqs", help="of the set, only these seqlens")
    parser.add_argument("--peers", default="attune,flex", help="default: %(default)s")
    gpu.add_flags(parser)
    flags = parser.parse_args()
    check_only(parser, flags.only, SPARSE)
    context, sink = gpu.start(flags, "sparse")
    for point in selected(flags, sink.kept):
        bench_point(sink, context, flags.peers.split(","), point, flags.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
