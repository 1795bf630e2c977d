"""CTranslate2's Whisper file -> openai-whisper's own state dict, without a value changed."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file
from whisper.model import ModelDimensions, Whisper

from models import weights, whisper_ct2

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "speech" / "jfk_en.flac"
WIDTH, LAYERS, VOCABULARY, TEXT, AUDIO, MELS = 384, 2, 12, 5, 6, 80


def variables():
    """Variables of a small model by CTranslate2's names, with random float16 values and a zero bias for keys."""
    rng = np.random.default_rng(0)
    tensors = {}

    def put(name, *shape):
        tensors[name] = rng.normal(size=shape).astype(np.float16)

    def linear(name, out, into):
        put(f"{name}/weight", out, into)
        put(f"{name}/bias", out)

    def norm(name):
        put(f"{name}/gamma", WIDTH)
        put(f"{name}/beta", WIDTH)

    norm("encoder/layer_norm")
    norm("decoder/layer_norm")
    put("encoder/conv1/weight", WIDTH, MELS, 3)
    put("encoder/conv1/bias", WIDTH)
    put("encoder/conv2/weight", WIDTH, WIDTH, 3)
    put("encoder/conv2/bias", WIDTH)
    put("encoder/position_encodings/encodings", AUDIO, WIDTH)
    put("decoder/position_encodings/encodings", TEXT, WIDTH)
    put("decoder/embeddings/weight", VOCABULARY, WIDTH)
    for side in ("encoder", "decoder"):
        for layer in range(LAYERS):
            block = f"{side}/layer_{layer}"
            norm(f"{block}/self_attention/layer_norm")
            linear(f"{block}/self_attention/linear_0", 3 * WIDTH, WIDTH)
            tensors[f"{block}/self_attention/linear_0/bias"][WIDTH : 2 * WIDTH] = 0
            linear(f"{block}/self_attention/linear_1", WIDTH, WIDTH)
            if side == "decoder":
                norm(f"{block}/attention/layer_norm")
                linear(f"{block}/attention/linear_0", WIDTH, WIDTH)
                linear(f"{block}/attention/linear_1", 2 * WIDTH, WIDTH)
                tensors[f"{block}/attention/linear_1/bias"][:WIDTH] = 0
                linear(f"{block}/attention/linear_2", WIDTH, WIDTH)
            norm(f"{block}/ffn/layer_norm")
            linear(f"{block}/ffn/linear_0", 4 * WIDTH, WIDTH)
            linear(f"{block}/ffn/linear_1", WIDTH, 4 * WIDTH)
    return tensors


def text(value):
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def ct2_file(tensors, version=6, spec="WhisperSpec", aliases=()):
    out = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        out += text(name) + struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        out += struct.pack("<BI", 4, tensor.nbytes) + tensor.tobytes()
    out += struct.pack("<I", len(aliases))
    for alias, name in aliases:
        out += text(alias) + text(name)
    return out


@pytest.fixture(scope="module")
def tensors():
    return variables()


@pytest.fixture(scope="module")
def converted(tensors):
    return whisper_ct2.convert(ct2_file(tensors))


def test_whisper_takes_the_state_dict_with_nothing_missing_or_left_over(converted):
    length = struct.unpack("<Q", converted[:8])[0]
    dims = json.loads(json.loads(converted[8 : 8 + length])["__metadata__"]["dims"])
    assert dims == dict(
        n_mels=MELS, n_audio_ctx=AUDIO, n_audio_state=WIDTH, n_audio_head=6, n_audio_layer=LAYERS,
        n_vocab=VOCABULARY, n_text_ctx=TEXT, n_text_state=WIDTH, n_text_head=6, n_text_layer=LAYERS,
    )  # fmt: skip
    model = Whisper(ModelDimensions(**dims))
    model.load_state_dict(load(converted))
    with torch.inference_mode():
        logits = model.logits(torch.zeros(1, 3, dtype=torch.long), model.embed_audio(torch.zeros(1, MELS, 2 * AUDIO)))
    assert logits.shape == (1, 3, VOCABULARY)


def test_fused_projections_are_split_in_order(tensors, converted):
    state = load(converted)
    fused = tensors["encoder/layer_1/self_attention/linear_0/weight"]
    for k, part in enumerate(("query", "key", "value")):
        whole = state[f"encoder.blocks.1.attn.{part}.weight"].numpy()
        np.testing.assert_array_equal(whole, fused[k * WIDTH : (k + 1) * WIDTH])
    cross = tensors["decoder/layer_0/attention/linear_1/weight"]
    np.testing.assert_array_equal(state["decoder.blocks.0.cross_attn.value.weight"].numpy(), cross[WIDTH:])


def test_the_same_bytes_come_out_every_time(tensors, converted):
    assert whisper_ct2.convert(ct2_file(tensors)) == converted


def test_an_alias_stands_for_its_variable(tensors):
    renamed = {("stored" if name == "decoder/embeddings/weight" else name): t for name, t in tensors.items()}
    file = ct2_file(renamed, aliases=[("decoder/embeddings/weight", "stored")])
    assert load(whisper_ct2.convert(file))["decoder.token_embedding.weight"].shape == (VOCABULARY, WIDTH)


def test_files_of_another_kind_are_refused(tensors):
    with pytest.raises(ValueError, match="version 5"):
        whisper_ct2.convert(ct2_file(tensors, version=5))
    with pytest.raises(ValueError, match="TransformerSpec"):
        whisper_ct2.convert(ct2_file(tensors, spec="TransformerSpec"))
    with pytest.raises(ValueError, match="not a CTranslate2"):
        whisper_ct2.convert(b"")
    file = ct2_file(tensors)
    for cut in (9, 100, len(file) // 2, len(file) - 2):
        with pytest.raises(ValueError):
            whisper_ct2.convert(file[:cut])


def test_a_missing_variable_and_a_bias_on_keys_are_named(tensors):
    without = {name: t for name, t in tensors.items() if name != "encoder/conv2/bias"}
    with pytest.raises(ValueError, match="encoder/conv2/bias"):
        whisper_ct2.to_openai(without)
    biased = dict(tensors)
    biased["encoder/layer_0/self_attention/linear_0/bias"] = np.ones(3 * WIDTH, np.float16)
    with pytest.raises(ValueError, match="bias of the keys"):
        whisper_ct2.to_openai(biased)


def test_the_converted_model_understands_speech():
    if not SPEECH.is_file():
        pytest.skip(f"test data is absent: {SPEECH.name}")
    import av
    import whisper
    from safetensors import safe_open

    file = weights.path("whisper_tiny_en")
    with safe_open(str(file), "np") as tensors:
        model = Whisper(ModelDimensions(**json.loads(tensors.metadata()["dims"])))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()})
    resampler = av.AudioResampler("flt", "mono", 16000)
    with av.open(str(SPEECH)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    sound = whisper.pad_or_trim(np.concatenate([frame.to_ndarray()[0] for frame in frames]))
    options = whisper.DecodingOptions(language="en", fp16=False, without_timestamps=True)
    result = whisper.decode(model, whisper.log_mel_spectrogram(sound), options)
    assert "ask not what your country can do for you" in result.text
