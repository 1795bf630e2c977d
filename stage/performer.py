"""The performer: an avatar's picture, its drivers and a media time -> the next frame and the sound that goes with it.

Used live and offline alike. There is one clock, the media clock: sample n of the voice is heard at n / 48000 s, and the
frame of media time t shows the mouth of that moment. Live sound is delayed by what the speech driver must hear ahead,
so that lips and sound belong together by construction; nothing is shifted afterwards.

Three threads may use a performer at once: one calls `advance` (the speech net), one calls `frame`, one everything else.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from models.motion import Motion, MotionTrack, interpolate_rotations
from stage.sound import RATE, Resampler, SoundError, to_int16
from stage.voice import Voice

if TYPE_CHECKING:
    from avatar.asset import Avatar

I16 = NDArray[np.int16]
U8 = NDArray[np.uint8]

NET_MARGIN = 0.08  # s the net has for one inference, besides its algorithmic latency
MAX_QUEUED = 600.0  # s of voice that may wait
DRIFT_QUIET, DRIFT_LOUD = 0.12, 0.4  # s a microphone may run ahead before quiet, before any, sound is left out
QUIET = 300  # int16 amplitude


class Picture(Protocol):
    """Draws one motion as an I420 frame."""

    width: int
    height: int

    def draw(self, motion: Motion, out: U8) -> None:
        """out: (height * 3 / 2, width) uint8, the Y plane and then U and V as cv2 and libav lay them out."""

    def close(self) -> None:
        """Give threads back; not drawn again."""


class IdleDriver(Protocol):
    def motion(self, time: float) -> Motion: ...


class MotionMixer(Protocol):
    def mix(self, time: float, layers: Sequence[Motion]) -> Motion: ...


class Speech(Protocol):
    @property
    def latency(self) -> float:
        """s of sound after a moment that its motion depends on."""

    def push(self, samples: NDArray[np.float32]) -> list[Motion]: ...
    def flush(self) -> list[Motion]: ...
    def reset(self) -> None: ...


@dataclass(frozen=True)
class Utterance:
    id: int
    start: float  # media time of its first sample, s
    seconds: float


class Performer:
    """See the module's docstring. `speech` None: the performer is silent (and says so when asked to speak)."""

    def __init__(self, picture: Picture, idle: IdleDriver, mixer: MotionMixer, speech: Speech | None = None) -> None:
        self.picture, self._idle, self._mixer, self._speech = picture, idle, mixer, speech
        self.delay = (speech.latency if speech else 0.0) + NET_MARGIN  # s from a live sample to its being heard
        self._voice = Voice()
        self._lips = Lips()
        self._track: tuple[MotionTrack, float] | None = None
        self._microphone: Resampler | None = None
        self._utterances = 0
        self._net_lock = threading.Lock()  # one thread in the net at a time
        self._net_epoch = -1
        self._net_start = 0.0  # media time at which the net was last reset

    @property
    def epoch(self) -> int:
        return self._voice.epoch

    @property
    def can_speak(self) -> bool:
        return self._speech is not None

    # ---- what is said ---------------------------------------------------------------------------------------

    def speak(self, samples: NDArray, rate: int) -> Utterance:
        """Say a whole sound, after what is being said already. samples (n,) int16, or float in -1..1.

        Raises SoundError where it is empty, too long to queue, or the performer has no speech driver.
        """
        self._need_speech()
        resampler = Resampler(rate)
        voice = np.concatenate([resampler.push(to_int16(samples)), resampler.flush()])
        if not len(voice):
            raise SoundError("the sound is empty")
        if (self._voice.end - self._voice.playhead + len(voice)) > MAX_QUEUED * RATE:
            raise SoundError(f"more than {MAX_QUEUED:g} s of voice would be waiting; interrupt first")
        # All of the sound is known, so only the net's first answer is waited for, not its lookahead.
        start, _ = self._voice.append(voice, self._voice.playhead + round(2 * NET_MARGIN * RATE), closed=True)
        self._utterances += 1
        return Utterance(self._utterances, start / RATE, len(voice) / RATE)

    def push_audio(self, samples: NDArray, rate: int) -> None:
        """The next chunk of a live microphone: (n,) int16, or float in -1..1. Heard `delay` s later."""
        self._need_speech()
        if self._microphone is None or self._microphone.rate != rate:
            self._microphone = Resampler(rate)
        voice = self._microphone.push(samples)
        ahead = (self._voice.end - self._voice.playhead) / RATE - self.delay
        loud = len(voice) and int(np.abs(voice.astype(np.int32)).max()) > QUIET
        if not len(voice) or ahead > (DRIFT_LOUD if loud else DRIFT_QUIET):
            return  # the microphone's clock runs fast, or its chunks came in a bunch after a stall
        late = self._voice.end < self._voice.playhead + round(0.02 * RATE)
        self._voice.append(voice, self._voice.playhead + round(self.delay * RATE) if late else 0, closed=False)

    def interrupt(self) -> int:
        """Stop speaking now: the voice fades within 30 ms, the mouth closes. Returns the new epoch."""
        epoch = self._voice.cut()
        self._lips.cut(epoch)
        return epoch

    def drive(self, track: MotionTrack | None, start: float = 0.0) -> None:
        """Play recorded motion over idle and speech from media time `start` on; None stops."""
        self._track = (track, start) if track is not None else None

    def voice(self, start: int, n: int) -> I16:
        """(n,) samples of the voice from media sample `start`, for the audio track; silence where nothing is said."""
        return self._voice.read(start, n)

    def speaking(self, time: float) -> bool:
        """Is something being said, or about to be within the performer's delay?"""
        return self._voice.sounding(round(time * RATE), round((self.delay + 0.02) * RATE))

    def _need_speech(self) -> None:
        if self._speech is None:
            raise SoundError("this performer cannot speak: its speech driver could not be loaded")

    # ---- what is seen ---------------------------------------------------------------------------------------

    def wants(self, until: float) -> bool:
        """Is there work for `advance(until)`?"""
        start = self._voice.next_piece
        return self._speech is not None and start is not None and start / RATE < until + self._speech.latency

    def advance(self, until: float) -> int:
        """Run the speech net until the lips of media time `until` are known, as far as there is sound for it.

        Blocks for the net's time; call it in a thread of its own. Returns the motions made.
        """
        made = 0
        with self._net_lock:
            while self.wants(until):
                made += self._advance_one()
        return made

    def _advance_one(self, seconds: float = 0.08) -> int:
        assert self._speech is not None
        piece, epoch = self._voice.take(seconds)
        if piece is None:
            return 0
        if piece.begins or epoch != self._net_epoch:
            self._speech.reset()
            self._net_epoch, self._net_start = epoch, piece.start / RATE
        motions = self._speech.push(piece.samples)
        if piece.ends:
            motions = [*motions, *self._speech.flush()]
        return self._lips.add([replace(m, time=self._net_start + m.time, epoch=epoch) for m in motions], epoch)

    def motion(self, time: float) -> Motion:
        """All drivers mixed at media time `time`."""
        epoch = self._voice.epoch
        silent = Motion(time, epoch)  # weighs nothing; keeps each layer in its place
        idle = replace(self._idle.motion(time), epoch=epoch)
        recorded = silent
        if self._track is not None:
            track, start = self._track
            recorded = track.at(time - start)
        return self._mixer.mix(time, [idle, self._lips.at(time) or silent, recorded])

    def frame(self, time: float, out: U8) -> Motion:
        """Draw media time `time` into out, (height * 3 / 2, width) uint8 I420, and return the motion drawn.

        Times must not run backwards: what lies before is forgotten.
        """
        motion = self.motion(time)
        self.picture.draw(motion, out)
        return motion

    def close(self) -> None:
        """Free the picture; not while a frame is drawn."""
        self.picture.close()


class Lips:
    """The speech driver's motions on the media clock, 50 a second, read at any time in between. Thread-safe.

    Where there is no motion there is none to show; how a mouth comes to rest is the mixer's business.
    """

    HOLD = 0.06  # s that a motion stands alone, before the first and after the last; gaps up to twice that are bridged

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._motions: deque[Motion] = deque()
        self._epoch = 0

    def add(self, motions: list[Motion], epoch: int) -> int:
        """Append, unless they were made for what has been interrupted meanwhile. Returns how many were taken."""
        with self._lock:
            if epoch != self._epoch:
                return 0
            self._motions.extend(motions)
            return len(motions)

    def cut(self, epoch: int) -> None:
        """Forget everything, and take motions of the new epoch only."""
        with self._lock:
            self._epoch = epoch
            self._motions.clear()

    def at(self, time: float) -> Motion | None:
        """Times must not run backwards: what lies before is forgotten."""
        with self._lock:
            while len(self._motions) > 1 and self._motions[1].time <= time:
                self._motions.popleft()
            near = list(islice(self._motions, 2))
        if len(near) == 2 and near[0].time <= time and near[1].time - near[0].time <= 2 * self.HOLD:
            return _between(near[0], near[1], time)
        held = [m for m in near if abs(m.time - time) <= self.HOLD]
        return replace(held[0], time=time) if held else None


def _between(a: Motion, b: Motion, time: float) -> Motion:
    t = np.float32(np.clip((time - a.time) / max(b.time - a.time, 1e-6), 0, 1))
    turned = np.flatnonzero((a.pose != b.pose).any(1))
    pose = a.pose.copy()
    if len(turned):
        pose[turned] = interpolate_rotations(a.pose[turned], b.pose[turned], float(t))
    mix = lambda x, y: x * (1 - t) + y * t  # noqa: E731
    return Motion(time, a.epoch, pose, mix(a.face, b.face), mix(a.translation, b.translation), mix(a.weight, b.weight))


def perform(
    avatar: Avatar,
    width: int,
    height: int,
    view: str = "auto",
    speech: Speech | None = None,
    seed: int = 0,
    threads: int = 2,
) -> Performer:
    """A performer of an avatar with the real drivers: drivers.speech.SpeechDriver() for one that speaks."""
    from drivers.idle import Idle
    from drivers.mixer import Mixer
    from stage.picture import AvatarPicture

    return Performer(AvatarPicture(avatar, width, height, view, threads), Idle(seed), Mixer(avatar.limits), speech)
