#!/usr/bin/env python3
"""Attune and other libraries' attention, backward, timed against each other in one process. One JSON line a point and peer.
The sets are those of bench_forward.py: forward (the FlashAttention grid), gqa, dims, ragged; gpt2, the attention of
GPT-2 medium as FlashAttention's paper times it: forward and backward together, 3.5 times the operations of the forward
pass; and sparse, masks and changed scores of bench_sparse.py at 4,096 and 16,384 tokens, with their density.

Peers: attune, through its C API, with the kernels its dispatch chooses; attune-det, the same with deterministic = 1;
fa2 and cudnn, PyTorch's FlashAttention-2 and cuDNN backends, by autograd; eager, unfused, which only gpt2 times
unless asked; and fa3, fa3-det and fa4 if --peer-module names a Python file that has fa3_fwd, fa3_bwd, fa4_fwd and
fa4_bwd, with tensors of (batch, seqlen, heads, head_dim), and perhaps unpack(). Those of the set sparse are attune;
attune-dense, Attune on the same tensors without the mask and the change of scores; and flex, bench_sparse.py's by
autograd, without a graph: what Python does in it costs no time, since attune-dense keeps the GPU busy meanwhile.

Every peer runs once a round, after the L2 was cleared; a time is the median of CUDA-event timings. Operations are
counted as the FlashAttention papers count them, 2.5 times those of the forward pass, but not in the set sparse. Each
peer's gradients are checked against float64 before it is timed: error is the largest of dQ, dK and dV on two heads,
bound three times what the unfused computation in the same type is off by, plus 1e-5.

Tune first: build/attune tune --workload FILE, with "operation": "backward" in its problems.
"""
import argparse
import functools
import importlib.util
import math
import sys
import time
from pathlib import Path

import attune
import gpu
from bench_forward import torch_call
from patterns import Pattern, check_only
from sets import SETS, SPARSE_BACKWARD, identity, points_of, unrecorded

BACKWARD_SETS = {
    **{name: SETS[name] for name in ("forward", "gqa", "dims", "ragged")},
    "gpt2": points_of("bfloat16", [(64, 16, 16)], [1024], causals=[True], batches=[64]),
    "sparse": SPARSE_BACKWARD,
}


def load_module(path):
    spec = importlib.util.spec_from_file_location("peer_module", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(module, "unpack"):
        module.unpack()
    return module


def unfused(q, k, v, d_o, place, pattern, kind):
    """dQ, dK, dV of one batch and query head, tensors of (seqlen, head_dim), by autograd in that type; a changed score
    is a float at least. place: batch, head, and the numbers of the queries and of the keys, which broadcast."""
    import torch
    with torch.enable_grad():
        q, k, v = (t.to(kind).requires_grad_() for t in (q, k, v))
        s = q @ k.T * (1 / math.sqrt(q.shape[-1]))
        if pattern.change is not None:
            s = pattern.change(s.to(torch.promote_types(kind, torch.float32)), *place)
        if pattern.seen is not None:
            s = s.masked_fill(~pattern.seen(*place), float("-inf"))
        return torch.autograd.grad(torch.softmax(s, -1).to(kind) @ v, (q, k, v), d_o.to(kind))


class Expected:
    """The gradients of two heads in float64, and by how much the unfused computation in the tensors' type misses them.
    Tensors of (batch, seqlen, heads, head_dim)."""

    def __init__(self, q, k, v, d_o, pattern):
        import torch
        queries, keys = (torch.arange(t.shape[1], device=t.device) for t in (q, k))
        self.group = q.shape[2] // k.shape[2]
        self.heads = []  # (batch, head of keys, [dQ of each head of queries, dK, dV])
        self.unfused = 0.0
        for b, h in sorted({(0, 0), (q.shape[0] - 1, k.shape[2] - 1)}):
            parts = {kind: [unfused(q[b, :, i], k[b, :, h], v[b, :, h], d_o[b, :, i],
                                    (b, i, queries[:, None], keys[None, :]), pattern, kind)
                            for i in range(h * self.group, (h + 1) * self.group)] for kind in (torch.float64, q.dtype)}
            exact, rounded = ([part[0] for part in of] + [sum(part[n] for part in of) for n in (1, 2)]
                              for of in parts.values())
            self.unfused = max(self.unfused, *((a.double() - b).abs().max().item() for a, b in zip(rounded, exact)))
            self.heads.append((b, h, exact))

    def check(self, gradients):
        """What to record of them; raises where they are off by more than three times what the unfused ones are."""
        import torch
        if not all(torch.isfinite(t).all() for t in gradients):
            raise RuntimeError("wrong result: the gradients are not all finite")
        error, allowed = 0.0, 3 * self.unfused + 1e-5
        for b, h, exact in self.heads:
            heads_q = range(h * self.group, (h + 1) * self.group)
            found = [gradients[0][b, :, i] for i in heads_q] + [gradients[n][b, :, h] for n in (1, 2)]
            error = max(error, *((a.double() - b).abs().max().item() for a, b in zip(found, exact)))
        if error > allowed:
            raise RuntimeError(f"wrong result: error {error:.3g} of the gradients where {allowed:.3g} is allowed")
        return dict(error=float(f"{error:.4g}"), bound=float(f"{allowed:.4g}"))


def attune_peer(context, expected, pattern, deterministic, both, q, k, v, d_o):
    import torch
    batch, seqlen, heads, _ = q.shape
    fields = dict(gpu.tensor_fields(q, k, v, pattern.params), **pattern.fields)
    given = dict(stream=torch.cuda.current_stream().cuda_stream, values=gpu.values_of(pattern.params),
                 bias=gpu.address(pattern.bias))
    forward = context.plan(context.problem(want_lse=1, **fields))
    plan = context.plan(context.problem(operation=attune.BACKWARD, deterministic=deterministic, **fields))
    o, lse = torch.empty_like(q), torch.empty((batch, heads, seqlen), device=q.device)
    gradients = [torch.full_like(t, float("nan")) for t in (q, k, v)]
    workspaces = [torch.empty(max(1, p.workspace), dtype=torch.uint8, device=q.device) for p in (forward, plan)]
    addresses = [t.data_ptr() for t in (q, k, v, o, lse)]
    run_forward = forward.bind(*addresses, workspaces[0].data_ptr(), **given)
    run_forward()
    backward = plan.bind(*addresses, workspaces[1].data_ptr(), gradients=[t.data_ptr() for t in (d_o, *gradients)],
                         **given)

    def call(memory=(q, k, v, o, lse, d_o, gradients, workspaces, pattern)):  # which stays while the call does
        if both:
            run_forward()
        backward()

    call()
    torch.cuda.synchronize()
    return call, dict(config=plan.config, source=plan.source, **expected.check(gradients))


def dense_peer(context, where, q, k, v, d_o):
    """Attune without the point's mask and change of scores."""
    dense = Pattern({**identity(where), "name": "dense", "causal": False})
    return attune_peer(context, Expected(q, k, v, d_o, dense), dense, 0, False, q, k, v, d_o)


def torch_peer(expected, forward_of, both, q, k, v, d_o):
    """By autograd. forward_of makes a call of q, k and v as PyTorch keeps them: (batch, heads, seqlen, head_dim)."""
    import torch
    headed = [t.transpose(1, 2).contiguous().requires_grad_() for t in (q, k, v)]
    grad = d_o.transpose(1, 2).contiguous()
    forward = forward_of(*headed)
    with torch.enable_grad():
        out = None if both else forward()

    def call():
        with torch.enable_grad():
            return torch.autograd.grad(out if out is not None else forward(), headed, grad, retain_graph=not both)

    return call, expected.check([t.transpose(1, 2) for t in call()])


def module_peer(module, expected, peer, both, q, k, v, d_o, causal):
    library, _, kind = peer.partition("-")
    forward, backward = (getattr(module, library + way) for way in ("_fwd", "_bwd"))
    of_forward = forward(q, k, v, causal=causal)
    more = dict(deterministic=True) if kind == "det" else {}

    def call():
        return backward(d_o, q, k, v, *(forward(q, k, v, causal=causal) if both else of_forward), causal=causal, **more)

    return call, expected.check(call()[:3])


def bench_point(sink, context, module, peers, where, both, budget_s):
    import torch
    B, H, Hk, Sq, Sk, D, causal, dtype = (where[x] for x in ("B", "H", "Hk", "Sq", "Sk", "D", "causal", "dtype"))
    tensors = [torch.randn(B, S, heads, D, dtype=getattr(torch, dtype), device="cuda")
               for S, heads in ((Sq, H), (Sk, Hk), (Sk, Hk), (Sq, H))]  # q, k, v, d_o
    pattern = Pattern(where)
    expected, prepare = Expected(*tensors, pattern), {}
    for peer in peers:
        if peer == "attune-dense":
            prepare[peer] = functools.partial(dense_peer, context, where, *tensors)
        elif peer.startswith("attune"):
            prepare[peer] = functools.partial(attune_peer, context, expected, pattern, int(peer.endswith("-det")), both,
                                              *tensors)
        elif peer.startswith("fa3") or peer.startswith("fa4"):
            prepare[peer] = functools.partial(module_peer, module, expected, peer, both, *tensors, causal)
        else:
            forward_of = pattern.flex if peer == "flex" else functools.partial(torch_call, peer, causal=causal)
            prepare[peer] = functools.partial(torch_peer, expected, forward_of, both, *tensors)
    flops = (14.0 if both else 10.0) * B * H * Sq * Sk * D * (0.5 if causal else 1.0)
    gpu.bench_point(sink, dict(set="fwd+bwd" if both else "bwd", **pattern.row()), prepare, budget_s,
                    None if "name" in where else flops)


def default_peers(flags):
    if flags.set == "sparse":
        return "attune,attune-dense,flex"
    return ("attune,attune-det,fa2,cudnn" + (",fa3,fa3-det,fa4" if flags.peer_module else "")
            + (",eager" if flags.set == "gpt2" else ""))


def selected(flags, kept):
    """The set's points that the flags leave and that Attune has no row of in kept."""
    return [p for p in unrecorded(BACKWARD_SETS[flags.set], kept)
            if gpu.chosen(flags.only, p.get("name")) and gpu.chosen(flags.dims, p["D"])
            and gpu.chosen(flags.seqs, p["Sq"]) and flags.causal in ("both", str(int(p["causal"])))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="forward", choices=list(BACKWARD_SETS), help="default: %(default)s")
    parser.add_argument("--dims", help="of the set, only these head dims (as 64,128)")
    parser.add_argument("--seqs", help="of the set, only these seqlens")
    parser.add_argument("--causal", default="both", choices=["0", "1", "both"])
    parser.add_argument("--only", metavar="NAMES", help="of the set sparse, only these (as butterfly,window1023)")
    parser.add_argument("--peer-module", type=Path, help="a Python file with the calls of FlashAttention-3 and -4")
    parser.add_argument("--peers", help="default: attune,attune-det,fa2,cudnn, and fa3,fa3-det,fa4 with --peer-module; "
                        "of the set sparse: attune,attune-dense,flex")
    parser.add_argument("--limit", type=float, default=math.inf, metavar="SECONDS",
                        help="begin no point later; the same call with --append goes on with the others")
    gpu.add_flags(parser)
    flags, began = parser.parse_args(), time.monotonic()
    check_only(parser, flags.only, BACKWARD_SETS[flags.set])
    context, sink = gpu.start(flags, "backward" if flags.set == "forward" else f"backward_{flags.set}")
    module = load_module(flags.peer_module) if flags.peer_module else None
    peers, points = (flags.peers or default_peers(flags)).split(","), selected(flags, sink.kept)
    for i, where in enumerate(points):
        if time.monotonic() - began > flags.limit:
            print(f"bench_backward.py: {len(points) - i} of {len(points)} points are left to --append", file=sys.stderr)
            break
        bench_point(sink, context, module, peers, where, flags.set == "gpt2", flags.rounds_budget)
    context.close()


if __name__ == "__main__":
    main()
