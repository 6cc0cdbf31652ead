#!/usr/bin/env python3
"""Writes what tests/bench/results/*.jsonl records between the two markers of README.md; --check only says whether it is there."""
import argparse
import sys

import sets
from check_figures import BEST, RESULTS, TIMED, figures, geomean, read, shown, speedups, to_own_dense

README = RESULTS.parents[2] / "README.md"
BEGIN, END = "<!-- results: begin (python3 tests/bench/table.py) -->", "<!-- results: end -->"
PEERS = {"attune": "**Attune**", "fa2": "FlashAttention-2", "cudnn": "cuDNN", "eager": "unfused",
         "flex": "FlexAttention"}


def heading(path, rows, title):
    """What was measured, on what and how; rows of several calls have several machine rows, which differ in their commands."""
    machines = [r for r in rows if r["set"] == "machine"]
    machine = machines[0]
    dtypes = ", ".join(sorted({r["dtype"] for r in rows if r["set"] in TIMED}))
    commands = ", ".join(dict.fromkeys(f"`{m['command']}`" for m in machines))
    return (f"{title.format(dtypes)}, on {machine['gpu']} (driver {machine['driver']}, PyTorch {machine['torch']}, cuDNN "
            f"{machine['cudnn']}, NVRTC {machine['nvrtc']}, SM clock up to {machine['sm_mhz_max']:g} MHz, {machine['date'][:10]}; "
            f"{commands}; [{path.name}](tests/bench/results/{path.name})):")


def against(rows):
    for name, peers in [*((PEERS[p], [p]) for p in ("fa2", "cudnn", "eager", "flex")),
                        ("the best peer at each point (the faster of FlashAttention-2 and cuDNN)", BEST)]:
        ratios = list(speedups(rows, *peers).values())
        if ratios:
            yield (f"- against {name}: {geomean(ratios):.2f} times as fast by geometric mean, {min(ratios):.2f} at least, "
                   f"{max(ratios):.2f} at most, over {len(ratios)} points, {sum(r < 1 for r in ratios)} of them below 1.00")
    yield ""


def set_summary(path, name):
    rows = read(path)
    if speedups(rows, *BEST):
        yield heading(path, rows, f"Set {name}, {{}}")
        yield ""
        yield from against(rows)


def cell(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def forward_table(path):
    rows = read(path)
    timed = {(r["D"], r["causal"], r["peer"], r["Sq"]): r["tflops"] for r in rows if r["set"] == "fwd" and "ms" in r}
    seqs = sorted({key[3] for key in timed})
    yield heading(path, rows, "Forward, {}, TFLOP/s")
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


def sparse_table(path):
    rows = read(path)
    times = {(r["name"], r["Sq"], r["peer"]): r["ms"] for r in rows if r["set"] == "sparse" and "ms" in r}
    densities = {(r["name"], r["Sq"]): r["density"] for r in rows if r["set"] == "sparse"}
    own = to_own_dense(rows)
    yield heading(path, rows, "Masks and changed scores, {}, head_dim 128, 16 heads")
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


def lists_table(path):
    rows = [r for r in read(path) if r["set"] == "lists"]
    built = [r for r in rows if "kept" in r]
    sizes = list(dict.fromkeys((r["Sq"], r["H"]) for r in built))
    yield heading(path, read(path), "Block lists of 128 x 128 blocks: milliseconds to build them on the device, from each source")
    yield ""
    yield "| source | " + " | ".join(f"{S:,} tokens, heads {H}" for S, H in sizes) + " |"
    yield "|---|" + "---:|" * len(sizes)
    for name in dict.fromkeys(r["name"] for r in built):
        found = {(r["Sq"], r["H"]): r["ms"] for r in built if r["name"] == name}
        yield f"| {name} | " + " | ".join(cell(found.get(size), 3) for size in sizes) + " |"
    yield ""
    yield "and attention over a butterfly's lists beside the same by formula, head_dim 128, 16 heads, milliseconds:"
    yield ""
    attention = [r for r in rows if "config" in r]
    names = list(dict.fromkeys(r["name"].removeprefix("attention, ") for r in attention))
    yield "| seqlen | " + " | ".join(names) + " |"
    yield "|---:|" + "---:|" * len(names)
    for S in dict.fromkeys(r["Sq"] for r in attention):
        yield f"| {S:,} | " + " | ".join(cell(r["ms"], 3) for r in attention if r["Sq"] == S) + " |"
    yield ""


def section():
    lines = []
    for path in sorted(RESULTS.glob("*-forward.jsonl")):
        lines += forward_table(path)
    for path in sorted(RESULTS.glob("*-mma.jsonl")):
        lines += [heading(path, read(path), "The same with family mma alone, {}"), "", *against(read(path))]
    for name in sets.SETS:
        for path in sorted(RESULTS.glob(f"*-{name}.jsonl")) if name != "forward" else []:
            lines += set_summary(path, name)
    for path in sorted(RESULTS.glob("*-sparse.jsonl")):
        lines += sparse_table(path)
    for path in sorted(RESULTS.glob("*-lists.jsonl")):
        lines += lists_table(path)
    others = [f for f in figures() if "forward" not in f[0]]
    if others:
        lines += ["| measured | | wanted | in |", "|---|---:|---|---|"]
        lines += [f"| {what} | {shown(value)} | {relation} {shown(wanted)} | [{name}](tests/bench/results/{name}) |"
                  for name, what, value, relation, wanted, _ in others]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) if lines else "no results recorded yet"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = README.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"table.py: README.md needs each marker once: {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n\n{section()}\n\n{END}{after}"
    if arguments.check:
        sys.exit(0 if text == wanted else "README.md's table is not what the results give; run python3 tests/bench/table.py")
    README.write_text(wanted)


if __name__ == "__main__":
    main()
