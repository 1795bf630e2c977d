"""Short-window features are Whisper's own, frame by frame where the sound is, and depend on what is said."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from whisper.audio import log_mel_spectrogram
from whisper.model import AudioEncoder, ModelDimensions, Whisper

from models import weights
from models.speech_encoder import FRAME_RATE, RATE, SAMPLES_PER_FRAME, WIDTH, SpeechEncoder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder():
    return SpeechEncoder(device="cpu")


def babble(seconds, seed=0):
    """Noise that comes and goes four times a second, about as loud as speech."""
    n = round(seconds * RATE)
    noise = np.random.default_rng(seed).standard_normal(n)
    return (0.1 * noise * (1 + np.sin(2 * np.pi * 4 * np.arange(n) / RATE))).astype(np.float32)


def test_the_frame_is_20_milliseconds():
    assert (RATE, SAMPLES_PER_FRAME, FRAME_RATE) == (16000, 320, 50)


@pytest.mark.parametrize("samples", [320, 321, 639, 640, 8000, 16000, 16001, 32000])
def test_a_frame_for_every_320_samples(encoder, samples):
    features = encoder.features(babble(samples / RATE))
    assert features.shape == (samples // 320, WIDTH)
    assert features.dtype == np.float32 and np.isfinite(features).all()


def test_thirty_seconds_give_what_whisper_gives():
    """All four blocks on a full window, against openai-whisper's own model with the same weights."""
    file = weights.path("whisper_tiny_en")
    with safe_open(str(file), "pt") as tensors:
        dims = json.loads(tensors.metadata()["dims"])
        state = {name: tensors.get_tensor(name).float() for name in tensors.keys()}  # noqa: SIM118, not a dict
    whisper = Whisper(ModelDimensions(**dims))
    whisper.load_state_dict(state)
    sound = babble(30)
    with torch.inference_mode():
        wanted = whisper.embed_audio(log_mel_spectrogram(torch.from_numpy(sound))[None])[0]
        ours = whisper.encoder.ln_post(torch.from_numpy(SpeechEncoder(4, "cpu").features(sound)))
    np.testing.assert_allclose(ours.numpy(), wanted.numpy(), atol=1e-4)


def test_a_short_window_is_whisper_with_a_short_positional_embedding(encoder):
    """The same layers, put together by Whisper's own forward for a context of 50 frames."""
    with safe_open(str(weights.path("whisper_tiny_en")), "pt") as tensors:
        short = AudioEncoder(80, FRAME_RATE, WIDTH, 6, 3)
        state = {k: tensors.get_tensor(f"encoder.{k}").float() for k in short.state_dict()}
    state["positional_embedding"] = state["positional_embedding"][:FRAME_RATE]
    short.load_state_dict(state)
    sound = babble(1)
    with torch.inference_mode():
        wanted = short(log_mel_spectrogram(torch.from_numpy(sound))[None])[0]
        ours = short.ln_post(torch.from_numpy(encoder.features(sound)))
    np.testing.assert_allclose(ours.numpy(), wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_a_change_of_the_sound_changes_the_features_most_where_it_is(encoder, at):
    sound = babble(1)
    changed = sound.copy()
    first = round(at * RATE)
    changed[first : first + 4 * SAMPLES_PER_FRAME] = babble(4 / FRAME_RATE, seed=9)
    change = np.linalg.norm(encoder.features(changed) - encoder.features(sound), axis=1)
    assert abs(int(change.argmax()) - (first // SAMPLES_PER_FRAME + 2)) <= 3


def test_a_batch_is_each_window_alone(encoder):
    sounds = [babble(1, seed) * 10.0**-seed for seed in range(3)]
    batch = encoder.batch(torch.from_numpy(np.stack(sounds)))
    for one, sound in zip(batch, sounds):
        np.testing.assert_allclose(one.cpu().numpy(), encoder.features(sound), atol=1e-4)


def test_silence_is_finite_and_steady(encoder):
    features = encoder.features(np.zeros(RATE, np.float32))
    assert np.isfinite(features).all()
    inner = features[10:-10]
    assert (
        np.abs(inner - inner.mean(0)).mean() < 0.5 * np.abs(encoder.features(babble(1))[10:-10] - inner.mean(0)).mean()
    )


def test_fewer_blocks_are_earlier_features():
    sound = babble(0.5)
    three, two = (SpeechEncoder(blocks, "cpu") for blocks in (3, 2))
    with torch.inference_mode():
        third = three._encoder.blocks[2](torch.from_numpy(two.features(sound))[None])[0]
    np.testing.assert_allclose(third.numpy(), three.features(sound), atol=1e-4)


def test_only_the_blocks_that_run_are_kept(encoder):
    """Three blocks of 1.77 M values, two convolutions and the positions: 6.5 M in all, 26 MB, and no decoder."""
    held = sum(tensor.numel() for tensor in encoder._encoder.state_dict().values())
    assert held < 6.6e6


@pytest.mark.parametrize("samples", [0, 319, 30 * RATE + SAMPLES_PER_FRAME])
def test_a_window_of_a_wrong_length_is_refused(encoder, samples):
    with pytest.raises(ValueError, match=r"wanted 0\.02 to 30 s"):
        encoder.features(np.zeros(samples, np.float32))


@pytest.mark.parametrize("blocks", [0, 5])
def test_an_impossible_number_of_blocks_is_refused(blocks):
    with pytest.raises(ValueError, match="has 1 to 4"):
        SpeechEncoder(blocks)
