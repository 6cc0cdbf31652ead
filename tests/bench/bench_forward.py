#!/usr/bin/env python3
"""Attune and PyTorch's attention, forward, timed against each other in one process. One JSON line a point and peer. Sets:

forward  the FlashAttention grid in bf16: 16,384 tokens, heads x head_dim = 2,048, head_dim 64, 128, 256
fp16     the same in fp16, at seqlen 1k, 4k, 16k
gqa      32 query heads on 8, head_dim 128, causal, 16,384 tokens
dims     head_dim 96 and 192
decode   one query of 32 heads on 2,048 to 65,536 keys of 8 heads, head_dim 128: gbps is what K and V have over the time
ragged   seqlens that no tile divides, batch 1 to 32, 16 heads of 64 and 128

Peers: attune, through its C API, with the kernel its dispatch chooses; fa2 and cudnn, PyTorch's FlashAttention-2 and cuDNN
backends; in the set forward also eager, the unfused computation, where its matrices fit in memory. Every peer runs once a
round, after the L2 was cleared; a time is the median of CUDA-event timings. Inputs are drawn from a standard normal;
attune's tensors are (batch, seqlen, heads, head_dim), the others' (batch, heads, seqlen, head_dim), contiguous. Operations
are counted as the FlashAttention papers count them: 4*B*H*Sq*Sk*D, halved when causal. Attune's result is checked against
float64 before it is timed: error is the largest on sampled rows, bound what is allowed.

Tune first, so that the dispatch has something to choose: build/attune tune --workload flash-grid, or bench-SET for the others.
"""
import argparse
import functools
import math

import attune
import gpu
from sets import SETS, unrecorded


def torch_call(peer, q, k, v, causal):
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
    if peer == "eager":
        scale = 1.0 / math.sqrt(q.shape[-1])
        bias = None
        if causal:
            bias = torch.full((q.shape[2], k.shape[2]), float("-inf"), dtype=q.dtype, device=q.device).triu_(1)

        def call():
            s = torch.matmul(q, k.transpose(-1, -2)) * scale
            return torch.matmul(torch.softmax(s if bias is None else s + bias, dim=-1), v)
        return call
    backend = {"fa2": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}[peer]

    def call():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])
    return call


def bench_point(sink, context, peers, where, want_lse, budget_s):
    import torch
    B, H, Hk, Sq, Sk, D, causal, dtype = (where[x] for x in ("B", "H", "Hk", "Sq", "Sk", "D", "causal", "dtype"))
    q, k, v = (torch.randn(B, S, heads, D, dtype=getattr(torch, dtype), device="cuda")
               for S, heads in ((Sq, H), (Sk, Hk), (Sk, Hk)))
    headed = []

    def ours():
        fields = dict(mask=attune.MASK_CAUSAL if causal else attune.MASK_NONE, want_lse=want_lse)
        return gpu.attune_peer(context, fields, q, k, v, gpu.causal if causal else None)

    def theirs(peer):
        free, _ = torch.cuda.mem_get_info()
        if peer == "eager" and B * H * Sq * Sk * q.element_size() * 4 > 0.9 * free:
            return None
        if not headed:
            headed.extend(t.transpose(1, 2).contiguous() for t in (q, k, v))
        call = torch_call(peer, *headed, causal)
        call()
        return call, {}

    prepare = {peer: ours if peer == "attune" else functools.partial(theirs, peer) for peer in peers}
    gpu.bench_point(sink, dict(set="fwd", **where), prepare, budget_s, 4.0 * B * H * Sq * Sk * D * (0.5 if causal else 1.0),
                    k.nbytes + v.nbytes if Sq == 1 else None)


def selected(flags, kept):
    """The set's points that the flags leave and that Attune has no row of in kept."""
    return [p for p in unrecorded(SETS[flags.set], kept) if gpu.chosen(flags.dims, p["D"])
            and gpu.chosen(flags.seqs, p["Sq"]) and flags.causal in ("both", str(int(p["causal"])))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="forward", choices=list(SETS), help="default: %(default)s")
    parser.add_argument("--dims", help="of the set, only these head dims (as 64,128)")
    parser.add_argument("--seqs", help="of the set, only these seqlens")
    parser.add_argument("--causal", default="both", choices=["0", "1", "both"])
    parser.add_argument("--peers", help="default: attune,fa2,cudnn, and eager in the set forward")
    parser.add_argument("--lse", action="store_true", help="Attune also writes LSE, as the peers do")
    parser.add_argument("--selftest", action="store_true", help="only check the bindings, on the simulator, without PyTorch")
    gpu.add_flags(parser)
    flags = parser.parse_args()
    if flags.selftest:
        import selftest
        selftest.run()
        return
    context, sink = gpu.start(flags, flags.set)
    peers = (flags.peers or "attune,fa2,cudnn" + (",eager" if flags.set == "forward" else "")).split(",")
    for where in selected(flags, sink.kept):
        bench_point(sink, context, peers, where, int(flags.lse), flags.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
