#!/usr/bin/env python3
"""Writes what tests/bench/results/*.jsonl records: all of it into tests/bench/RESULTS.md, a summary into README.md, each between
two markers. --check writes nothing and fails where a file does not say what the results give."""
import argparse
import sys

import sets
from check_figures import (BEST, BEST_BACKWARD, RESULTS, TIMED, figures, geomean, read, shown, speedups, to_own_dense,
                           to_own_dense_backward)

TOP = RESULTS.parents[2]
PEERS = {"attune": "**Attune**", "fa2": "FlashAttention-2", "cudnn": "cuDNN", "fa3": "FlashAttention-3", "fa4": "FlashAttention-4",
         "eager": "unfused", "flex": "FlexAttention", "attune-det": "**Attune**, deterministic",
         "fa3-det": "FlashAttention-3, deterministic"}
BACKWARD = {"backward_gqa": "32 query heads on 8 key heads, causal", "backward_dims": "head_dim 96 and 192",
            "backward_ragged": "197 to 4,097 tokens, no multiple of a tile"}


def heading(path, rows, title):
    """What was measured, on what and how; rows of several calls have several machine rows, which differ in their commands."""
    machines = [r for r in rows if r["set"] == "machine"]
    machine = machines[0]
    dtypes = ", ".join(sorted({r["dtype"] for r in rows if r["set"] in TIMED}))
    commands = ", ".join(dict.fromkeys(f"`{m['command']}`" for m in machines))
    return (f"{title.format(dtypes)}, on {machine['gpu']} (driver {machine['driver']}, PyTorch {machine['torch']}, cuDNN "
            f"{machine['cudnn']}, NVRTC {machine['nvrtc']}, SM clock up to {machine['sm_mhz_max']:g} MHz, {machine['date'][:10]}; "
            f"{commands}; [{path.name}](results/{path.name})):")


def against(rows):
    best = BEST_BACKWARD if any(r["set"] == "bwd" for r in rows) else BEST
    names = "the faster of FlashAttention-2 and cuDNN" if best == BEST else "the fastest that is not Attune"
    for name, peers, ours in [*((PEERS[p], [p], "attune") for p in ("fa2", "cudnn", "fa3", "fa4", "eager", "flex")),
                              (f"the best peer at each point ({names})", best, "attune"),
                              ("FlashAttention-3 deterministic, with Attune deterministic", ["fa3-det"], "attune-det"),
                              ("Attune otherwise, with Attune deterministic", ["attune"], "attune-det")]:
        ratios = list(speedups(rows, *peers, ours=ours).values())
        if ratios:
            yield (f"- against {name}: {geomean(ratios):.2f} times as fast by geometric mean, {min(ratios):.2f} at least, "
                   f"{max(ratios):.2f} at most, over {len(ratios)} points, {sum(r < 1 for r in ratios)} of them below 1.00")
    yield ""


def set_summary(path, title):
    rows = read(path)
    if speedups(rows, *BEST):
        yield heading(path, rows, f"{title}, {{}}")
        yield ""
        yield from against(rows)


def gpt2_table(path):
    rows = read(path)
    yield heading(path, rows, "Forward and backward of GPT-2 medium's attention (batch 64, 16 heads, 1,024 tokens, head_dim 64, causal), {}")
    yield ""
    yield "| | ms | TFLOP/s |"
    yield "|---|---:|---:|"
    for row in rows:
        if row["set"] == "fwd+bwd" and "ms" in row:
            yield f"| {PEERS[row['peer']]} | {row['ms']:.2f} | {row['tflops']:.0f} |"
    yield ""
    yield from against(rows)


def decode_table(path):
    rows = [r for r in read(path) if r["set"] == "fwd" and "ms" in r]
    yield heading(path, read(path), "One query of 32 heads on keys of 8 heads, {}, head_dim 128, microseconds (GB/s of K and V)")
    yield ""
    peers = [peer for peer in PEERS if any(r["peer"] == peer for r in rows)]
    yield "| batch | keys | " + " | ".join(PEERS[peer] for peer in peers) + " |"
    yield "|---:|---:|" + "---:|" * len(peers)
    for B, S in dict.fromkeys((r["B"], r["Sk"]) for r in rows):
        times = {r["peer"]: f"{1e3 * r['ms']:.1f} ({r['gbps']:,.0f})" for r in rows if (r["B"], r["Sk"]) == (B, S)}
        yield f"| {B} | {S:,} | " + " | ".join(times.get(peer, "–") for peer in peers) + " |"
    yield ""
    yield from against(read(path))


def cell(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def grid_table(path, title):
    rows = read(path)
    timed = {(r["D"], r["causal"], r["peer"], r["Sq"]): r["tflops"] for r in rows if r["set"] in ("fwd", "bwd") and "ms" in r}
    seqs = sorted({key[3] for key in timed})
    yield heading(path, rows, title + ", {}, TFLOP/s")
    yield ""
    yield "| head_dim | mask | | " + " | ".join(f"{s:,}" for s in seqs) + " |"
    yield "|---|---|---|" + "---:|" * len(seqs)
    for D in sorted({key[0] for key in timed}):
        for causal in (False, True):
            for peer, name in PEERS.items():
                cells = [timed.get((D, causal, peer, s)) for s in seqs]
                if any(cells):
                    yield (f"| {D} | {'causal' if causal else 'none'} | {name} | "
                           + " | ".join(cell(c, 0) for c in cells) + " |")
    yield ""
    yield from against(rows)


def pattern_table(path, title, own):
    """own: {(name, seqlen): time / (density x dense time)}"""
    rows = read(path)
    times = {(r["name"], r["Sq"], r["peer"]): r["ms"] for r in rows if "density" in r and "ms" in r}
    densities = {(r["name"], r["Sq"]): r["density"] for r in rows if "density" in r}
    yield heading(path, rows, f"{title}, {{}}, head_dim 128, 16 heads")
    yield ""
    yield "| mask or score | seqlen | density | Attune, ms | FlexAttention, ms | times as fast | time / (density x dense time) |"
    yield "|---|" + "---:|" * 6
    for name, S in sorted(densities, key=lambda p: p[1]):
        ours, flex = (times.get((name, S, peer)) for peer in ("attune", "flex"))
        faster = flex / ours if ours and flex else None
        cells = cell(densities[name, S], 3), cell(ours, 3), cell(flex, 3), cell(faster, 2), cell(own.get((name, S)), 2)
        yield f"| {name} | {S:,} | " + " | ".join(cells) + " |"
    yield ""
    yield from against(rows)


def sparse_table(path):
    rows = read(path)
    times = {(r["name"], r["Sq"], r["peer"]): r["ms"] for r in rows if r["set"] == "sparse" and "ms" in r}
    densities = {(r["name"], r["Sq"]): r["density"] for r in rows if r["set"] == "sparse"}
    yield from pattern_table(path, "Masks and changed scores", to_own_dense(rows))
    gains = [f"{times['dense', S, peer] / ours:.1f} at {S:,} (density {densities[name, S]:.3f})"
             for (name, S, peer), ours in sorted(times.items(), key=lambda t: t[0][1])
             if name == "butterfly" and peer == "attune" and ("dense", S, peer) in times]
    yield f"- a butterfly of blocks against our own dense forward, times as fast: {', '.join(gains)}"
    yield ""
    yield from plot(times)


def plot(times):
    seqs = [S for name, S, peer in sorted(times) if name == "butterfly" and peer == "attune" and ("dense", S, peer) in times]
    fast = [f"{times['dense', S, 'attune'] / times['butterfly', S, 'attune']:.1f}" for S in seqs]
    yield "```mermaid"
    yield "xychart-beta"
    yield '    title "butterfly of 128 x 128 blocks: times as fast as our own dense forward"'
    yield f"    x-axis \"tokens\" [{', '.join(f'{S // 1024}k' for S in seqs)}]"
    yield '    y-axis "times"'
    yield f"    bar [{', '.join(fast)}]"
    yield "```"
    yield ""


def block_mask_table(path):
    rows = [r for r in read(path) if r["set"] == "block_mask"]
    built = [r for r in rows if "kept" in r]
    sizes = list(dict.fromkeys((r["Sq"], r["H"]) for r in built))
    yield heading(path, read(path), "Block masks of 128 x 128 blocks: milliseconds to build them on the device, from each source")
    yield ""
    yield "| source | " + " | ".join(f"{S:,} tokens, heads {H}" for S, H in sizes) + " |"
    yield "|---|" + "---:|" * len(sizes)
    for name in dict.fromkeys(r["name"] for r in built):
        found = {(r["Sq"], r["H"]): r["ms"] for r in built if r["name"] == name}
        yield f"| {name} | " + " | ".join(cell(found.get(size), 3) for size in sizes) + " |"
    yield ""
    yield "and attention over a butterfly's block mask beside the same by formula, head_dim 128, 16 heads, milliseconds:"
    yield ""
    attention = [r for r in rows if "config" in r]
    names = list(dict.fromkeys(r["name"].removeprefix("attention, ") for r in attention))
    yield "| seqlen | " + " | ".join(names) + " |"
    yield "|---:|" + "---:|" * len(names)
    for S in dict.fromkeys(r["Sq"] for r in attention):
        yield f"| {S:,} | " + " | ".join(cell(r["ms"], 3) for r in attention if r["Sq"] == S) + " |"
    yield ""


def results():
    """The text of RESULTS.md."""
    lines = []
    for path in sorted(RESULTS.glob("*-forward.jsonl")):
        lines += grid_table(path, "Forward")
    for path in sorted(RESULTS.glob("*-backward.jsonl")):
        lines += grid_table(path, "Backward (2.5 times the forward's operations)")
    for name, what in BACKWARD.items():
        for path in sorted(RESULTS.glob(f"*-{name}.jsonl")):
            lines += set_summary(path, f"Backward, {what}")
    for path in sorted(RESULTS.glob("*-backward_gpt2.jsonl")):
        lines += gpt2_table(path)
    for path in sorted(RESULTS.glob("*-backward_sparse.jsonl")):
        lines += pattern_table(path, "Backward, masks and changed scores", to_own_dense_backward(read(path)))
    for path in sorted(RESULTS.glob("*-mma.jsonl")):
        lines += [heading(path, read(path), "The same with family mma alone, {}"), "", *against(read(path))]
    for name in sets.SETS:
        for path in sorted(RESULTS.glob(f"*-{name}.jsonl")) if name != "forward" else []:
            lines += decode_table(path) if name == "decode" else set_summary(path, f"Set {name}")
    for path in sorted(RESULTS.glob("*-sparse.jsonl")):
        lines += sparse_table(path)
    for path in sorted(RESULTS.glob("*-block_mask.jsonl")):
        lines += block_mask_table(path)
    others = [f for f in figures() if "forward" not in f[0]]
    if others:
        lines += ["| measured | | wanted | in |", "|---|---:|---|---|"]
        lines += [f"| {what} | {shown(value)} | {relation} {shown(wanted)} | [{name}](results/{name}) |"
                  for name, what, value, relation, wanted, _ in others]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) if lines else "no results recorded yet"


SUMMARY = [  # set, what it is, peers
    ("forward", "bf16, head_dim 64 to 256, 512 to 16,384 tokens, dense and causal", BEST),
    ("gqa", "32 query heads on 8 key heads, causal", BEST),
    ("dims", "head_dim 96 and 192", BEST),
    ("decode", "one query of 32 heads on 2,048 to 65,536 keys of 8 heads", BEST),
    ("ragged", "197 to 4,097 tokens, no multiple of a tile", BEST),
    ("mma", "family mma alone, which uses FlashAttention-2's instructions", ("fa2",)),
    ("sparse", "masks, patterns and score expressions, 2,048 to 65,536 tokens", ("flex",)),
    ("backward", "the backward pass of the first set", BEST_BACKWARD),
    ("backward_sparse", "the backward pass of masks and score expressions, 4,096 and 16,384 tokens", ("flex",)),
]


def summary():
    """The README's table: a row for each recorded set."""
    rows, machines = [], {}
    for name, what, peers in SUMMARY:
        for path in sorted(RESULTS.glob(f"*-{name}.jsonl")):
            recorded = read(path)
            ratios = list(speedups(recorded, *peers).values())
            if ratios:
                peer = {BEST: "FlashAttention-2 or cuDNN, the faster",
                        BEST_BACKWARD: "FlashAttention-2, -3, -4 or cuDNN, the fastest"}.get(peers) or PEERS[peers[0]]
                rows.append(f"| {what} | {len(ratios)} | {peer} | {geomean(ratios):.2f} | {min(ratios):.2f} |")
                machines.update({f"{r['gpu']}, PyTorch {r['torch'].split('+')[0]}, cuDNN {r['cudnn']}": None for r in recorded
                                 if r["set"] == "machine"})
    if not rows:
        return "no results recorded yet"
    return "\n".join([f"On {', '.join(machines)}. Times as fast as the peer, over a set's points:", "",
                      "| set | points | peer | geometric mean | least |", "|---|---:|---|---:|---:|", *rows])


FILES = {  # file: marker, what makes its text
    TOP / "tests" / "bench" / "RESULTS.md": ("results", results),
    TOP / "README.md": ("figures", summary),
}


def rewritten(path, name, make):
    """The file's text with what lies between its markers made anew."""
    begin, end = f"<!-- {name}: begin (python3 tests/bench/table.py) -->", f"<!-- {name}: end -->"
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"table.py: {path.name} needs each marker once: {begin} and {end}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{make()}\n\n{end}{rest.split(end)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for path, (name, make) in FILES.items():
        text = rewritten(path, name, make)
        if not arguments.check:
            path.write_text(text)
        elif text != path.read_text():
            stale.append(path.name)
    sys.exit(f"not what the results give: {', '.join(stale)}; run python3 tests/bench/table.py" if stale else 0)


if __name__ == "__main__":
    main()
