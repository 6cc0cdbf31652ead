#!/usr/bin/env python3
"""Attune and PyTorch's attention, forward, timed against each other in one process on the FlashAttention grid: 16,384 tokens,
heads x head_dim = 2,048. One JSON line a point and peer.

Peers: attune, through its C API, with the kernel its dispatch chooses; fa2 and cudnn, PyTorch's FlashAttention-2 and cuDNN
backends; eager, the unfused computation, where its matrices fit in memory. Every peer runs once a round, after the L2 was
cleared; a time is the median of CUDA-event timings. Inputs are drawn from a standard normal; attune's tensors are (batch,
seqlen, heads, head_dim), the others' (batch, heads, seqlen, head_dim), contiguous. Operations are counted as the
FlashAttention papers count them: 4*B*H*Sq*Sk*D, halved when causal. Attune's result is checked against float64 before it is
timed: error is the largest on sampled rows, bound what is allowed.

Tune first, so that the dispatch has something to choose: build/attune tune --workload flash-grid
"""
import argparse
import math
import sys
from pathlib import Path


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
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return call


def bench_point(sink, context, peers, B, H, S, D, causal, dtype, want_lse):
    import torch
    import attune
    import gpu
    point = dict(set="fwd", B=B, H=H, Hk=H, Sq=S, Sk=S, D=D, causal=causal, dtype=str(dtype).split(".")[-1])
    flops = 4.0 * B * H * S * S * D * (0.5 if causal else 1.0)
    q, k, v = (torch.randn(B, S, H, D, dtype=dtype, device="cuda") for _ in range(3))
    calls, facts, plan = {}, {}, None
    headed = None
    for peer in peers:
        try:
            if peer == "attune":
                problem = context.problem(dtype=attune.BF16 if dtype == torch.bfloat16 else attune.FP16, head_dim=D,
                                          head_dim_v=D, batch=B, heads_q=H, heads_kv=H, seqlen_q=S, seqlen_k=S,
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
        samples, load = gpu.time_interleaved(calls)
        for peer, times in samples.items():
            row = gpu.summary(times)
            sink.write(**point, peer=peer, **row, tflops=round(flops / row["ms"] / 1e9, 1), **facts[peer],
                       sm_mhz=load["sm_mhz"], watts=load["watts"])
    if plan is not None:
        plan.close()
    del calls, headed, q, k, v
    torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="64,128,256", help="head dims (default: %(default)s)")
    parser.add_argument("--seqs", default="512,1024,2048,4096,8192,16384", help="seqlens (default: %(default)s)")
    parser.add_argument("--causal", default="both", choices=["0", "1", "both"])
    parser.add_argument("--peers", default="attune,fa2,cudnn,eager", help="default: %(default)s")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16"])
    parser.add_argument("--lse", action="store_true", help="Attune also writes LSE, as the peers do")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--database", help="Attune's store (default: the user's)")
    parser.add_argument("--library", help="default: build/libattune.so")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-forward.jsonl")
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
    sink = gpu.Sink(arguments.out or gpu.results_path("forward"))
    sink.write(**gpu.machine_row(library))
    numbers = lambda text: [int(x) for x in text.split(",")]
    for D in numbers(arguments.dims):
        for S in numbers(arguments.seqs):
            for causal in {"0": [False], "1": [True], "both": [False, True]}[arguments.causal]:
                bench_point(sink, context, arguments.peers.split(","), max(1, arguments.tokens // S),
                            arguments.hidden // D, S, D, causal, getattr(torch, arguments.dtype), int(arguments.lse))
    context.close()


if __name__ == "__main__":
    main()
