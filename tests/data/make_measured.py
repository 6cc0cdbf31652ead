#!/usr/bin/env python3
"""Writes measured-h100.txt: what the H100 took for the configs that tuning chose, out of tests/bench/results, for the test of the
model (test_estimate.c). A line: milliseconds, problem class, config."""
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "bench" / "results"
MASKS = {None: "", "dense": "", "causal": "", "window1023": ".causal.w1023,0"}  # those whose class says all


def lines():
    for name in ("forward", "mma", "fp16", "gqa", "dims", "ragged", "sparse"):
        for row in map(json.loads, open(RESULTS / f"h100-{name}.jsonl")):
            if row.get("peer") != "attune" or "ms" not in row or row.get("name") not in MASKS:
                continue
            mask = MASKS[row.get("name")] or (".causal" if row["causal"] else "")
            dtype = {"bfloat16": "bf16", "float16": "fp16"}[row["dtype"]]
            yield (f"{row['ms']} forward.{dtype}.d{row['D']}.b{row['B']}.h{row['H']}.kv{row['Hk']}.q{row['Sq']}.k{row['Sk']}{mask} "
                   f"{row['config']}")


(HERE / "measured-h100.txt").write_text("\n".join(dict.fromkeys(lines())) + "\n")
