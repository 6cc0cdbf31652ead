#!/usr/bin/env python3
"""The sets of problems that bench_forward.py, bench_sparse.py and bench_backward.py record. Run alone it writes those
of the forward pass as the workloads that ship (tuner/workloads/flash-grid.json and bench-SET.json), so that what is
measured is what `attune tune` tunes; --check only compares."""
import json
import math
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
    "decode": [dict(B=B, H=32, Hk=8, Sq=1, Sk=S, D=128, causal=False, dtype="bfloat16")
               for B, S in ((1, 2048), (1, 8192), (1, 65536), (16, 8192))],
    "ragged": points_of("bfloat16", [(64, 16, 16), (128, 16, 16)], [197, 577, 1000, 4097], batches=[1, 8, 32]),
}


# ---- masks and changed scores: patterns.py has the same as functions, by name ----

MASKS = {
    "causal": dict(causal=True),
    "window1023": dict(window=[1023, 0]),
    # the patterns of generator/expression/pattern.c
    "window512": dict(mask_expr="q - k <= 512 && k - q <= 512"),
    "prefix": dict(mask_expr="k < 1024 || k <= q"),
    "global": dict(mask_expr="q < 128 || k < 128"),
    "longformer": dict(mask_expr="abs(q - k) <= 256 || q < 128 || k < 128"),
    "chunked": dict(mask_expr="q / 1024 == k / 1024"),
    "strided": dict(mask_expr="abs(q - k) < 64 || (q - k) % 64 == 0"),
    "dilated": dict(mask_expr="abs(q - k) <= 64 * 4 && (q - k) % 4 == 0"),
    "blocks": dict(mask_expr="abs(q / 128 - k / 128) <= 2"),
    "butterfly": dict(mask_expr="abs(q / 128 - k / 128) <= 1 || k / 128 == 0 || "
                                "((q / 128 ^ k / 128) & ((q / 128 ^ k / 128) - 1)) == 0"),
    "bigbird": dict(mask_expr=" || ".join(
        ["abs(q / 128 - k / 128) <= 1 || q / 128 < 1 || k / 128 < 1",
         *(f"k / 128 == random(q / 128, {i}, 0) % ((seqlen_k + 127) / 128)" for i in range(3))])),
}
SPARSE_HEADS = 16
DOCUMENT_ENDS, ELEMENTS = [245, 532, 1030, 1277, 2001, 2570, 3555], 4096  # a workload gives no more elements


def expressions(B, S):
    slope = [2.0 ** (-(h + 1) / 2) for h in range(SPARSE_HEADS)]
    table = [round(math.sin(0.7 * i), 3) for i in range(1025)]
    doc = [sum(i >= end for end in DOCUMENT_ENDS) for i in range(ELEMENTS)]
    tokens = f" / {S // ELEMENTS}" if S > ELEMENTS else ""  # of an element of doc
    same_doc = dict(mask_expr=f"doc[q{tokens}] == doc[k{tokens}]", params=dict(doc=doc))
    found = {
        "noop": dict(score_expr="score"),
        "alibi": dict(score_expr="score - slope[head] * abs(q - k)", params=dict(slope=slope)),
        "alibi-causal": dict(causal=True, score_expr="score + slope[head] * (k - q)", params=dict(slope=slope)),
        "relative": dict(score_expr="score + table[min(max(k - q + 512, 0), 1024)]", params=dict(table=table)),
        "softcap": dict(score_expr="30 * tanh(score / 30)"),
        "distance": dict(score_expr="score - 0.01 * abs(q - k)"),
        "document": same_doc,
        "document-causal": dict(causal=True, **same_doc),
        "prefix-batch": dict(mask_expr="k < prefix[batch] || k <= q",
                             params=dict(prefix=[S * (b + 2) // 8 for b in range(B)])),
    }
    if S <= 4096:
        found["bias"] = dict(score_expr="score + bias", bias=[1, SPARSE_HEADS, S])
    return found


def sparse_points(S, names=None):
    """Of the seqlen: all that there are, or these."""
    B = max(1, TOKENS // S)
    kinds = {"dense": {}, **MASKS, **expressions(B, S)}
    return [dict(name=name, B=B, H=SPARSE_HEADS, Hk=SPARSE_HEADS, Sq=S, Sk=S, D=128, dtype="bfloat16",
                 **{"causal": False, **kinds[name]}) for name in names or kinds]


SPARSE = [*sparse_points(4096), *sparse_points(16384), *sparse_points(2048, ["dense", "butterfly"]),
          *sparse_points(8192, ["butterfly"]), *sparse_points(32768, ["butterfly"]),
          *sparse_points(65536, ["dense", "butterfly", "window1023"])]
SPARSE_BACKWARD = [p for S in (4096, 16384)
                   for p in sparse_points(S, ["butterfly", "window1023", "document", "alibi", "relative", "softcap"])]


# ---- rows ----

def identity(point):
    """What tells a point, or its rows, from the others of its set."""
    return {key: point[key] for key in ("name", "B", "H", "Hk", "Sq", "Sk", "D", "causal", "dtype") if key in point}


def unrecorded(points, rows):
    """The points that Attune has no row of."""
    known = [identity(row) for row in rows if row.get("peer") == "attune"]
    return [p for p in points if identity(p) not in known]


# ---- workloads ----

WORDS = {"bfloat16": "bf16", "float16": "fp16"}
FILES = {"flash-grid" if name == "forward" else f"bench-{name}": points for name, points in SETS.items()}
FILES["bench-sparse"] = SPARSE


def title(p):
    if "name" in p:
        return f"{p['name']} {p['Sq']}"
    batch = "" if p["B"] * p["Sq"] == TOKENS else f"{p['B']} x "
    if p["Sq"] == 1:
        return f"d{p['D']} batch {p['B']}, 1 query, {p['Sk']} keys"
    return f"d{p['D']} {batch}{p['Sq']} {'causal' if p['causal'] else 'full'}"


def problem(p):
    """A point as an item of a workload."""
    item = dict(name=title(p), dtype=WORDS[p["dtype"]], head_dim=p["D"], batch=p["B"], heads_q=p["H"], heads_kv=p["Hk"],
                seqlen_q=p["Sq"], seqlen_k=p["Sk"], mask="causal" if p["causal"] else "none")
    return item | {key: p[key] for key in ("window", "mask_expr", "score_expr", "params", "bias") if key in p}


def workload(points):
    lines = [json.dumps(problem(p)) for p in points]
    return '{\n  "format": "attune-workload-1",\n  "problems": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


def main():
    stale = []
    for name, points in FILES.items():
        path, text = WORKLOADS / f"{name}.json", workload(points)
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    sys.exit(f"not what tests/bench/sets.py says: {', '.join(stale)}; run it" if stale else 0)


if __name__ == "__main__":
    main()
