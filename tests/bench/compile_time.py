#!/usr/bin/env python3
"""Seconds to compile one kernel with NVRTC: the default one of each head_dim and mask of the FlashAttention grid at seqlen
4,096, each time in a new process, as JSON lines. Needs build/attune and NVRTC, no GPU."""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def compiled(command, arch, dim, mask, runs):
    samples = []
    for _ in range(runs):
        answer = subprocess.run([command, "compile", "--json", "--arch", arch, "--dtype", "bf16", "--head-dim", str(dim),
                                 "--batch", "4", "--heads-q", str(2048 // dim), "--seqlen-q", "4096", "--mask", mask],
                                check=True, capture_output=True, text=True)
        found = json.loads(answer.stdout)
        samples.append(found["compile_seconds"])
    return dict(set="compile", config=found["config"], arch=arch, D=dim, causal=mask == "causal",
                seconds=round(statistics.median(samples), 3), samples=[round(s, 3) for s in samples],
                registers=found["registers"])


def compile_rows(command, arch, runs):
    for dim in (64, 128, 256):
        for mask in ("none", "causal"):
            yield compiled(command, arch, dim, mask, runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_90", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=9, help="compilations of each kernel (default: %(default)s)")
    arguments = parser.parse_args()
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    facts = dict(cores=os.cpu_count(), processor=model.group(1) if model else "",
                 date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                 command="python3 tests/bench/compile_time.py")
    out = TOP / "tests" / "bench" / "results" / "compile.jsonl"
    out.parent.mkdir(exist_ok=True)
    with open(out, "w") as file:
        for row in compile_rows(str(TOP / "build" / "attune"), arguments.arch, arguments.runs):
            line = json.dumps(row | facts)
            print(line, flush=True)
            file.write(line + "\n")


if __name__ == "__main__":
    main()
