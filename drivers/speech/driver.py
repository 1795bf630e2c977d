"""Speech in, mouth out, while it is spoken: samples at 16 kHz -> Motion at 50 Hz, weight on the mouth group alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivers.speech import audio, features
from drivers.speech.features import FRAME, FRAME_RATE, Encoder, Hop, StreamingFeatures
from drivers.speech.head import Articulation, Head
from drivers.speech.solver import Solver
from drivers.speech.vad import VoiceDetector
from drivers.speech.visemes import N_VISEMES, SIL
from models.motion import GROUP, GROUPS, Motion, MotionTrack

F32 = NDArray[np.float32]

VOICE_ON, VOICE_OFF = 0.5, 0.3  # speech probabilities: the mouth wakes above the first, may rest below the second
VOICE_HANG = 0.15  # s that a voice is held to last after its last chunk
REST_BELOW, REST_AFTER = 0.1, 0.7  # the encoder rests when no chunk of the last .7 s was likelier speech than this


@dataclass(frozen=True)
class Settings:
    """Times in s. The algorithmic latency is hop + lookahead; the encoder runs once a hop."""

    window: float = features.WINDOW_SECONDS
    hop: float = features.HOP
    lookahead: float = features.LOOKAHEAD


@lru_cache(maxsize=1)
def _default_encoder() -> Encoder:
    from models.speech_encoder import SpeechEncoder  # torch takes seconds to import

    return SpeechEncoder(blocks=3)


@lru_cache(maxsize=1)
def _default_head() -> Head:
    return Head.load()


class SpeechDriver:
    """One voice. Not for two threads at once; drivers may share an encoder when they run in turn."""

    rate = features.RATE  # Hz, of the samples pushed

    def __init__(
        self, settings: Settings | None = None, encoder: Encoder | None = None, head: Head | None = None
    ) -> None:
        """Raises WeightsError when the encoder's weights are absent (the message says how to get them)."""
        s = settings or Settings()
        self._features = StreamingFeatures(encoder or _default_encoder(), s.window, s.hop, s.lookahead)
        self._head = head or _default_head()
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
        self._features.reset()
        self._voice.reset()
        self._solver.reset()
        self._speaking = False

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
        hop = self._features.push(piece, hear=awake)
        if hop is None:
            return []
        heard = self._head(hop.features) if awake else _silence(len(hop.features))
        faces = self._solver.solve(heard, self._voiced(hop, now), self._levels(hop), hop.final)
        return [self._motion(hop.first + i, face) for i, face in enumerate(faces) if hop.first + i >= 0]

    def _voiced(self, hop: Hop, now: float) -> NDArray[np.bool_]:
        """Per frame: does somebody speak, judged by all chunks heard since shortly before it."""
        voiced = np.zeros(len(hop.features), bool)
        for i in range(len(voiced)):
            time = (hop.first + i) / FRAME_RATE
            p = self._voice.highest(max(time - VOICE_HANG, 0), now)
            self._speaking = voiced[i] = p > (VOICE_OFF if self._speaking else VOICE_ON)
        return voiced

    def _levels(self, hop: Hop) -> F32:
        """(n,) dB of full scale of each frame's samples."""
        ring, n = self._features.ring, len(hop.features)
        x = ring.window(ring.count, n * FRAME).reshape(n, FRAME)
        return (10 * np.log10(np.mean(x**2, 1) + 1e-9)).astype(np.float32)

    def _motion(self, frame: int, face: F32) -> Motion:
        weight = np.zeros(len(GROUPS), np.float32)
        weight[GROUP["mouth"]] = 1
        return Motion(time=frame / FRAME_RATE, epoch=self.epoch, face=face, weight=weight)


def _silence(frames: int) -> Articulation:
    visemes = np.zeros((frames, N_VISEMES), np.float32)
    visemes[:, SIL] = 1
    return Articulation(visemes, np.zeros(frames, np.float32), np.zeros(frames, np.float32))


def track(samples: NDArray, rate: int = features.RATE, settings: Settings | None = None) -> MotionTrack:
    """The whole of a sound (n,) at `rate` Hz, through the same streaming path. Raises AudioError when it is empty."""
    samples = audio.resample(samples, rate, features.RATE)
    if not len(samples):
        raise audio.AudioError("the sound holds no samples")
    driver = SpeechDriver(settings)
    return MotionTrack.of(driver.push(samples) + driver.flush())
