#!/usr/bin/env python3
"""Attune and PyTorch's attention, forward, timed against each other in one process. One JSON line a point and peer. Sets:

forward  the FlashAttention grid in bf16: 16,384 tokens, heads x head_dim = 2,048, head_dim 64, 128, 256
fp16     the same in fp16, at seqlen 1k, 4k, 16k
gqa      32 query heads on 8, head_dim 128, causal, 16,384 tokens
dims     head_dim 96 and 192
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
import math
import sys
from pathlib import Path

from sets import SETS


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
    import attune
    import gpu
    point = dict(set="fwd", **where)
    B, H, Hk, S, D, causal, dtype = (where[x] for x in ("B", "H", "Hk", "Sq", "D", "causal", "dtype"))
    dtype = getattr(torch, dtype)
    flops = 4.0 * B * H * S * S * D * (0.5 if causal else 1.0)
    q, k, v = (torch.randn(B, S, heads, D, dtype=dtype, device="cuda") for heads in (H, Hk, Hk))
    calls, facts, plan = {}, {}, None
    headed = None
    for peer in peers:
        try:
            if peer == "attune":
                problem = context.problem(dtype=attune.BF16 if dtype == torch.bfloat16 else attune.FP16, head_dim=D,
                                          head_dim_v=D, batch=B, heads_q=H, heads_kv=Hk, seqlen_q=S, seqlen_k=S,
                                          mask=attune.MASK_CAUSAL if causal else attune.MASK_NONE, want_lse=want_lse)
                plan = context.plan(problem)
                o = torch.full_like(q, float("nan"))
                lse = torch.full((B, H, S), float("nan"), device="cuda") if want_lse else None
                workspace = torch.empty(max(1, plan.workspace), dtype=torch.uint8, device="cuda")
                call = plan.bind(q.data_ptr(), k.data_ptr(), v.data_ptr(), o.data_ptr(),
                                 lse.data_ptr() if want_lse else None, workspace.data_ptr(),
                                 torch.cuda.current_stream().cuda_stream)
                call()
                torch.cuda.synchronize()
                facts[peer] = dict(config=plan.config, rung=plan.rung, **gpu.judge(q, k, v, o, causal, lse))
            else:
                free, _ = torch.cuda.mem_get_info()
                if peer == "eager" and B * H * S * S * q.element_size() * 4 > 0.9 * free:
                    continue
                if headed is None:
                    headed = [t.transpose(1, 2).contiguous() for t in (q, k, v)]
                call = torch_call(peer, *headed, causal)
                call()
                torch.cuda.synchronize()
                facts[peer] = {}
            calls[peer] = call
        except Exception as failure:  # a peer that cannot run a point is a row too
            sink.write(**point, peer=peer, failed=str(failure).strip().split("\n")[0][:200])
    if calls:
        samples, load = gpu.time_interleaved(calls, budget_s)
        for peer, times in samples.items():
            row = gpu.summary(times)
            sink.write(**point, peer=peer, **row, tflops=round(flops / row["ms"] / 1e9, 1), **facts[peer],
                       sm_mhz=load["sm_mhz"], watts=load["watts"])
    if plan is not None:
        plan.close()
    del calls, headed, q, k, v
    torch.cuda.empty_cache()


def selected(arguments, kept):
    """The set's points that the arguments leave and that Attune has no row of in kept."""
    def within(text, value):
        return text is None or value in [int(x) for x in text.split(",")]

    known = [{name: row[name] for name in SETS["forward"][0]} for row in kept if row.get("peer") == "attune"]
    return [p for p in SETS[arguments.set] if within(arguments.dims, p["D"]) and within(arguments.seqs, p["Sq"])
            and arguments.causal in ("both", str(int(p["causal"]))) and p not in known]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="forward", choices=list(SETS), help="default: %(default)s")
    parser.add_argument("--dims", help="of the set, only these head dims (as 64,128)")
    parser.add_argument("--seqs", help="of the set, only these seqlens")
    parser.add_argument("--causal", default="both", choices=["0", "1", "both"])
    parser.add_argument("--append", action="store_true", help="keep the rows recorded already, and skip their points")
    parser.add_argument("--rounds-budget", type=float, default=1.5, metavar="SECONDS",
                        help="of rounds a point (default: %(default)s); twelve rounds are run at least, sixty at most")
    parser.add_argument("--peers", help="default: attune,fa2,cudnn, and eager in the set forward")
    parser.add_argument("--lse", action="store_true", help="Attune also writes LSE, as the peers do")
    parser.add_argument("--database", help="Attune's store (default: the user's)")
    parser.add_argument("--library", help="default: build/libattune.so")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-<set>.jsonl")
    parser.add_argument("--selftest", action="store_true", help="only check the bindings, on the host device, without PyTorch")
    arguments = parser.parse_args()
    if arguments.selftest:
        import selftest
        selftest.run()
        return
    try:
        import torch
    except ImportError:
        sys.exit("bench_forward.py: PyTorch is not installed for this python3; --selftest does without it")
    if not torch.cuda.is_available():
        sys.exit("bench_forward.py: PyTorch sees no GPU; --selftest does without one")
    import attune
    import gpu
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.zeros(1, device="cuda")  # the primary context becomes current, and Attune uses it
    library = attune.load(arguments.library)
    context = attune.Context(library, None, arguments.database)
    peers = (arguments.peers or "attune,fa2,cudnn" + (",eager" if arguments.set == "forward" else "")).split(",")
    sink = gpu.Sink(arguments.out or gpu.results_path(arguments.set), arguments.append)
    machine = gpu.machine_row(library)
    others = {row["gpu"] for row in sink.kept if row["set"] == "machine"} - {machine["gpu"]}
    if others:
        sys.exit(f"bench_forward.py: the rows there are of {', '.join(others)}, not of {machine['gpu']}; leave --append out")
    sink.write(**machine)
    for where in selected(arguments, sink.kept):
        bench_point(sink, context, peers, where, int(arguments.lse), arguments.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
