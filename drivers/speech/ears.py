"""What listens: an encoder of sound with the head that was trained on it. Three are ours; the machine's speed chooses.

base     Whisper base, multilingual, five of six blocks      heaviest; when asked for by name
tiny.en  Whisper tiny.en, three of four blocks               what "auto" prefers
mel      a log-mel spectrogram, no Whisper at all            what "auto" falls back to
FILE.pt  a Whisper checkpoint of the user's, of any size     with FILE.head.npz, trained beside it
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from drivers.speech.features import FRAME, HOP, RATE, WINDOW_SECONDS, Encoder
from drivers.speech.head import FOLDER, Head

AUTO, BEST = "auto", "tiny.en"
BLOCKS = {"tiny.en": 3, "base": 5}
USER_BLOCKS = 4  # of a user's checkpoint: the blocks in the middle hear phones best
MEL_WINDOW = 1.0  # s; the spectrogram looks no farther back than the head does
BUDGET = 0.5  # share of a hop that hearing may take, measured; the rest belongs to the picture
TRIES = 5  # timed hops


@dataclass(frozen=True)
class Ear:
    name: str
    encoder: Encoder
    head: Head
    window: float = WINDOW_SECONDS  # s that the encoder hears

    def __post_init__(self) -> None:
        frames = round(self.window * RATE) // FRAME
        heard = self.encoder.features(np.zeros(frames * FRAME, np.float32)).shape
        if heard != (frames, self.head.width):
            raise ValueError(f"speech model {self.name}: its encoder gives {heard}, its head hears {self.head.width}")

    def cost(self, clock: Callable[[], float] = time.perf_counter) -> float:
        """s that one hop takes on this machine, the least of TRIES: what disturbs one passes."""
        sound = np.random.default_rng(0).normal(0, 0.1, round(self.window * RATE)).astype(np.float32)
        n = round(HOP * RATE) // FRAME + self.head.past + self.head.ahead
        spent = []
        for _ in range(TRIES + 1):
            start = clock()
            self.head(self.encoder.features(sound)[-n:])
            spent.append(clock() - start)
        return min(spent[1:])  # the first run is slower than any later


def head_path(name: str) -> Path:
    """Where the head that belongs to an encoder lies."""
    if name == "tiny.en":
        return FOLDER / "viseme_head.npz"
    return FOLDER / f"viseme_head_{name}.npz" if name in ("base", "mel") else Path(name).with_suffix(".head.npz")


def encoder_of(name: str) -> tuple[Encoder, float]:
    """An encoder by name and the window it hears (s). WeightsError where its weights are absent, else ValueError."""
    if name == "mel":
        from drivers.speech.mel import MelEncoder

        return MelEncoder(), MEL_WINDOW
    from models.speech_encoder import SpeechEncoder  # torch takes seconds to import

    return SpeechEncoder(BLOCKS.get(name, USER_BLOCKS), size=name), WINDOW_SECONDS


@lru_cache(maxsize=4)
def open_ear(name: str) -> Ear:
    """tiny.en, base, mel or a checkpoint. Drivers share it, so they must run in turn."""
    encoder, window = encoder_of(name)
    return Ear(name, encoder, Head.load(head_path(name)), window)


def choose(candidates: list[Callable[[], Ear]], budget: float = BUDGET * HOP) -> tuple[Ear, float]:
    """The first ear whose hop fits the budget (s), with its cost; the last in any case."""
    for opened in candidates:
        ear = opened()
        cost = ear.cost()
        if cost <= budget:
            break
    return ear, cost


@lru_cache(maxsize=1)
def measured() -> Ear:
    """What "auto" means here, measured once in a process. WeightsError where tiny.en's weights are absent."""
    ear, _ = choose([lambda: open_ear("tiny.en"), least])
    return ear


def least() -> Ear:
    """The ear that costs least."""
    return open_ear("mel")


def ear(name: str = BEST) -> Ear:
    return measured() if name == AUTO else open_ear(name)
