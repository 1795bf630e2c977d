"""A Whisper model in CTranslate2's file format -> the state dict of openai-whisper, as safetensors bytes.

CTranslate2 stores attention projections fused (query, key and value stacked by rows) and gives the key projection a
bias of zeros which Whisper does not have. Values stay float16; nothing is rounded.
"""

from __future__ import annotations

import json
import struct

import numpy as np
from safetensors.numpy import save

DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # CTranslate2's own numbering
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}  # width of the model -> attention heads, Whisper paper table 1

Tensors = dict[str, np.ndarray]


class _Reader:
    """Little-endian values from a buffer, one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError("the file ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def text(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode()


def read_ct2(data: bytes) -> Tensors:
    """All variables of a CTranslate2 `model.bin`, version 6, by name; ValueError if it is not one."""
    reader = _Reader(data)
    try:
        version, spec, revision = reader.number("I"), reader.text(), reader.number("I")
        if version != 6 or spec != "WhisperSpec":
            raise ValueError(f"version {version} of {spec!r}; wanted version 6 of 'WhisperSpec'")
        tensors: Tensors = {}
        for _ in range(reader.number("I")):
            name = reader.text()
            shape = [reader.number("I") for _ in range(reader.number("B"))]
            dtype = DTYPES[reader.number("B")]
            tensors[name] = np.frombuffer(reader.take(reader.number("I")), dtype).reshape(shape)
        if revision >= 3:
            for _ in range(reader.number("I")):
                alias, name = reader.text(), reader.text()
                tensors[alias] = tensors[name]
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"not a CTranslate2 model file: {error}") from error
    return tensors


def _weight_and_bias(out: Tensors, to: str, weight: np.ndarray, bias: np.ndarray | None) -> None:
    out[f"{to}.weight"] = weight
    if bias is not None:
        out[f"{to}.bias"] = bias


def _linear(ct2: Tensors, out: Tensors, to: str, source: str) -> None:
    _weight_and_bias(out, to, ct2[f"{source}/weight"], ct2[f"{source}/bias"])


def _norm(ct2: Tensors, out: Tensors, to: str, source: str) -> None:
    _weight_and_bias(out, to, ct2[f"{source}/gamma"], ct2[f"{source}/beta"])


def _fused(ct2: Tensors, out: Tensors, to: str, source: str, parts: tuple[str, ...]) -> None:
    """Split projections stacked by rows; the key's bias is all zeros and has no place in Whisper."""
    weights = np.split(ct2[f"{source}/weight"], len(parts))
    biases = np.split(ct2[f"{source}/bias"], len(parts))
    for part, weight, bias in zip(parts, weights, biases):
        if part == "key" and bias.any():
            raise ValueError(f"{source}: the bias of the keys is not zero, so this is not a Whisper model")
        _weight_and_bias(out, f"{to}.{part}", weight, None if part == "key" else bias)


def _block(ct2: Tensors, out: Tensors, side: str, layer: int) -> None:
    source, to = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
    _norm(ct2, out, f"{to}.attn_ln", f"{source}/self_attention/layer_norm")
    _fused(ct2, out, f"{to}.attn", f"{source}/self_attention/linear_0", ("query", "key", "value"))
    _linear(ct2, out, f"{to}.attn.out", f"{source}/self_attention/linear_1")
    if side == "decoder":
        _norm(ct2, out, f"{to}.cross_attn_ln", f"{source}/attention/layer_norm")
        _linear(ct2, out, f"{to}.cross_attn.query", f"{source}/attention/linear_0")
        _fused(ct2, out, f"{to}.cross_attn", f"{source}/attention/linear_1", ("key", "value"))
        _linear(ct2, out, f"{to}.cross_attn.out", f"{source}/attention/linear_2")
    _norm(ct2, out, f"{to}.mlp_ln", f"{source}/ffn/layer_norm")
    _linear(ct2, out, f"{to}.mlp.0", f"{source}/ffn/linear_0")
    _linear(ct2, out, f"{to}.mlp.2", f"{source}/ffn/linear_1")


def to_openai(ct2: Tensors) -> tuple[dict[str, int], Tensors]:
    """-> (keyword arguments of `whisper.model.ModelDimensions`, state dict of `whisper.model.Whisper`)."""
    out: Tensors = {}
    layers = {s: sum(name.startswith(f"{s}/layer_") and name.endswith("/ffn/linear_0/weight") for name in ct2)
              for s in ("encoder", "decoder")}  # fmt: skip
    try:
        for conv in ("conv1", "conv2"):
            _linear(ct2, out, f"encoder.{conv}", f"encoder/{conv}")
        _norm(ct2, out, "encoder.ln_post", "encoder/layer_norm")
        _norm(ct2, out, "decoder.ln", "decoder/layer_norm")
        out["decoder.token_embedding.weight"] = ct2["decoder/embeddings/weight"]
        for side, count in layers.items():
            out[f"{side}.positional_embedding"] = ct2[f"{side}/position_encodings/encodings"]
            for layer in range(count):
                _block(ct2, out, side, layer)
    except KeyError as error:
        raise ValueError(f"not a Whisper model: {error} is missing") from error
    width = out["encoder.ln_post.weight"].shape[0]
    dims = dict(
        n_mels=out["encoder.conv1.weight"].shape[1],
        n_audio_ctx=out["encoder.positional_embedding"].shape[0],
        n_audio_state=width,
        n_audio_head=HEADS[width],
        n_audio_layer=layers["encoder"],
        n_vocab=out["decoder.token_embedding.weight"].shape[0],
        n_text_ctx=out["decoder.positional_embedding"].shape[0],
        n_text_state=width,
        n_text_head=HEADS[width],
        n_text_layer=layers["decoder"],
    )
    return dims, out


def convert(model_bin: bytes) -> bytes:
    """`model.bin` -> a safetensors file; its one metadata field `dims` is the model's dimensions as JSON.

    One field only, since safetensors does not promise the order of several and the file's hash must not vary.
    """
    dims, tensors = to_openai(read_ct2(model_bin))
    return save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, {"dims": json.dumps(dims)})
