#!/usr/bin/env python3
"""Holds what tests/bench/results/*.jsonl records against the figures that Attune promises: one line a figure, PASS or FALLS
SHORT or NOT RECORDED; exit code 1 unless all pass."""
import json
import math
import sys
from pathlib import Path

import sets

RESULTS = Path(__file__).resolve().parent / "results"
GRID = len(sets.SETS["forward"])
BEST = ("fa2", "cudnn")  # the best peer at a point is the faster of these
BEST_BACKWARD = ("fa2", "cudnn", "fa3", "fa4")
TIMED = ("fwd", "bwd", "fwd+bwd", "sparse")  # rows of these sets have a point, a peer and its time
BY_BLOCKS = ("butterfly", "window1023")  # their time is held to the blocks that they keep
TO_OWN_DENSE = {4096: 1.35, 16384: 1.20, 65536: 1.20}  # by seqlen: time / (density * time of dense), at most
TO_OWN_DENSE_BACKWARD = 1.25


def read(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def point(row):
    return row["D"], row["Sq"], row["Sk"], row["causal"], row["B"], row["H"], row["Hk"], row["dtype"], row.get("name")


def speedups(rows, *peers, ours="attune"):
    """{point: times that `ours` is faster than the fastest of the peers that ran it}"""
    times = {}
    for row in rows:
        if row["set"] in TIMED and "ms" in row:
            times.setdefault(row["peer"], {})[point(row)] = row["ms"]
    faster = {}
    for p, ms in times.get(ours, {}).items():
        theirs = [times[peer][p] for peer in peers if p in times.get(peer, {})]
        if theirs:
            faster[p] = min(theirs) / ms
    return faster


def correct_rows(rows):
    return [r for r in rows if r["set"] in TIMED and r["peer"] == "attune" and "ms" in r and r["error"] <= r["bound"]]


def points(rows):
    recorded = {point(r) for r in rows if r["set"] in TIMED}
    timed = {point(r) for r in correct_rows(rows)}
    yield "recorded points that Attune timed, with an error within its bound", len(timed), "=", len(recorded)


def grid(rows, families):
    good = [r for r in correct_rows(rows) if r["config"].split(".")[1] in families]
    yield f"grid points timed, of family {' or '.join(families)}, with an error within its bound", len({*map(point, good)}), "=", GRID
    yield "of these chosen as tuned (source exact)", len({point(r) for r in good if r["source"] == "exact"}), "=", GRID


def forward(rows):
    yield from grid(rows, ("mma", "wgmma"))
    best = speedups(rows, *BEST)
    if best:
        yield "against the best peer, geometric mean", geomean(best.values()), ">=", 1.0
        yield "against the best peer, least", min(best.values()), ">=", 0.93


def backward(rows):
    yield from points(rows)
    best, deterministic = speedups(rows, *BEST_BACKWARD), speedups(rows, "fa3-det", ours="attune-det")
    if best:
        yield "against the best peer, geometric mean", geomean(best.values()), ">=", 1.02
        yield "against the best peer, least", min(best.values()), ">=", 0.93
    if deterministic:
        yield "deterministic, against FlashAttention-3 deterministic, least", min(deterministic.values()), ">=", 1.0
        yield "deterministic, against Attune otherwise, geometric mean", \
            geomean(speedups(rows, "attune", ours="attune-det").values()), ">=", 0.92


def backward_more(rows):
    yield from points(rows)
    best = speedups(rows, *BEST_BACKWARD)
    if best:
        yield "against the best peer, geometric mean", geomean(best.values()), ">=", 1.05


def backward_gpt2(rows):
    yield from points(rows)
    for faster in speedups(rows, "eager").values():
        yield "forward and backward of GPT-2 medium's attention, against the unfused computation", faster, ">=", 11.0


def to_own_dense_backward(rows):
    """{(name, seqlen): time / (density * time of dense)}, of Attune, where dense was timed too"""
    densities = {point(r): r["density"] for r in rows if "density" in r}
    return {(p[-1], p[1]): 1 / (densities[p] * faster) for p, faster in speedups(rows, "attune-dense").items()}


def backward_sparse(rows):
    yield from points(rows)
    flex = speedups(rows, "flex")
    if flex:
        yield "against FlexAttention, geometric mean", geomean(flex.values()), ">=", 1.5
        yield "against FlexAttention, least", min(flex.values()), ">=", 1.1
    for (name, S), ratio in to_own_dense_backward(rows).items():
        yield f"{name} of {S:,}: time / (density x dense time)", ratio, "<=", TO_OWN_DENSE_BACKWARD


def mma(rows):
    """The family that uses the instructions FlashAttention-2 uses, alone."""
    yield from grid(rows, ("mma",))
    fa2, eager = speedups(rows, "fa2"), speedups(rows, "eager")
    if fa2:
        yield "against FlashAttention-2, geometric mean", geomean(fa2.values()), ">=", 1.0
        yield "against FlashAttention-2, least", min(fa2.values()), ">=", 0.9
    if eager:
        yield "against the unfused computation, geometric mean", geomean(eager.values()), ">=", 5.0
        narrow = [x for p, x in eager.items() if p[0] in (64, 128)]
        if narrow:
            yield "against the unfused computation, least of head_dim 64 and 128", min(narrow), ">=", 3.0


def to_own_dense(rows):
    """{(name, seqlen): time / (density * time of dense)}, of Attune, for those held to it where dense was timed too"""
    ours = {(r["name"], r["Sq"]): r for r in rows if r["set"] == "sparse" and r["peer"] == "attune" and "ms" in r}
    return {(name, S): r["ms"] / (r["density"] * ours["dense", S]["ms"]) for (name, S), r in ours.items()
            if name in BY_BLOCKS and ("dense", S) in ours}


def sparse(rows):
    good, all_there = correct_rows(rows), len(sets.SPARSE)
    yield "points timed, with an error within its bound", len({*map(point, good)}), "=", all_there
    yield "of these chosen as tuned (source exact)", len({point(r) for r in good if r["source"] == "exact"}), "=", all_there
    flex = speedups(rows, "flex")
    if flex:
        yield "against FlexAttention, geometric mean", geomean(flex.values()), ">=", 1.3
        yield "against FlexAttention, least", min(flex.values()), ">=", 1.0
    ratios = to_own_dense(rows)
    for name in BY_BLOCKS:
        found = [x for p, x in flex.items() if p[-1] == name]
        if found:
            yield f"{name} against FlexAttention, least", min(found), ">=", 1.35
        for S, most in TO_OWN_DENSE.items():
            if (name, S) in ratios:
                yield f"{name} of {S:,}: time / (density x dense time)", ratios[name, S], "<=", most


def decode(rows):
    yield from points(rows)
    for p, faster in sorted(speedups(rows, "cudnn").items()):
        yield f"one query on {p[2]:,} keys, batch {p[4]}, against cuDNN", faster, ">=", 1.0


def compare(rows):
    """Another build of Attune on the same points, as compare.py's docstring says."""
    for row in rows:
        if row["set"] == "compared":
            yield "points that failed", row["failed"], "=", 0
            yield f"time of this build over an earlier one's, geometric mean of {row['points']}", row["geometric_mean"], "<=", 1.01
            yield "the same, largest", row["largest"], "<=", 1.02


def block_mask(rows):
    for row in rows:
        if row["set"] == "block_mask" and row["Sq"] == 65536 and "kept" in row:
            yield f"building a block mask for 64k x 64k and {row['H']} heads from {row['name']}, ms", row["ms"], "<=", 2.0


def memory(rows):
    ours = [r for r in rows if r["set"] == "memory" and r["peer"] == "attune"]
    done = [r for r in ours if "extra_bytes" in r]
    yield "memory points that failed", len(ours) - len(done), "=", 0
    if done:
        yield "most bytes beyond the LSE", max(r["extra_bytes"] - r["lse_bytes"] for r in done), "<=", 0
        yield "longest seqlen run", max(r["Sq"] for r in done), ">=", 65536


def compiles(rows):
    seconds = [r["seconds"] for r in rows if r["set"] == "compile"]
    if seconds:
        yield "compiling one kernel, most seconds", max(seconds), "<=", 1.5


def latency(rows):
    yield from compiles(rows)
    for row in rows:
        if row["set"] == "first_result":
            yield "process start to first result beyond CUDA's own start, ms", row["beyond_ms"], "<=", 50
    warm = [row for row in rows if row["set"] == "warm_run"]
    for beyond in [row["beyond_us_high"] for row in warm] or [None]:
        yield "a warm run's CPU beyond the launch call, us, high end of its interval", beyond, "<=", 2


def build(rows):
    for row in rows:
        if row["set"] == "build":
            yield "clean build on two cores, seconds", row["seconds"], "<=", 60
            yield "libattune.so, bytes", row["library_bytes"], "<=", 2 << 20
        if row["set"] == "tests":
            yield "tests on two cores, seconds", row["seconds"], "<=", 900


SETS = {"forward": forward, "backward": backward, "backward_gqa": backward_more, "backward_dims": backward_more,
        "backward_ragged": backward_more, "backward_gpt2": backward_gpt2, "mma": mma, "sparse": sparse, "decode": decode, "compare": compare, "block_mask": block_mask, "memory": memory, "latency": latency, "build": build,
        "compile": compiles}
MORE = {"backward_sparse": backward_sparse,  # held to nothing where they are not recorded
        **{name: points for name in sets.SETS if name not in SETS}}


def passes(value, relation, wanted):
    """Nothing measured is less than 0: such a time is a fault of the measurement. None: it is not recorded."""
    if value is None or value < 0:
        return False
    return {">=": value >= wanted, "<=": value <= wanted, "=": value == wanted}[relation]


def figures():
    """(file's name, what, value, relation, wanted, passed) for everything recorded."""
    for path in sorted(RESULTS.glob("*.jsonl")):
        kind = path.stem.rsplit("-", 1)[-1]
        check = {**SETS, **MORE}.get(kind)
        if check:
            for what, value, relation, wanted in check(read(path)):
                yield path.name, what, value, relation, wanted, passes(value, relation, wanted)


def shown(value):
    if value is None:
        return "not recorded"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def main():
    all_passed, recorded = True, set()
    for name, what, value, relation, wanted, passed in figures():
        recorded.add(name.removesuffix(".jsonl").rsplit("-", 1)[-1])
        all_passed = all_passed and passed
        print(f"{'PASS' if passed else 'FALLS SHORT':12} {name}: {what}: {shown(value)} (wanted {relation} {shown(wanted)})")
    for kind in SETS:
        if kind not in recorded:
            all_passed = False
            print(f"{'NOT RECORDED':12} {kind}: there is no tests/bench/results/*{kind}.jsonl")
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
