#!/usr/bin/env python3
"""Times what builds block masks on the device, from each source, and attention over block masks beside the same pattern by formula.

Every build is checked before it is timed: by the checker, and against what PyTorch makes of the same mask. Attention over
block masks must give what the formula gives. Tune for it first:

    build/attune tune --workload bench-sparse
    build/attune tune --head-dim 128 --heads-q 16 --seqlen-q 65536 --density 0.0234      (and --seqlen-q 16384 --density 0.0728)
    python3 tests/bench/bench_block_mask.py
"""
import argparse

import attune
import gpu
from sets import MASKS

try:
    import torch
except ImportError:
    torch = None

BLOCK, DIM, HEADS = 128, 128, 16
SIZES = [(65536, 1), (65536, 16), (1 << 20, 1)]  # seqlen, heads of the mask


def butterfly():
    return MASKS["butterfly"]["mask_expr"]


def kept_blocks(seqlen):
    """The butterfly's blocks as a mask (1, 1, rows, columns), made by its rule: neighbours, the first column, numbers that
    differ in one bit."""
    row = torch.arange(seqlen // BLOCK, device="cuda")[:, None]
    column = row.T
    differ = row ^ column
    return ((row - column).abs() <= 1) | (column == 0) | ((differ & (differ - 1)) == 0)


class Buffers:
    """Memory for a mask of so many blocks."""

    def __init__(self, seqlen, heads, capacity):
        words = lambda count: torch.full((max(count, 1),), -1, dtype=torch.int32, device="cuda")
        rows = heads * seqlen // BLOCK
        self.rows, self.blocks, self.order = words(rows + 1), words(capacity), words(rows)
        self.view = attune.BlockMask(1, heads, self.rows.data_ptr(), self.blocks.data_ptr(), capacity,
                                      self.order.data_ptr())


def problem(context, seqlen, heads, **fields):
    return context.problem(dtype=attune.BF16, head_dim=DIM, head_dim_v=DIM, heads_q=heads, heads_kv=heads, seqlen_q=seqlen,
                           seqlen_k=seqlen, block_size=BLOCK, **fields)


def sources(seqlen, heads):
    """(name, the problem's fields, how to bind it, which blocks it must keep)"""
    mask = kept_blocks(seqlen)
    dense = mask.expand(heads, -1, -1).contiguous().to(torch.uint8)
    head, row, column = dense.nonzero(as_tuple=True)
    blocks = torch.stack([torch.zeros_like(head), head, row, column], dim=1).to(torch.int32).contiguous()
    yield "mask", {}, dict(kind=attune.OF_MASK, data=dense), mask
    yield "blocks", {}, dict(kind=attune.OF_BLOCKS, data=blocks, count=len(blocks)), mask
    yield "expression", dict(mask_expr=butterfly()), dict(kind=attune.OF_EXPRESSION), mask
    ends = torch.randint(1, seqlen, (seqlen // 1024,), device="cuda").sort().values  # documents of 1,024 tokens on average
    document = torch.bucketize(torch.arange(seqlen, device="cuda"), ends, right=True, out_int32=True)
    first, last = document[::BLOCK], document[BLOCK - 1::BLOCK]
    shared = (first[:, None] <= last[None, :]) & (first[None, :] <= last[:, None])
    bounds = torch.cat([torch.zeros_like(ends[:1]), ends, torch.full_like(ends[:1], seqlen)]).to(torch.int32)
    yield ("cu_seqlens", dict(mask_expr="find(cu_seqlens, q) == find(cu_seqlens, k)", params={"cu_seqlens": "int[]"}),
           dict(kind=attune.OF_EXPRESSION, values={"cu_seqlens": (bounds.data_ptr(), len(bounds))}, keep=bounds), shared)
    yield ("documents", dict(mask_expr="doc[q] == doc[k]", params={"doc": "int[]"}),
           dict(kind=attune.OF_EXPRESSION, values={"doc": (document.data_ptr(), seqlen)}, keep=document), shared)


def build_point(sink, context, seqlen, heads, name, fields, bound, expected, budget_s):
    bound = dict(bound)
    memory = bound.pop("data", None), bound.pop("keep", None)
    builder = context.builder(problem(context, seqlen, heads, **fields))
    kept = int(expected.sum())
    buffers = Buffers(seqlen, heads, kept * heads)
    workspace = torch.empty(builder.workspace(1, heads), dtype=torch.uint8, device="cuda")
    call = builder.bind(buffers.view, workspace.data_ptr(), data=memory[0].data_ptr() if memory[0] is not None else None,
                       stream=torch.cuda.current_stream().cuda_stream, **bound)
    call()
    torch.cuda.synchronize()
    builder.check(buffers.view)
    assert torch.equal(buffers.blocks >> 1, expected.nonzero()[:, 1].to(torch.int32).repeat(heads)), "other blocks"
    samples, load = gpu.time_interleaved({name: call}, budget_s)
    sink.write(set="block_mask", name=name, Sq=seqlen, H=heads, block=BLOCK, kept=kept * heads,
               bytes=4 * (buffers.rows.numel() + buffers.blocks.numel() + buffers.order.numel()) + workspace.numel(),
               **gpu.summary(samples[name]), sm_mhz=load["sm_mhz"], watts=load["watts"])


def attention_point(sink, context, seqlen, budget_s):
    """The butterfly by formula, by block mask, and nothing hidden, all in one run."""
    q, k, v = (torch.randn(1, seqlen, HEADS, DIM, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    mask = kept_blocks(seqlen)
    density = float(mask.float().mean())
    plain = dict(dtype=attune.BF16, head_dim=DIM, head_dim_v=DIM, heads_q=HEADS, heads_kv=HEADS, seqlen_q=seqlen,
                 seqlen_k=seqlen)
    stream = torch.cuda.current_stream().cuda_stream
    builder = context.builder(problem(context, seqlen, HEADS))
    buffers = Buffers(seqlen, 1, int(mask.sum()))
    workspace = torch.empty(builder.workspace(1, 1), dtype=torch.uint8, device="cuda")
    dense = mask.to(torch.uint8).contiguous()
    builder.bind(buffers.view, workspace.data_ptr(), attune.OF_MASK, dense.data_ptr(), stream=stream)()
    unordered = attune.BlockMask(1, 1, buffers.view.row_offsets, buffers.view.indices, buffers.view.capacity, None)
    ways = {"dense": ({}, None), "formula": (dict(mask_expr=butterfly()), None),
            "block mask": (dict(block_size=BLOCK, block_density=density), buffers.view),
            "block mask without order": (dict(block_size=BLOCK, block_density=density), unordered)}
    calls, results, plans = {}, {}, {}
    for name, (fields, view) in ways.items():
        plans[name] = context.plan(context.problem(**plain, **fields))
        results[name] = torch.full_like(q, float("nan"))
        calls[name] = plans[name].bind(q.data_ptr(), k.data_ptr(), v.data_ptr(), results[name].data_ptr(), stream=stream,
                                       block_mask=view)
        calls[name]()
    torch.cuda.synchronize()
    for name in ("block mask", "block mask without order"):
        error = float((results[name].float() - results["formula"].float()).abs().max())
        assert error < 2e-2, f"{name}: {error} from the formula's"
    samples, load = gpu.time_interleaved(calls, budget_s)
    for name, plan in plans.items():
        sink.write(set="block_mask", name=f"attention, {name}", Sq=seqlen, H=HEADS, block=BLOCK, density=round(density, 5),
                   **gpu.summary(samples[name]), config=plan.config, source=plan.source, sm_mhz=load["sm_mhz"],
                   watts=load["watts"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu.add_flags(parser)
    flags = parser.parse_args()
    context, sink = gpu.start(flags, "block_mask")
    for seqlen, heads in SIZES:
        for name, fields, bound, expected in sources(seqlen, heads):
            build_point(sink, context, seqlen, heads, name, fields, bound, expected, flags.rounds_budget)
    for seqlen in (16384, 65536):
        attention_point(sink, context, seqlen, flags.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
