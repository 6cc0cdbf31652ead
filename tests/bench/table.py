#!/usr/bin/env python3
"""Writes what tests/bench/results/*.jsonl records between the two markers of README.md; --check only says whether it is there."""
import argparse
import sys

from check_figures import RESULTS, figures, geomean, read, shown, speedups

README = RESULTS.parents[2] / "README.md"
BEGIN, END = "<!-- results: begin (python3 tests/bench/table.py) -->", "<!-- results: end -->"
PEERS = {"attune": "**Attune**", "fa2": "FlashAttention-2", "cudnn": "cuDNN", "eager": "unfused"}


def forward_table(path):
    rows = read(path)
    machine = next(r for r in rows if r["set"] == "machine")
    timed = {(r["D"], r["causal"], r["peer"], r["Sq"]): r["tflops"] for r in rows if r["set"] == "fwd" and "ms" in r}
    seqs = sorted({key[3] for key in timed})
    dtypes = ", ".join(sorted({r["dtype"] for r in rows if r["set"] == "fwd"}))
    yield (f"Forward, {dtypes}, TFLOP/s, on {machine['gpu']} (driver {machine['driver']}, PyTorch {machine['torch']}, cuDNN "
           f"{machine['cudnn']}, NVRTC {machine['nvrtc']}, SM clock up to {machine['sm_mhz_max']:g} MHz, {machine['date'][:10]}; "
           f"`{machine['command']}`; [{path.name}](tests/bench/results/{path.name})):")
    yield ""
    yield "| head_dim | mask | | " + " | ".join(f"{s:,}" for s in seqs) + " |"
    yield "|---|---|---|" + "---:|" * len(seqs)
    for D in sorted({key[0] for key in timed}):
        for causal in (False, True):
            for peer, name in PEERS.items():
                cells = [timed.get((D, causal, peer, s)) for s in seqs]
                if any(cells):
                    yield (f"| {D} | {'causal' if causal else 'none'} | {name} | "
                           + " | ".join("–" if c is None else f"{c:.0f}" for c in cells) + " |")
    yield ""
    for peer in ("fa2", "cudnn", "eager"):
        ratios = list(speedups(rows, peer).values())
        if ratios:
            yield (f"- against {PEERS[peer]}: {geomean(ratios):.2f} times as fast by geometric mean, {min(ratios):.2f} at least, "
                   f"{max(ratios):.2f} at most, over {len(ratios)} points")
    yield ""


def section():
    lines = []
    for path in sorted(RESULTS.glob("*-forward.jsonl")):
        lines += forward_table(path)
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
