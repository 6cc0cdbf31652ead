#!/usr/bin/env python3
"""Two builds of Attune timed against each other in one process, on the recorded points and with the configs recorded there.
OLD is a checkout of the earlier commit with build/libattune.so; the other build is this checkout's.

    python3 tests/bench/compare.py ../old tests/bench/results/h100-forward.jsonl tests/bench/results/h100-sparse.jsonl

One JSON line a point: the new build's result is compared with float64, the old one's with the new one's bits, and each build is
timed twice, in the order old new old new, after clearing the L2. ratio is new time over old; noise is how far the two medians
of one build lie apart. The last line has the geometric mean of the ratios, the largest, and the points beyond --limit.
"""
import argparse
import importlib.util
import json
import math
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path

import attune
import gpu
from gpu import torch
from patterns import Pattern, problem_fields
from sets import SPARSE, identity


def module_of(checkout):
    """The checkout's own bindings: structs may have grown since."""
    spec = importlib.util.spec_from_file_location("attune_of_" + checkout.name, checkout / "tests" / "bench" / "attune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Build:
    def __init__(self, checkout, database, words=None):
        self.module, self.words = module_of(checkout), words or {}
        self.context = self.module.Context(self.module.load(checkout / "build" / "libattune.so"), None, database)

    def plan(self, point):
        """Of the recorded row, with its config."""
        fields = dict(problem_fields(point), head_dim=point["D"], head_dim_v=point["D"], batch=point["B"],
                      heads_q=point["H"], heads_kv=point["Hk"], seqlen_q=point["Sq"], seqlen_k=point["Sk"],
                      dtype=getattr(attune, {"bfloat16": "BF16", "float16": "FP16"}[point["dtype"]]))
        params = {name: "float[]" if isinstance(value[0], float) else "int[]" for name, value in point.get("params", {}).items()}
        config = ".".join(re.sub(r"^(.*?)(\d*)$", lambda m: self.words.get(m[1], m[1]) + m[2], word)
                          for word in point["config"].split("."))
        return self.context.plan(self.context.problem(params=params, **fields), config)


def renamed():
    """{word of a config: what it was}, by generator/config/renamed.c"""
    table = (attune.TOP / "generator" / "config" / "renamed.c").read_text()
    return {now: was for was, now in re.findall(r'{"(\w+)", "(\w+)", (?:true|false)}', table)}


def points_of(files):
    """The rows of Attune in the files; those of the set sparse with their expressions."""
    known = {(p["name"], p["Sq"]): p for p in SPARSE}
    rows = [row for file in files for row in map(json.loads, open(file)) if row.get("peer") == "attune" and "config" in row]
    return [known[row["name"], row["Sq"]] | row if row["set"] == "sparse" else row for row in rows]


def compile_part(arguments):
    checkout, database, words, points = arguments
    torch.zeros(1, device="cuda")
    build = Build(checkout, database, words)
    for point in points:
        build.plan(point)


def compile_all(builds, points, processes):
    """Into the stores, so that the process that measures only loads."""
    parts = [(*build, points[i::processes]) for build in builds for i in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(compile_part, parts, chunksize=1)


def run_once(plan, q, k, v, o, workspace, pattern):
    """The plan's call, after it ran once over a poisoned O."""
    o.fill_(float("nan"))
    call = plan.bind(*map(gpu.address, (q, k, v, o, None, workspace)), torch.cuda.current_stream().cuda_stream,
                     gpu.values_of(pattern.params), gpu.address(pattern.bias))
    call()
    torch.cuda.synchronize()
    return call


def compare(point, old, new, budget_s):
    B, H, Hk, Sq, Sk, D = (point[x] for x in ("B", "H", "Hk", "Sq", "Sk", "D"))
    make = lambda S, heads: torch.randn(B, S, heads, D, dtype=getattr(torch, point["dtype"]), device="cuda")
    q, k, v = make(Sq, H), make(Sk, Hk), make(Sk, Hk)
    pattern = Pattern(point)
    plans = old.plan(point), new.plan(point)
    # Both write to the same addresses: where tensors lie changes the time of short kernels.
    o, workspace = torch.empty_like(q), torch.empty(max(1, *(p.workspace for p in plans)), dtype=torch.uint8, device="cuda")
    old_call = run_once(plans[0], q, k, v, o, workspace, pattern)
    old_o = o.clone()
    new_call = run_once(plans[1], q, k, v, o, workspace, pattern)
    facts = gpu.check_result(q, k, v, o, pattern.seen, pattern.change)
    same_bits = torch.equal(old_o, o)
    samples, load = gpu.time_interleaved({"old": old_call, "new": new_call, "old again": old_call, "new again": new_call}, budget_s)
    ms = {name: gpu.summary(times)["ms"] for name, times in samples.items()}
    ratio = (ms["new"] + ms["new again"]) / (ms["old"] + ms["old again"])
    noise = max(abs(ms[name] / ms[name + " again"] - 1) for name in ("old", "new"))
    return dict(ratio=round(ratio, 4), noise=round(noise, 4), same_bits=same_bits, old_ms=ms["old"], new_ms=ms["new"],
                **facts, sm_mhz=load["sm_mhz"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("files", nargs="+", type=Path, metavar="RESULTS")
    parser.add_argument("--limit", type=float, default=1.02, help="largest ratio that is not told (default: %(default)s)")
    parser.add_argument("--rounds-budget", type=float, default=0.4, metavar="SECONDS", help="of rounds a point (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=min(16, os.cpu_count()), help="that compile (default: %(default)s)")
    parser.add_argument("--old-words", action="store_true", help="OLD is from before the words of configs were renamed")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-compare.jsonl")
    flags = parser.parse_args()
    if torch is None or not torch.cuda.is_available():
        sys.exit("compare.py: PyTorch sees no GPU")
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.zeros(1, device="cuda")
    sink, points = gpu.Sink(flags.out or gpu.results_path("compare")), points_of(flags.files)
    words = renamed() if flags.old_words else {}
    with tempfile.TemporaryDirectory() as folder:
        builds = [(flags.old.resolve(), Path(folder) / "old.db", words), (attune.TOP, Path(folder) / "new.db", {})]
        compile_all(builds, points, flags.processes)
        old, new = (Build(*build) for build in builds)
        sink.write(**gpu.machine_row(new.context.lib))
        ratios = []
        for point in points:
            name = dict(set="compare", **identity(point), config=point["config"])
            try:
                row = compare(point, old, new, flags.rounds_budget)
            except Exception as failure:
                sink.write(**name, failed=str(failure).strip().split("\n")[0][:300])
                continue
            ratios.append((row["ratio"], point["config"]))
            sink.write(**name, **row)
        mean = math.exp(sum(math.log(ratio) for ratio, _ in ratios) / len(ratios))
        sink.write(set="compared", points=len(ratios), failed=len(points) - len(ratios), geometric_mean=round(mean, 4),
                   largest=max(ratios)[0], smallest=min(ratios)[0],
                   beyond=[dict(ratio=ratio, config=config) for ratio, config in ratios if ratio > flags.limit])


if __name__ == "__main__":
    main()
