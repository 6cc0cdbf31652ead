#!/usr/bin/env python3
"""The sets of problems that bench_forward.py records. Run alone it writes them as the workloads that ship
(tuner/workloads/flash-grid.json and bench-SET.json), so that what is measured is what `attune tune` tunes; --check only
compares."""
import json
import sys
from pathlib import Path

WORKLOADS = Path(__file__).resolve().parents[2] / "tuner" / "workloads"
GRID = [512, 1024, 2048, 4096, 8192, 16384]
TOKENS, HIDDEN = 16384, 2048


def points_of(dtype, shapes, seqlens, causals=(False, True), batches=None):
    """shapes: (head_dim, heads, key heads); batches: as many as make TOKENS, unless given."""
    return [dict(B=B, H=H, Hk=Hk, Sq=S, Sk=S, D=D, causal=causal, dtype=dtype) for D, H, Hk in shapes for S in seqlens
            for B in batches or [TOKENS // S] for causal in causals]


FLASH = [(D, HIDDEN // D, HIDDEN // D) for D in (64, 128, 256)]
SETS = {
    "forward": points_of("bfloat16", FLASH, GRID),
    "fp16": points_of("float16", FLASH, [1024, 4096, 16384]),
    "gqa": points_of("bfloat16", [(128, 32, 8)], GRID[1:], causals=[True]),
    "dims": points_of("bfloat16", [(96, 20, 20), (192, 10, 10)], [1024, 4096, 16384]),
    "ragged": points_of("bfloat16", [(64, 16, 16), (128, 16, 16)], [197, 577, 1000, 4097], batches=[1, 8, 32]),
}


def workload(points):
    def name(p):
        batch = "" if p["B"] * p["Sq"] == TOKENS else f"{p['B']} x "
        return f"d{p['D']} {batch}{p['Sq']} {'causal' if p['causal'] else 'full'}"

    lines = [json.dumps(dict(name=name(p),
                             dtype={"bfloat16": "bf16", "float16": "fp16"}[p["dtype"]], head_dim=p["D"], batch=p["B"],
                             heads_q=p["H"], heads_kv=p["Hk"], seqlen_q=p["Sq"], seqlen_k=p["Sk"],
                             mask="causal" if p["causal"] else "none")) for p in points]
    return '{\n  "format": "attune-workload-1",\n  "problems": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


def main():
    stale = []
    for name, points in SETS.items():
        path = WORKLOADS / ("flash-grid.json" if name == "forward" else f"bench-{name}.json")
        text = workload(points)
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif path.read_text() != text:
            stale.append(path.name)
    sys.exit(f"not what tests/bench/sets.py says: {', '.join(stale)}; run it" if stale else 0)


if __name__ == "__main__":
    main()
