"""Masks and changed scores, by name: those of sets.py as functions, for FlexAttention and for the comparison with
float64, and what they are to Attune."""
import attune
import gpu
import sets
from gpu import torch

BLOCK = 128


# ---- masks and scores as functions ----

def random_bits(a, b, c):
    """What expressions call random."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA6B + c * 0xC2B2AE35) & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return (x ^ x >> 16) & 0x7FFFFFFF


def one_bit_at_most(x):
    return (x & (x - 1)) == 0


MASKS = {
    "window1023": lambda b, h, q, k: (k <= q) & (q - k <= 1023),
    "window512": lambda b, h, q, k: (q - k).abs() <= 512,
    "prefix": lambda b, h, q, k: (k < 1024) | (k <= q),
    "global": lambda b, h, q, k: (q < 128) | (k < 128),
    "longformer": lambda b, h, q, k: ((q - k).abs() <= 256) | (q < 128) | (k < 128),
    "chunked": lambda b, h, q, k: q // 1024 == k // 1024,
    "strided": lambda b, h, q, k: ((q - k).abs() < 64) | ((q - k) % 64 == 0),
    "dilated": lambda b, h, q, k: ((q - k).abs() <= 256) & ((q - k) % 4 == 0),
    "blocks": lambda b, h, q, k: (q // 128 - k // 128).abs() <= 2,
    "butterfly": lambda b, h, q, k: (((q // 128 - k // 128).abs() <= 1) | (k // 128 == 0)
                                     | one_bit_at_most(q // 128 ^ k // 128)),
}


def bigbird(blocks, device):
    first, second, third = (torch.tensor([random_bits(q, i, 0) % blocks for q in range(blocks)], device=device)
                            for i in range(3))

    def seen(b, h, q, k):
        q, k = q // 128, k // 128
        return ((q - k).abs() <= 1) | (q < 1) | (k < 1) | (k == first[q]) | (k == second[q]) | (k == third[q])

    return seen


def mask_of(point, values, device):
    """None: all keys are seen."""
    doc, prefix, name = values.get("doc"), values.get("prefix"), point.get("name")
    tokens = 1 if doc is None else max(1, point["Sq"] // len(doc))
    if name == "bigbird":
        return bigbird(point["Sq"] // 128, device)
    masks = {**MASKS,
             "document": lambda b, h, q, k: doc[q // tokens] == doc[k // tokens],
             "document-causal": lambda b, h, q, k: (doc[q // tokens] == doc[k // tokens]) & (k <= q),
             "prefix-batch": lambda b, h, q, k: (k < prefix[b]) | (k <= q)}
    return masks.get(name, gpu.causal if point["causal"] else None)


def score_of(point, values, bias):
    """None: the score stays."""
    slope, table = values.get("slope"), values.get("table")
    return {"noop": lambda score, b, h, q, k: score,
            "alibi": lambda score, b, h, q, k: score - slope[h] * (q - k).abs(),
            "alibi-causal": lambda score, b, h, q, k: score + slope[h] * (k - q),
            "relative": lambda score, b, h, q, k: score + table[(k - q + 512).clamp(0, 1024)],
            "softcap": lambda score, b, h, q, k: 30 * torch.tanh(score / 30),
            "distance": lambda score, b, h, q, k: score - 0.01 * (q - k).abs(),
            "bias": lambda score, b, h, q, k: score + bias[h, q, k]}.get(point.get("name"))


# ---- one point's ----

def density(seen, batch, seqlen, device):
    """The part of the blocks in which any key is seen, a row of blocks at a time."""
    if seen is None:
        return 1.0
    places = torch.arange(seqlen, device=device)
    kept = sum(seen(b, 0, rows[:, None], places[None, :]).any(0).view(-1, BLOCK).any(1).sum()
               for b in range(batch) for rows in places.split(BLOCK))
    return round(kept.item() / (batch * (seqlen // BLOCK) ** 2), 6)


def problem_fields(point):
    """What the point's mask and score are to Attune."""
    fields = {key: point[key] for key in ("mask_expr", "score_expr") if key in point}
    fields["mask"] = attune.MASK_CAUSAL if point["causal"] else attune.MASK_NONE
    fields["window_left"], fields["window_right"] = point.get("window", (-1, -1))
    if "bias" in point:
        fields.update(want_bias=1, bias=(0, point["Sk"], point["Sq"] * point["Sk"]))
    return fields


class Pattern:
    """The mask and the score of a point of any set: seen and change, as gpu.check_result has them; fields, which say
    the same to Attune; params, the values that the expressions read; and the tensor bias, or None."""

    def __init__(self, point, device="cuda"):
        self.point, self.device, self.fields = point, device, problem_fields(point)
        self.params = {name: torch.tensor(value, device=device,
                                          dtype=torch.float32 if isinstance(value[0], float) else torch.int32)
                       for name, value in point.get("params", {}).items()}
        self.bias = torch.randn(point["H"], point["Sq"], point["Sk"], dtype=getattr(torch, point["dtype"]),
                                device=device) if "bias" in point else None
        self.seen, self.change = mask_of(point, self.params, device), score_of(point, self.params, self.bias)

    def row(self):
        """What the point's rows begin with; density where it has a name."""
        row = sets.identity(self.point)
        if "name" in row:
            row["density"] = density(self.seen, row["B"], row["Sq"], self.device)
        return row

    def block_mask(self):
        """FlexAttention's."""
        from torch.nn.attention.flex_attention import create_block_mask
        if self.seen is None:
            return None
        point = self.point
        batch = point["B"] if "prefix" in self.params else None
        # Without the compiler all pairs of a query and a key lie in memory.
        create = torch.compile(create_block_mask) if point["Sq"] > 16384 else create_block_mask
        return create(self.seen, batch, None, point["Sq"], point["Sk"], device=self.device, BLOCK_SIZE=BLOCK)

    def flex(self, q, k, v):
        """A call of the compiled FlexAttention on tensors of (batch, heads, seqlen, head_dim)."""
        from torch._functorch import config
        from torch.nn.attention.flex_attention import flex_attention
        torch._dynamo.reset()
        torch._dynamo.config.cache_size_limit = 1024
        config.donated_buffer = False  # else the backward pass runs only once
        blocks = self.block_mask()
        flex = torch.compile(flex_attention, dynamic=False, fullgraph=True)

        def call():
            return flex(q, k, v, score_mod=self.change, block_mask=blocks)

        return call


# ---- flags ----

def check_only(parser, only, points):
    """Refuses the flag --only where it names what the points do not have."""
    names = dict.fromkeys(p["name"] for p in points if "name" in p)
    for name in only.split(",") if only else []:
        if name not in names:
            parser.error(f"there is no {name}; there are {', '.join(names) or 'no names in this set'}")
