"""Speech in, mouth out, while it is spoken: samples at 16 kHz -> Motion at 50 Hz, weight on the mouth group alone."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drivers.speech import audio, ears, features
from drivers.speech.ears import Ear
from drivers.speech.features import FRAME, FRAME_RATE, Hop, StreamingFeatures
from drivers.speech.head import Articulation
from drivers.speech.solver import Solver
from drivers.speech.vad import VoiceDetector
from drivers.speech.visemes import N_VISEMES, SIL
from models.motion import GROUP, GROUPS, Motion, MotionTrack

F32 = NDArray[np.float32]
log = logging.getLogger(__name__)

VOICE_ON, VOICE_OFF = 0.5, 0.3  # speech probabilities: the mouth wakes above the first, may rest below the second
VOICE_HANG = 0.15  # s that a voice is held to last after its last chunk
RELIEF, LONGEST_RELIEF = 20.0, 320.0  # s of sound heard with less, at first and at most, before more is tried again
REST_BELOW, REST_AFTER = 0.1, 0.7  # the encoder rests when no chunk of the last .7 s was likelier speech than this


@dataclass(frozen=True)
class Settings:
    """Times in s. The algorithmic latency is hop + lookahead; the encoder runs once a hop."""

    window: float | None = None  # None: as long as the model wants
    hop: float = features.HOP
    lookahead: float = features.LOOKAHEAD
    model: str = ears.BEST  # tiny.en, base, mel, a Whisper checkpoint; auto: by the machine's speed


class AudioToFace(Protocol):
    """What the stage wants of a speech model; `SpeechDriver` is one. Not for two threads at once."""

    rate: int  # Hz, of the samples pushed

    @property
    def latency(self) -> float:
        """s: the motion of time t is out once the samples up to t + latency are in; it depends on none after them."""

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks in what was pushed last."""

    def push(self, samples: NDArray) -> list[Motion]:
        """(n,) samples, any n -> the motions they complete, in time's order, s since the reset."""

    def flush(self) -> list[Motion]:
        """The motions still to come, up to the last sample pushed. Ends the stream: reset before pushing again."""

    def reset(self, epoch: int | None = None) -> None:
        """Forget everything; time begins at 0 again, in the given epoch or the next one."""


def create(model: str = ears.AUTO) -> AudioToFace:
    """A speech model by its setting: one of ours (`Settings.model`), or `package.module:factory` of the user's own.

    Raises WeightsError when weights are absent, ValueError when there is no such model.
    """
    name, colon, factory = model.partition(":")
    if not colon or Path(model).suffix:
        return SpeechDriver(Settings(model=model))
    try:
        made = getattr(importlib.import_module(name), factory)()
    except (ImportError, AttributeError) as e:
        raise ValueError(f"speech model {model!r} cannot be loaded ({e}); write it as package.module:factory") from e
    missing = [m for m in ("rate", "latency", "speaking", "push", "flush", "reset") if not hasattr(made, m)]
    if missing:
        raise ValueError(f"speech model {model!r} has no {', '.join(missing)}; see drivers.speech.driver.AudioToFace")
    return made


@runtime_checkable
class Relievable(Protocol):
    """A speech model that can do with less time than it takes."""

    def relieve(self) -> None:
        """The motions come too late to be shown: take less time from now on, at the price of accuracy."""


class SpeechDriver:
    """One voice. Not for two threads at once; drivers may share an encoder when they run in turn."""

    rate = features.RATE  # Hz, of the samples pushed

    def __init__(self, settings: Settings | None = None, ear: Ear | None = None) -> None:
        """Raises WeightsError when the encoder's weights are absent (the message says how to get them)."""
        s = settings or Settings()
        self.ear = self._best = ear or ears.ear(s.model)
        self._chooses, self._window = s.model == ears.AUTO, s.window
        self._relief, self._relieved = RELIEF, 0  # s that the next relief lasts, samples that this one still does
        self._features = StreamingFeatures(
            self.ear.encoder, s.window or self.ear.window, s.hop, s.lookahead, self.ear.head.past
        )
        self._voice = VoiceDetector()
        self._solver = Solver()
        self.epoch = 0
        self.reset(0)

    @property
    def latency(self) -> float:
        """s: the motion of time t is out once the samples up to t + latency are in; it depends on none after them."""
        return self._features.latency

    @property
    def speaking(self) -> bool:
        return self._speaking

    def reset(self, epoch: int | None = None) -> None:
        """Forget everything; time begins at 0 again, in the given epoch or the next one."""
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self._recover()
        self._features.reset()
        self._voice.reset()
        self._solver.reset()
        self._speaking = False

    def relieve(self) -> None:
        """Where the machine's speed is to choose (`auto`): hear with the least costly model for a while, as the machine
        has become too busy for the one it chose. The more often that happens, the longer it lasts."""
        least = ears.least()
        if self._chooses and self.ear is not least:
            log.warning("lips come too late with %s; they follow %s for %g s", self.ear.name, least.name, self._relief)
            self._hear_with(least)
            self._relieved = round(self._relief * self.rate)
            self._relief = min(2 * self._relief, LONGEST_RELIEF)

    def _recover(self) -> None:
        if self.ear is not self._best and self._relieved <= 0:
            self._hear_with(self._best)

    def _hear_with(self, ear: Ear) -> None:
        self.ear = ear
        self._features.hear_with(ear.encoder, self._window or ear.window, ear.head.past)

    def push(self, samples: NDArray) -> list[Motion]:
        """(n,) samples, any n -> the motions they complete, 50 a second, time in s since the reset."""
        samples = audio.clean(samples)
        motions: list[Motion] = []
        while len(samples):
            piece, samples = np.split(samples, [self._features.room()])
            motions += self._push(piece)
        return motions

    def flush(self) -> list[Motion]:
        """The motions still to come, up to the last sample pushed. Ends the stream: reset before pushing again."""
        end = self._features.ring.count / self.rate
        silence = np.zeros(self._features.room() + round(self.latency * self.rate), np.float32)
        return [m for m in self.push(silence) if m.time <= end]

    def _push(self, piece: F32) -> list[Motion]:
        self._voice.push(piece)
        now = (self._features.ring.count + len(piece)) / self.rate
        awake = self._speaking or self._voice.highest(now - REST_AFTER, now) > REST_BELOW
        self._relieved -= len(piece)
        if not awake:
            self._recover()
        hop = self._features.push(piece, hear=awake)
        if hop is None:
            return []
        n = len(hop.features) - self.ear.head.past
        heard = self._listen(hop, n, awake)
        faces = self._solver.solve(heard, self._voiced(hop, n, now), self._levels(n), hop.final)
        return [self._motion(hop.first + i, face) for i, face in enumerate(faces) if hop.first + i >= 0]

    def _listen(self, hop: Hop, frames: int, awake: bool) -> Articulation:
        return self.ear.head(hop.features) if awake else _silence(frames)

    def _voiced(self, hop: Hop, frames: int, now: float) -> NDArray[np.bool_]:
        """Per frame: does somebody speak, judged by all chunks heard since shortly before it."""
        voiced = np.zeros(frames, bool)
        for i in range(frames):
            time = (hop.first + i) / FRAME_RATE
            p = self._voice.highest(max(time - VOICE_HANG, 0), now)
            self._speaking = voiced[i] = p > (VOICE_OFF if self._speaking else VOICE_ON)
        return voiced

    def _levels(self, n: int) -> F32:
        """(n,) dB of full scale of each of the last n frames' samples."""
        ring = self._features.ring
        x = ring.window(ring.count, n * FRAME).reshape(n, FRAME)
        return (10 * np.log10(np.mean(x**2, 1) + 1e-9)).astype(np.float32)

    def _motion(self, frame: int, face: F32) -> Motion:
        weight = np.zeros(len(GROUPS), np.float32)
        weight[GROUP["mouth"]] = 1
        return Motion(time=frame / FRAME_RATE, epoch=self.epoch, face=face, weight=weight)


def _silence(frames: int) -> Articulation:
    visemes = np.zeros((frames, N_VISEMES), np.float32)
    visemes[:, SIL] = 1
    return Articulation(visemes, *np.zeros((4, frames), np.float32))


def track(samples: NDArray, rate: int = features.RATE, settings: Settings | None = None) -> MotionTrack:
    """The whole of a sound (n,) at `rate` Hz, through the same streaming path. Raises AudioError when it is empty."""
    samples = audio.resample(samples, rate, features.RATE)
    if not len(samples):
        raise audio.AudioError("the sound holds no samples")
    driver = SpeechDriver(settings)
    return MotionTrack.of(driver.push(samples) + driver.flush())
