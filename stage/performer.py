"""The performer: an avatar's picture, its drivers and a media time -> the next frame and the sound that goes with it.

Used live and offline alike. There is one clock, the media clock: sample n of the voice is heard at n / 48000 s, and the
frame of media time t shows the mouth of that moment. Live sound is delayed by what the speech driver must hear ahead,
so that lips and sound belong together by construction; nothing is shifted afterwards.

Three threads may use a performer at once: one calls `advance` (the speech net), one calls `frame`, one everything else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.gesture_model import GestureModel
from drivers.speech import Relievable
from drivers.text import USUAL, Delivery, NoReader, Reader, Sentence, TextError
from models.motion import Motion, MotionTrack
from stage.captions import Caption, Captions
from stage.life import Life, arms_of
from stage.lips import Lips
from stage.sound import RATE, ClockKeeper, Decimator, Resampler, SoundError, to_int16
from stage.voice import Voice

if TYPE_CHECKING:
    from avatar.asset import Avatar

I16 = NDArray[np.int16]
U8 = NDArray[np.uint8]

NET_MARGIN = 0.08  # s the net has for one inference, besides its algorithmic latency
MAX_QUEUED = 600.0  # s of voice that may wait
READ_AHEAD = 6.0  # s of typed text that are turned into voice before they are heard
MAX_SCRIPTS = 16  # texts that may wait
TOO_LATE = 3  # answers of the net in a row for what has been shown already, after which it is asked to take less time
BEHIND = 0.25  # s that the net's answers may be behind what is shown, before it leaves out all that has been shown
HEARD_AHEAD = 0.8  # s by which accents are heard ahead of the lips, where there is sound already
TEXT_LEAD = 0.06  # s from a first sentence to its sound: the lips are known, and go ahead of it
BUNCH_QUIET, BUNCH_LOUD = 0.12, 0.4  # s a microphone may be ahead before quiet, before any, sound is left out
NONE = -1  # no epoch
QUIET = 300  # int16 amplitude


class Picture(Protocol):
    """Draws one motion as an I420 frame."""

    width: int
    height: int

    @property
    def levels(self) -> int:
        """How many levels of detail it has, 1 or more."""

    def set_level(self, level: int) -> None:
        """Draw at this level of detail from the next frame on; 0 is the finest."""

    def draw(self, motion: Motion, out: U8) -> None:
        """out: (height * 3 / 2, width) uint8, the Y plane and then U and V as cv2 and libav lay them out."""

    @property
    def launch(self) -> Callable[[Sequence[Any]], None] | None:
        """Draws many shots at once, of all pictures whose `launch` equals this one; None: each by `draw`."""

    def shot(self, motion: Motion, out: U8) -> Any:
        """What `launch` takes to draw the motion into out."""

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
    """See the module's docstring. `speech` None: the performer is silent (and says so when asked to speak).

    `idle`: what moves besides the lips; a Life knows moods, gestures and attention, too. `reader`: reads typed text
    aloud; performers may share one.
    """

    def __init__(
        self,
        picture: Picture,
        idle: IdleDriver,
        mixer: MotionMixer,
        speech: Speech | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.picture, self._idle, self._mixer, self._speech, self._reader = picture, idle, mixer, speech, reader
        self.life = idle if isinstance(idle, Life) else None
        self.delay = (speech.latency if speech else 0.0) + NET_MARGIN  # s from a live sample to its being heard
        self._voice = Voice()
        self._lips = Lips()
        self._track: tuple[MotionTrack, float, bool] | None = None
        self._microphone: Resampler | None = None
        self._keeper = ClockKeeper()
        self._captions = Captions()
        self._scripts: list[_Script] = []  # replaced, never changed: an interruption does not wait for a reader
        self._reading = threading.Lock()  # one thread reads on at a time
        self._utterances = 0
        self._net_lock = threading.Lock()  # one thread in the net at a time
        self._net_epoch = NONE
        self._net_start = 0.0  # media time at which the net was last reset
        self._late = 0  # answers in a row that came too late

    @property
    def epoch(self) -> int:
        return self._voice.epoch

    @property
    def _now(self) -> float:
        """Media time of the next sample to be heard, s."""
        return self._voice.playhead / RATE

    @property
    def can_speak(self) -> bool:
        return self._speech is not None

    # ---- what is said ---------------------------------------------------------------------------------------

    def speak(self, samples: NDArray, rate: int) -> Utterance:
        """Say a whole sound, after what is being said already. samples (n,) int16, or float in -1..1.

        Raises SoundError where it is empty, too long to queue, or the performer has no speech driver.
        """
        self._need_speech()
        voice = _at_rate(samples, rate)
        if not len(voice):
            raise SoundError("the sound is empty")
        if (self._voice.end - self._voice.playhead + len(voice)) > MAX_QUEUED * RATE:
            raise SoundError(f"more than {MAX_QUEUED:g} s of voice would be waiting; interrupt first")
        sound, epoch = Sentence("", voice, RATE, None, ()), self._voice.epoch
        if self._scripts:  # it has to wait for what is being read
            return self._say(iter([sound]), epoch)
        self._utterances += 1
        return Utterance(self._utterances, *self._queue(sound, _Script(self._utterances, epoch, iter([]))))

    def say(self, text: str, how: Delivery = USUAL) -> Utterance:
        """Read a text aloud, after what is being said already. Its first sentence is known when this returns, and is
        what `seconds` is the length of; `read_on` queues the others in time.

        Raises TextError where the text or the voice is unfit, NoReader where nothing can read, SoundError where too
        many texts wait or the voice needs a speech driver that is not there.
        """
        if self._reader is None:
            raise NoReader("this performer cannot read text")
        if len(self._scripts) >= MAX_SCRIPTS:
            raise SoundError(f"{MAX_SCRIPTS} texts are waiting already; interrupt first")
        if self.life and not self.speaking(self._now):
            self.life.expect(self._now)
        try:
            return self._say(self._reader.read(text, how), self._voice.epoch)
        except Exception:
            if self.life:
                self.life.give_up(self._now)
            raise

    def _say(self, sentences: Iterator[Sentence], epoch: int) -> Utterance:
        """Queue the first of the sentences, or all of them behind the texts that wait."""
        first = next(sentences, None)
        if first is None:
            raise TextError("there is nothing to say")
        if first.lips is None:
            self._need_speech()
        self._utterances += 1
        script = _Script(self._utterances, epoch, sentences)
        with self._reading:
            if self._scripts:
                script.sentences = chain([first], sentences)
                start, seconds = self._voice.end / RATE, len(first.samples) / first.rate
            else:
                start, seconds = self._queue(first, script)
            self._scripts = [*self._scripts, script]
        return Utterance(script.id, start, seconds)

    @property
    def reads(self) -> bool:
        """Is there text to be turned into voice now? Then `read_on`, in a thread that may wait."""
        return bool(self._scripts) and self._voice.end - self._voice.playhead < READ_AHEAD * RATE

    def read_on(self) -> None:
        """Queue the next sentence of the first text that waits. Blocks while it is made. Raises NoReader."""
        with self._reading:
            self._scripts = [s for s in self._scripts if s.epoch == self._voice.epoch]
            script = next(iter(self._scripts), None)
            if script is None:
                return
            try:
                sentence = next(script.sentences, None)
            except Exception:
                self._scripts = [s for s in self._scripts if s is not script]
                raise
            if sentence is None:
                self._scripts = [s for s in self._scripts if s is not script]
                if self.life:
                    self.life.ended(self._voice.end / RATE)
            else:
                self._queue(sentence, script)

    def _queue(self, sentence: Sentence, script: _Script) -> tuple[float, float]:
        """Append a sentence; (start, seconds) on the media clock."""
        voice = _at_rate(sentence.samples, sentence.rate)
        # All of the sound is known, so only the net's first answer is waited for, not its lookahead.
        lead = TEXT_LEAD if sentence.lips is not None else 2 * NET_MARGIN
        not_before = self._voice.playhead + round(lead * RATE)
        start, epoch = self._voice.append(voice, not_before, True, sentence.lips, script.epoch)
        if epoch == script.epoch and self.life:
            self.life.speak(start / RATE, sentence.mood)
            self.life.ask_for_gestures(Decimator().push(voice), start / RATE)
        if epoch == script.epoch and sentence.words:
            self._captions.add(Caption.of(sentence, script.id, start / RATE), epoch)
        return start / RATE, len(voice) / RATE

    def caption(self, time: float) -> Caption | None:
        """What is being said at media time `time`, where it was typed."""
        return self._captions.at(time)

    def push_audio(self, samples: NDArray, rate: int) -> None:
        """The next chunk of a live microphone: (n,) int16, or float in -1..1. Heard `delay` s later."""
        self._need_speech()
        if self._microphone is None or self._microphone.rate != rate:
            self._microphone, self._keeper = Resampler(rate), ClockKeeper()
        voice = self._microphone.push(samples)
        if not len(voice):
            return
        loud = int(np.abs(voice.astype(np.int32)).max()) > QUIET
        if self.life:
            self.life.microphone(loud, len(voice) / RATE, self._now)
        ahead = (self._voice.end - self._voice.playhead) / RATE - self.delay
        if ahead > (BUNCH_LOUD if loud else BUNCH_QUIET):
            return  # chunks came in a bunch after a stall
        voice = self._keeper.push(voice, ahead)
        late = self._voice.end < self._voice.playhead + round(0.02 * RATE)
        self._voice.append(voice, self._voice.playhead + round(self.delay * RATE) if late else 0, closed=False)

    def interrupt(self) -> int:
        """Stop speaking now: the voice fades within 30 ms, the mouth closes. Returns the new epoch."""
        epoch = self._voice.cut()
        self._scripts = []
        self._captions.cut(epoch)
        self._lips.cut(epoch)
        if self.life:
            self.life.cut(self._now)
        return epoch

    def drive(self, track: MotionTrack | None, start: float = 0.0, lips: bool = False) -> None:
        """Play recorded motion over idle and speech from media time `start` on; None stops.

        lips: it is the mouth of what is said, in the place of the speech driver's.
        """
        self._track = (track, start, lips) if track is not None else None

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
        return self._owes_lips(until) or self._owes_accents(until)

    def _owes_lips(self, until: float) -> bool:
        start = self._voice.next_piece
        latency = self._speech.latency if self._speech else 0.0
        return start is not None and start / RATE < until + latency

    def _owes_accents(self, until: float) -> bool:
        start = self._voice.next_unheard
        return self.life is not None and start is not None and start / RATE < until + HEARD_AHEAD

    def advance(self, until: float) -> int:
        """Run the speech net until the lips of media time `until` are known, as far as there is sound for it.

        Blocks for the net's time; call it in a thread of its own. Returns the motions made.
        """
        made = 0
        with self._net_lock:
            while self._owes_accents(until):
                self._hear_one()
            while self._owes_lips(until):
                made += self._advance_one()
        return made

    def _hear_one(self, seconds: float = 0.5) -> None:
        piece, epoch = self._voice.hear(seconds)
        if piece is not None and self.life and epoch == self._voice.epoch:
            self.life.hear(piece.samples, piece.start / RATE, piece.begins, piece.ends, piece.live)

    def _advance_one(self, seconds: float = 0.08) -> int:
        piece, epoch = self._voice.take(seconds)
        if piece is None:
            return 0
        if piece.lips is not None:
            start = piece.start / RATE
            return self._lips.add([replace(m, time=start + m.time, epoch=epoch) for m in piece.lips], epoch)
        assert self._speech is not None
        if self._now - piece.start / RATE > (BEHIND - self._speech.latency if epoch == self._net_epoch else 0):
            self._net_epoch = NONE  # lips of the past are of no use: the net begins afresh with what is still to come
            return 0
        if piece.begins or epoch != self._net_epoch:
            self._speech.reset()
            self._net_epoch, self._net_start = epoch, piece.start / RATE
        motions = self._speech.push(piece.samples)
        if piece.ends:
            motions = [*motions, *self._speech.flush()]
        if motions:
            self._judge(self._net_start + motions[0].time)
        return self._lips.add([replace(m, time=self._net_start + m.time, epoch=epoch) for m in motions], epoch)

    def _judge(self, time: float) -> None:
        """The net's answer for media time `time` is here."""
        self._late = self._late + 1 if time < self._now else 0
        if self._late >= TOO_LATE and isinstance(self._speech, Relievable):
            self._speech.relieve()
            self._late = 0

    def motion(self, time: float) -> Motion:
        """All drivers mixed at media time `time`."""
        epoch = self._voice.epoch
        silent = Motion(time, epoch)  # weighs nothing; keeps each layer in its place
        idle = replace(self._idle.motion(time), epoch=epoch)
        recorded, lips = silent, self._lips.at(time)
        if self._track is not None:
            track, start, mouth = self._track
            driven = track.at(time - start)
            recorded, lips = (silent, driven) if mouth else (driven, lips)
        if lips is not None and self.life:
            lips = self.life.under(replace(lips, time=time))
        return self._mixer.mix(time, [idle, lips or silent, recorded])

    def frame(self, time: float, out: U8) -> Motion:
        """Draw media time `time` into out, (height * 3 / 2, width) uint8 I420, and return the motion drawn.

        Times must not run backwards: what lies before is forgotten.
        """
        motion = self.motion(time)
        self.picture.draw(motion, out)
        return motion

    def shot(self, time: float, out: U8) -> Any:
        """As `frame`, for `picture.launch` to draw."""
        return self.picture.shot(self.motion(time), out)

    def close(self) -> None:
        """Free the picture; not while a frame is drawn."""
        self.picture.close()


@dataclass
class _Script:
    """A text that is being read aloud."""

    id: int
    epoch: int
    sentences: Iterator[Sentence]


def _at_rate(samples: NDArray, rate: int) -> I16:
    resampler = Resampler(rate)
    return np.concatenate([resampler.push(to_int16(samples)), resampler.flush()])


def perform(
    avatar: Avatar,
    width: int,
    height: int,
    view: str = "auto",
    speech: Speech | None = None,
    seed: int = 0,
    threads: int = 2,
    reader: Reader | None = None,
    device: str = "auto",
    gestures: GestureModel | None = None,
) -> Performer:
    """A performer of an avatar with the real drivers: drivers.speech.SpeechDriver() for one that speaks."""
    from drivers.mixer import Mixer
    from stage.picture import AvatarPicture

    picture = AvatarPicture(avatar, width, height, view, threads, device=device)
    return Performer(picture, Life(seed, arms_of(avatar), gestures), Mixer(avatar.limits), speech, reader)
