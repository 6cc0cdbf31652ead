"""What the benches share on a GPU: their flags, the machine's row, Attune's side, checking results, timing. Needs PyTorch."""
import ctypes
import datetime
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

try:
    import torch
except ImportError:  # start() says so; flags and the self test do without
    torch = None

import attune

CLEAR = []


def clear_l2():
    """Writes more than any L2 holds, so that the next kernel finds its inputs in device memory."""
    if not CLEAR:
        CLEAR.append(torch.empty(256 << 20, dtype=torch.int8, device="cuda"))
    CLEAR[0].zero_()


def smi(*fields):
    """nvidia-smi's answers as a dict; empty where it cannot be asked."""
    try:
        line = subprocess.run(["nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits", "-i",
                               str(torch.cuda.current_device())], capture_output=True, text=True, timeout=20, check=True)
        return dict(zip(fields, (x.strip() for x in line.stdout.splitlines()[0].split(","))))
    except (OSError, subprocess.SubprocessError, IndexError):
        return {}


def number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def clocks():
    found = smi("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
    return dict(sm_mhz=number(found.get("clocks.sm")), memory_mhz=number(found.get("clocks.mem")),
                watts=number(found.get("power.draw")), celsius=number(found.get("temperature.gpu")))


def nvrtc_version():
    for name in (os.environ.get("ATTUNE_NVRTC"), "libnvrtc.so.13", "libnvrtc.so.12",
                 os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64", "libnvrtc.so")):
        if not name:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        major, minor = ctypes.c_int(), ctypes.c_int()
        if library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0:
            return f"{major.value}.{minor.value}"
    return None


def machine_row(lib):
    found = smi("driver_version", "clocks.max.sm", "clocks.max.memory", "power.limit")
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return dict(set="machine", gpu=properties.name, driver=found.get("driver_version"), torch=torch.__version__,
                cudnn=torch.backends.cudnn.version(), nvrtc=nvrtc_version(), attune=lib.attune_version().decode(),
                sms=properties.multi_processor_count, sm_mhz_max=number(found.get("clocks.max.sm")),
                memory_mhz_max=number(found.get("clocks.max.memory")), watts_max=number(found.get("power.limit")),
                date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), command=command())


def command():
    """The command line as it can be typed at the top of the checkout."""
    script = os.path.relpath(os.path.abspath(sys.argv[0]), attune.TOP)
    return shlex.join(["python3", script, *sys.argv[1:]])


def results_path(name):
    """tests/bench/results/<gpu>-<name>.jsonl"""
    model = re.search(r"[A-Z]+\d+\w*", torch.cuda.get_device_name())
    gpu = (model.group(0) if model else torch.cuda.get_device_name().replace(" ", "-")).lower()
    return attune.TOP / "tests" / "bench" / "results" / f"{gpu}-{name}.jsonl"


class Sink:
    """Rows as JSON lines, to a file and to standard output. append: after the rows that the file has, which are in `kept`."""

    def __init__(self, path, append=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.kept = [json.loads(line) for line in open(path) if line.strip()] if append and path.exists() else []
        self.file = open(path, "a" if append else "w")

    def write(self, **row):
        line = json.dumps(row)
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def time_interleaved(calls, budget_s=1.5, least=12, most=60):
    """Times every call once a round, after clearing the L2; {name: [milliseconds]} and the clocks under that load."""
    for call in calls.values():
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    event = lambda: torch.cuda.Event(enable_timing=True)
    first, last = event(), event()
    first.record()
    for call in calls.values():
        clear_l2()
        call()
    last.record()
    torch.cuda.synchronize()
    rounds = int(min(most, max(least, budget_s * 1e3 / max(first.elapsed_time(last), 1e-3))))
    pairs = {name: [(event(), event()) for _ in range(rounds)] for name in calls}
    names = list(calls)
    for i in range(rounds):
        for at in range(len(names)):
            name = names[(at + i) % len(names)]  # what runs before a call is not the same every round
            clear_l2()
            start, stop = pairs[name][i]
            start.record()
            calls[name]()
            stop.record()
    load = clocks()  # asked while the queue still runs
    torch.cuda.synchronize()
    return {name: [a.elapsed_time(b) for a, b in events] for name, events in pairs.items()}, load


def summary(samples):
    ordered = sorted(samples)
    return dict(ms=round(statistics.median(ordered), 5), ms_low=round(ordered[len(ordered) // 4], 5),
                ms_high=round(ordered[-1 - len(ordered) // 4], 5), runs=len(ordered))


# ---- the result against float64 ----

def causal(b, h, q, k):
    return k <= q


def check_result(q, k, v, o, seen=None, change=None, lse=None, pairs=8, rows=64):
    """Error of o, of shape (batch, seqlen, heads, head_dim), against float64 on sampled rows, and what is allowed: twice the
    error of the unfused computation in the tensors' own type, plus 1e-5. Raises where it is exceeded or o is not finite.
    seen(b, h, q, k) is true where key k is seen by query q, change(score, b, h, q, k) is the new score, both of tensors that
    broadcast, as FlexAttention's mask_mod and score_mod; None: all are seen, and the score stays."""
    if not torch.isfinite(o).all():
        raise RuntimeError("wrong result: o has elements that are not finite, or were not written")
    batch, seqlen, heads, dim = q.shape
    generator = torch.Generator(device="cpu").manual_seed(seqlen + dim)
    error = unfused_error = lse_error = 0.0
    scale = 1.0 / math.sqrt(dim)
    for n in range(pairs):
        b = int(torch.randint(batch, (1,), generator=generator))
        h = 0 if n == 0 else heads - 1 if n == 1 else int(torch.randint(heads, (1,), generator=generator))
        edges = torch.tensor([0, 1, 63, 64, 127, 128, seqlen - 1]).clamp(max=seqlen - 1)
        index = torch.cat([edges, torch.randint(seqlen, (rows,), generator=generator)]).to(q.device)
        place = b, h, index[:, None], torch.arange(k.shape[1], device=q.device)[None, :]
        hidden = None if seen is None else ~seen(*place)
        hk = h * k.shape[2] // heads

        def attend(kind):
            s = q[b, index, h].to(kind) @ k[b, :, hk].to(kind).T * scale
            s = s.to(torch.promote_types(kind, torch.float32))
            if change is not None:
                s = change(s, *place)
            if hidden is not None:
                s = s.masked_fill(hidden, float("-inf"))
            return torch.softmax(s, -1).to(kind) @ v[b, :, hk].to(kind), s

        exact, scores = attend(torch.float64)
        error = max(error, (o[b, index, h].double() - exact).abs().max().item())
        unfused_error = max(unfused_error, (attend(q.dtype)[0].double() - exact).abs().max().item())
        if lse is not None:
            lse_error = max(lse_error, (lse[b, h, index].double() - torch.logsumexp(scores, -1)).abs().max().item())
    bound = 2 * unfused_error + 1e-5
    if not error <= bound or not lse_error <= 1e-3:
        raise RuntimeError(f"wrong result: error {error:.3g} of o where {bound:.3g} is allowed, {lse_error:.3g} of LSE")
    return dict(error=float(f"{error:.4g}"), bound=float(f"{bound:.4g}"))


# ---- one point ----

def param_word(value):
    if isinstance(value, torch.Tensor):
        return "float[]" if value.is_floating_point() else "int[]"
    return "float" if isinstance(value, float) else "int"


def address(tensor):
    return None if tensor is None else tensor.data_ptr()


def values_of(params):
    """The params, numbers or tensors, as a plan binds them."""
    return {name: (value.data_ptr(), value.numel()) if isinstance(value, torch.Tensor) else value
            for name, value in params.items()}


def tensor_fields(q, k, v, params):
    """A problem's fields that tensors of (batch, seqlen, heads, head_dim) and params tell."""
    return dict(dtype=attune.BF16 if q.dtype == torch.bfloat16 else attune.FP16, head_dim=q.shape[3],
                head_dim_v=v.shape[3], batch=q.shape[0], heads_q=q.shape[2], heads_kv=k.shape[2], seqlen_q=q.shape[1],
                seqlen_k=k.shape[1], params={name: param_word(value) for name, value in params.items()})


def attune_peer(context, fields, q, k, v, seen=None, change=None, params=None, bias=None):
    """Attune on tensors of shape (batch, seqlen, heads, head_dim), run once and checked: its call, and what to record of it.
    fields, the problem's, say to Attune what seen and change say to check_result; params: values of those in its
    expressions, numbers or tensors of int32 or float32."""
    params = params or {}
    batch, seqlen, heads, _ = q.shape
    plan = context.plan(context.problem(**tensor_fields(q, k, v, params), **fields))
    o = torch.full_like(q, float("nan"))
    lse = torch.full((batch, heads, seqlen), float("nan"), device=q.device) if fields.get("want_lse") else None
    workspace = torch.empty(max(1, plan.workspace), dtype=torch.uint8, device=q.device)
    call = plan.bind(*map(address, (q, k, v, o, lse, workspace)), torch.cuda.current_stream().cuda_stream,
                     values_of(params), address(bias))
    call.memory = q, k, v, o, lse, workspace, params, bias  # stays while the call does
    call()
    torch.cuda.synchronize()
    return call, dict(config=plan.config, source=plan.source, **check_result(q, k, v, o, seen, change, lse))


def graphed(call):
    """The call, which ran before, as a CUDA graph: what Python does in it costs the GPU no time."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        call()

    def replay():
        graph.replay()

    replay.call = call  # and its memory
    return replay


def bench_point(sink, point, peers, budget_s, flops=None, moved=None):
    """One row a peer. peers: {name: a function that prepares it and gives its call and what to record, or None where it does
    not take part}; one that fails is a row too. flops, moved: operations and bytes of a run, for its rates."""
    torch.cuda.empty_cache()  # of the point before
    calls, facts = {}, {}
    for peer, prepare in peers.items():
        try:
            prepared = prepare()
            torch.cuda.synchronize()
            if prepared is not None:
                calls[peer], facts[peer] = prepared
        except Exception as failure:
            sink.write(**point, peer=peer, failed=str(failure).strip().split("\n")[0][:200])
    if calls:
        samples, load = time_interleaved(calls, budget_s)
        for peer, times in samples.items():
            row = summary(times)
            if flops is not None:
                row["tflops"] = round(flops / row["ms"] / 1e9, 1)
            if moved is not None:
                row["gbps"] = round(moved / row["ms"] / 1e6, 1)
            sink.write(**point, peer=peer, **row, **facts[peer], sm_mhz=load["sm_mhz"], watts=load["watts"])


# ---- a bench's start ----

def add_flags(parser):
    parser.add_argument("--append", action="store_true", help="keep the rows recorded already, and skip their points")
    parser.add_argument("--rounds-budget", type=float, default=1.5, metavar="SECONDS",
                        help="of rounds a point (default: %(default)s); twelve rounds are run at least, sixty at most")
    parser.add_argument("--database", help="Attune's store (default: the user's)")
    parser.add_argument("--library", help="default: build/libattune.so")
    parser.add_argument("--out", type=Path, help="default: tests/bench/results/<gpu>-<set>.jsonl")


def start(flags, name):
    """Attune's context, and the sink with the machine's row in it."""
    script = os.path.basename(sys.argv[0])
    if torch is None:
        sys.exit(f"{script}: PyTorch is not installed for this python3; bench_forward.py --selftest does without it")
    if not torch.cuda.is_available():
        sys.exit(f"{script}: PyTorch sees no GPU; bench_forward.py --selftest does without one")
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.zeros(1, device="cuda")  # the primary context becomes current, and Attune uses it
    library = attune.load(flags.library)
    context = attune.Context(library, None, flags.database)
    sink = Sink(flags.out or results_path(name), flags.append)
    machine = machine_row(library)
    others = {row["gpu"] for row in sink.kept if row["set"] == "machine"} - {machine["gpu"]}
    if others:
        sys.exit(f"{script}: the rows there are of {', '.join(others)}, not of {machine['gpu']}; leave --append out")
    sink.write(**machine)
    return context, sink


def chosen(text, value):
    """Whether a flag as 64,128 leaves the value."""
    return text is None or str(value) in text.split(",")
