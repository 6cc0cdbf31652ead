#!/usr/bin/env python3
"""Three costs of Attune on the CPU, as JSON lines: from process start to the first result with the cubin stored, beyond what
CUDA's own start costs; one warm run without the driver's launch call; compiling one kernel (compile_time.py). Uses
build/bench/latency and build/attune; PyTorch only names the GPU."""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attune
import gpu
from compile_time import compile_rows


def seconds(*command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def first_result(program, database, runs):
    seconds(program, "attune", database)  # compiles and stores
    samples = {"cuda": [], "attune": []}
    for _ in range(runs):
        samples["cuda"].append(seconds(program, "cuda"))
        samples["attune"].append(seconds(program, "attune", database))
    cuda, ours = statistics.median(samples["cuda"]), statistics.median(samples["attune"])
    return dict(set="first_result", cuda_ms=round(1e3 * cuda, 2), attune_ms=round(1e3 * ours, 2),
                beyond_ms=round(1e3 * (ours - cuda), 2), runs=runs)


def warm(program, database):
    found = json.loads(subprocess.run([program, "warm", database], check=True, capture_output=True, text=True).stdout)
    us = lambda name: round(1e6 * found[name], 3)
    return dict(set="warm_run", run_us=us("run"), beyond_us=us("beyond"), beyond_us_low=us("beyond_low"),
                beyond_us_high=us("beyond_high"), config=found["config"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="processes of each kind (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=attune.TOP / "build")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-latency.jsonl")
    arguments = parser.parse_args()
    import torch
    if not torch.cuda.is_available():
        sys.exit("latency.py: PyTorch sees no GPU")
    sink = gpu.Sink(arguments.out or gpu.results_path("latency"))
    sink.write(**gpu.machine_row(attune.load(arguments.build / "libattune.so")))
    major, minor = torch.cuda.get_device_capability()
    program, command = str(arguments.build / "bench" / "latency"), str(arguments.build / "attune")
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "attune.db")
        sink.write(**first_result(program, database, arguments.runs))
        sink.write(**warm(program, database))
    for row in compile_rows(command, f"sm_{major}{minor}", min(5, arguments.runs)):
        sink.write(**row)


if __name__ == "__main__":
    main()
