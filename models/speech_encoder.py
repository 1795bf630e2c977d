"""Speech features: the first blocks of Whisper's encoder, run on a short window instead of 30 padded seconds.

A window of n samples gives n / 320 frames of 20 ms. The positional embedding is cut to the window; the later blocks and
the decoder are never loaded. Three blocks of tiny.en on one thread of a quiet server processor took 5 ms for a window
of .5 s, 7 ms for 1 s, 12 ms for 2 s and 21 ms for 4 s (median of 20, mel included).

Whisper: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from whisper.audio import N_SAMPLES_PER_TOKEN, SAMPLE_RATE, log_mel_spectrogram
from whisper.model import AudioEncoder

from models import weights

RATE = SAMPLE_RATE  # 16000 samples a second
SAMPLES_PER_FRAME = N_SAMPLES_PER_TOKEN  # 320 samples: two mel hops, 20 ms
FRAME_RATE = RATE // SAMPLES_PER_FRAME  # 50 frames a second
WIDTH = 384  # of tiny.en
SIZES = {"tiny.en": "whisper_tiny_en", "base": "whisper_base"}  # that the manifest knows; others come as files


class SpeechEncoder:
    """Whisper's encoder up to a block, for windows of up to 30 s. It keeps no state between calls.

    On a GPU where there is one. On the CPU the caller chooses torch's threads (`torch.set_num_threads(1)` in the
    server's processes): the number is the process's own, so it is not touched here.
    """

    def __init__(self, blocks: int = 3, device: str | None = None, size: str = "tiny.en") -> None:
        """size: one of SIZES, or a checkpoint file of openai-whisper (.pt). blocks: how many of its blocks to run.

        WeightsError if the weights are absent, ValueError for blocks, or for a file that is no such checkpoint.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dims, tensor = _known(weights.path(SIZES[size])) if size in SIZES else _checkpoint(Path(size))
        if not 1 <= blocks <= dims["n_audio_layer"]:
            raise ValueError(f"blocks is {blocks}; Whisper {size} has 1 to {dims['n_audio_layer']}")
        self._mels, self.width, self.blocks = dims["n_mels"], dims["n_audio_state"], blocks
        with torch.device("meta"):  # shapes alone: no time is spent on random values
            encoder = AudioEncoder(self._mels, dims["n_audio_ctx"], self.width, dims["n_audio_head"], blocks)
        encoder.load_state_dict({name: tensor(f"encoder.{name}").float() for name in encoder.state_dict()}, assign=True)
        self._encoder = encoder.eval().requires_grad_(False).to(self.device)

    @torch.inference_mode()
    def features(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """window (n,) samples at 16 kHz within -1..1 -> (n // 320, width), output of the last block run, as it is.

        Frame k is of the samples 320 k to 320 (k + 1). Whisper scales a window by its own loudest moment (values more
        than 80 dB below are cut), so features depend on the whole window.
        """
        return self.batch(torch.from_numpy(np.asarray(window, np.float32))[None])[0].cpu().numpy()

    @torch.inference_mode()
    def batch(self, windows: torch.Tensor) -> torch.Tensor:
        """windows (B, n) float32 -> (B, n // 320, width) on the encoder's device; for training."""
        frames = windows.shape[-1] // SAMPLES_PER_FRAME
        encoder = self._encoder
        if not 1 <= frames <= encoder.positional_embedding.shape[0]:
            seconds = windows.shape[-1] / RATE
            raise ValueError(f"a window of {seconds:.3f} s; wanted {1 / FRAME_RATE} to 30 s")
        samples = windows[:, : frames * SAMPLES_PER_FRAME].to(self.device)
        mel = torch.stack([log_mel_spectrogram(one, self._mels) for one in samples])
        x = torch.nn.functional.gelu(encoder.conv1(mel))
        x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
        x = x + encoder.positional_embedding[:frames]
        for block in encoder.blocks:
            x = block(x)
        return x


Source = tuple[dict[str, int], Callable[[str], torch.Tensor]]  # dimensions, and tensors by name


def _known(file: Path) -> Source:
    tensors = safe_open(str(file), "pt")
    return json.loads(tensors.metadata()["dims"]), tensors.get_tensor


def _checkpoint(file: Path) -> Source:
    if not file.is_file():
        raise ValueError(f"{file}: no such file; a speech encoder is {', '.join(SIZES)} or an openai-whisper .pt file")
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return content["dims"], content["model_state_dict"].__getitem__
    except Exception as e:  # torch raises whatever it comes upon
        raise ValueError(f"{file}: not a checkpoint of openai-whisper ({type(e).__name__}: {e})") from e
