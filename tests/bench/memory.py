#!/usr/bin/env python3
"""Device memory that a forward run takes beyond its inputs and O, of Attune and of PyTorch's FlashAttention-2, up to seqlen
65,536. Attune's is what the driver has less after the run than before it, plus the LSE and the workspace, which the caller
owns; PyTorch's is its allocator's peak. One JSON line a point. Every result is checked against float64."""
import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import attune
import gpu


def attune_point(context, B, H, S, D, causal):
    q, k, v = (torch.randn(B, S, H, D, dtype=torch.bfloat16, device="cuda") for _ in range(3))
    o = torch.full_like(q, float("nan"))
    lse = torch.full((B, H, S), float("nan"), device="cuda")
    before_plan, _ = torch.cuda.mem_get_info()
    plan = context.plan(context.problem(
        dtype=attune.BF16, head_dim=D, head_dim_v=D, batch=B, heads_q=H, heads_kv=H, seqlen_q=S, seqlen_k=S,
        mask=attune.MASK_CAUSAL if causal else attune.MASK_NONE, want_lse=1))
    workspace = torch.empty(max(1, plan.workspace), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    before_run, _ = torch.cuda.mem_get_info()
    plan.bind(q.data_ptr(), k.data_ptr(), v.data_ptr(), o.data_ptr(), lse.data_ptr(), workspace.data_ptr(),
              torch.cuda.current_stream().cuda_stream)()
    torch.cuda.synchronize()
    after_run, _ = torch.cuda.mem_get_info()
    row = dict(lse_bytes=lse.nbytes, workspace_bytes=plan.workspace, run_bytes=before_run - after_run,
               plan_bytes=before_plan - before_run, extra_bytes=lse.nbytes + plan.workspace + before_run - after_run,
               config=plan.config, source=plan.source)
    plan.close()
    row.update(gpu.check_result(q, k, v, o, gpu.causal if causal else None, lse=lse))
    return row


def fa2_point(B, H, S, D, causal):
    q, k, v = (torch.randn(B, H, S, D, dtype=torch.bfloat16, device="cuda") for _ in range(3))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        o = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.cuda.synchronize()
    return dict(lse_bytes=B * H * S * 4, extra_bytes=torch.cuda.max_memory_allocated() - before - o.nbytes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seqs", default="4096,16384,65536")
    parser.add_argument("--dims", default="64,128,256")
    parser.add_argument("--database", help="Attune's store (default: the user's)")
    parser.add_argument("--library", help="default: build/libattune.so")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-memory.jsonl")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("memory.py: PyTorch sees no GPU")
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.zeros(1, device="cuda")
    library = attune.load(arguments.library)
    context = attune.Context(library, None, arguments.database)
    sink = gpu.Sink(arguments.out or gpu.results_path("memory"))
    sink.write(**gpu.machine_row(library))
    for D in (int(x) for x in arguments.dims.split(",")):
        for S in (int(x) for x in arguments.seqs.split(",")):
            for causal in (False, True):
                B, H = max(1, 16384 // S), 2048 // D
                for peer, measure in (("attune", lambda *point: attune_point(context, *point)), ("fa2", fa2_point)):
                    row = dict(set="memory", peer=peer, B=B, H=H, Hk=H, Sq=S, Sk=S, D=D, causal=causal, dtype="bfloat16")
                    try:
                        sink.write(**row, **measure(B, H, S, D, causal))
                    except Exception as failure:
                        sink.write(**row, failed=str(failure).strip().split("\n")[0][:200])
                    torch.cuda.empty_cache()
    context.close()


if __name__ == "__main__":
    main()
