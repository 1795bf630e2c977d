"""An avatar and a driving file -> a film, through the same drivers, mixer, rig and rasterizer as live."""

from __future__ import annotations

import io
import math
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers.gesture_style import NEUTRAL as NEUTRAL_STYLE
from drivers.mood import NEUTRAL, Mood
from models.motion import Motion, MotionTrack
from stage import film

if TYPE_CHECKING:
    from avatar.asset import Avatar
    from stage.performer import Performer

Progress = Callable[[float], None]

FPS = Fraction(30)
MAX_PACE = 60.0  # frames a second of a film that another drives, unless more are asked for
UNEVEN = 0.05  # of the pace
SHORT_SIDE = 512  # pixels, where no size is asked for
LISTENING = 0.3  # share of the progress that the driving file takes before drawing starts


@dataclass(frozen=True)
class Options:
    size: tuple[int, int] | None = None  # width, height
    fps: float | None = None
    background: str = "photo"  # photo, #rrggbb or alpha
    reenact: bool = False
    seed: int = 0
    device: str = "auto"  # that draws: auto, cpu or cuda
    mood: Mood = NEUTRAL  # where a text's tags ask for no other
    style: str = NEUTRAL_STYLE.name  # of gestures, one of gesture_style.STYLES
    gestures: float = 1.0  # nods, brows and hands that go with speech, 0 to 1.5
    liveliness: float = 1.0  # blinks, gaze, breath and sway, 0 to 1.5
    hands: Path | None = None  # a motion npz whose arms and hands take the gestures' place


@dataclass(frozen=True)
class Script:
    """A text to be said, as a driving file."""

    text: str
    voice: str = ""  # id, name or language; empty: one that fits the text
    rate: float = 1.0


@dataclass(frozen=True)
class Demonstration:
    """A gesture of the arms, as a driving file."""

    gesture: str = "beat"
    seconds: float = 6.0


@dataclass(frozen=True)
class Result:
    frames: int
    fps: float
    width: int
    height: int
    seconds: float  # to render


@dataclass(frozen=True)
class _Drive:
    """What a driving file says: a track, how long it lasts, and the sound that goes with it."""

    track: MotionTrack
    seconds: float
    sound: Path | bytes | None
    fps: Fraction | None = None  # of a video
    size: tuple[int, int] | None = None  # of a video
    delay: float = 0.0  # s from a video's first frame to its sound
    voice: tuple[tuple[float, NDArray[np.float32]], ...] = ()  # s, (n,) at 16 kHz, whose accents move the body
    moods: tuple[tuple[float, Mood | None], ...] = ()  # s, what a text's sentences ask for


def render(
    avatar_path: Path,
    drive: Path | Script | Demonstration,
    out: Path,
    options: Options = Options(),
    progress: Progress | None = None,
) -> Result:
    """Write the film `out`.

    drive is a sound (speech), a video (tracked), a motion npz, a Live Link Face csv, a text or a gesture; its sound, if
    any, is muxed in.
    With options.reenact the video shows the photo's person through the photo's camera, and frame k overlays frame k, at
    its time. Frames count by their time stamps, however unevenly a camera took them.
    Raises ValueError (AvatarError, AudioError, ...) naming the file and what is wrong; no half-written film stays.
    """
    from avatar import asset

    started = time.perf_counter()
    progress = progress or (lambda fraction: None)
    avatar = asset.load(avatar_path)
    if out.suffix.lower() not in film.VIDEO_CODECS:
        raise ValueError(f"{out}: films end in {', '.join(film.VIDEO_CODECS)}")
    source = _read(drive, avatar, options, lambda fraction: progress(LISTENING * fraction))
    width, height = options.size or source.size or default_size(avatar)
    fps = _rate(source, options)
    frames = len(source.track) if options.reenact else max(1, math.ceil(round(source.seconds * fps, 3)))
    performer = _performer(avatar, source, width, height, options)
    alpha = options.background == "alpha"
    with film.FilmWriter(out, width, height, fps, source.sound, alpha, source.delay) as writer:
        for k, picture in enumerate(_pictures(performer, source, frames, fps, options)):
            writer.write(picture, float(source.track.time[k]) if options.reenact else None)
            progress(LISTENING + (1 - LISTENING) * (k + 1) / frames)
    return Result(frames, float(fps), width, height, time.perf_counter() - started)


def default_size(avatar: Avatar) -> tuple[int, int]:
    """The live framing's shape with SHORT_SIDE pixels on its short side, both sides even."""
    _, _, w, h = avatar.view
    k = SHORT_SIDE / min(w, h)
    return 2 * round(w * k / 2), 2 * round(h * k / 2)


def _rate(source: _Drive, options: Options) -> Fraction:
    if options.reenact:
        if options.fps and source.fps and abs(options.fps - float(source.fps)) > 0.5:
            print(f"note: --reenact keeps the video's own {float(source.fps):g} frames a second", file=sys.stderr)
        return source.fps or FPS
    if options.fps:
        return Fraction(options.fps).limit_denominator(1001)
    return source.fps or FPS


def _performer(avatar: Avatar, source: _Drive, width: int, height: int, options: Options) -> Performer:
    from drivers.gesture import RecordedGestures
    from drivers.mixer import Mixer
    from stage.life import Life, arms_of
    from stage.performer import Performer
    from stage.picture import AvatarPicture

    view = "photo" if options.reenact else "auto"
    background = "photo" if options.background == "alpha" else options.background
    absolute, device = options.reenact, options.device
    picture = AvatarPicture(avatar, width, height, view, background=background, absolute=absolute, device=device)
    life = Life(options.seed, arms_of(avatar))
    if options.hands is not None:
        life.gesture = RecordedGestures([(0.0, MotionTrack.load(options.hands))])
    life.set_style(options.style)
    life.set_gestures(options.gestures)
    life.set_liveliness(options.liveliness)
    life.moods.set(options.mood, -1.0)
    for start, samples in source.voice:
        life.hear(samples, start, True, True)
    for start, wanted in source.moods:
        life.speak(start, wanted)
    life.ended(source.seconds)
    performer = Performer(picture, life, Mixer(avatar.limits))
    performer.drive(source.track, lips=bool(source.voice))
    return performer


def _pictures(performer: Performer, source: _Drive, frames: int, fps: Fraction, options: Options) -> Iterator[film.U8]:
    """Each frame in turn; the buffer is reused."""
    picture = performer.picture
    planes = np.empty((picture.height * 3 // 2, picture.width), np.uint8)
    for k in range(frames):
        # Reenacted frames are drawn as they were tracked: no idle life, no smoothing between layers.
        motion = source.track[k] if options.reenact else performer.motion(float(k / fps))
        if options.background == "alpha":
            yield picture.rgba(motion)  # type: ignore[attr-defined]
        else:
            picture.draw(motion, planes)
            yield planes


# ---- driving files ------------------------------------------------------------------------------------------


def _read(path: Path | Script | Demonstration, avatar: Avatar, options: Options, progress: Progress) -> _Drive:
    from drivers import recording, speech

    if isinstance(path, Script):
        return _read_script(path, options)
    if isinstance(path, Demonstration):
        return _demonstrated(path, avatar, options)
    suffix = path.suffix.lower()
    if suffix in (".npz", ".csv"):
        if options.reenact and suffix == ".csv":
            raise ValueError(f"{path}: --reenact needs a video or a motion npz, not a face recording")
        track = recording.load(path)
        track = replace(track, time=track.time - track.time[0])
        step = float(np.median(np.diff(track.time))) if len(track) > 1 else 1 / 30
        fps = Fraction(round(1 / max(step, 1e-3))) if options.reenact else None
        return _Drive(track, float(track.time[-1]) + step, None, fps)
    moving, sounding, fps, frames = film.probe(path)
    if moving:
        return _read_video(path, avatar, options, fps, frames, sounding, progress)
    if options.reenact:
        raise ValueError(f"{path}: --reenact needs a video of the photo's person, not a sound")
    samples = speech.load(path)
    track = speech.track(samples, speech.SpeechDriver.rate)
    return _Drive(track, len(samples) / speech.SpeechDriver.rate, path, voice=((0.0, samples),))


def _demonstrated(what: Demonstration, avatar: Avatar, options: Options) -> _Drive:
    from avatar.limbs import Limbs
    from stage import gestures

    if options.reenact:
        raise ValueError("--reenact needs a video of the photo's person, not a gesture")
    return _Drive(gestures.beat(Limbs(avatar), what.seconds), what.seconds, None)


def _read_script(script: Script, options: Options) -> _Drive:
    """Raises TextError where the text or the voice is unfit, NoReader where what reads is absent."""
    from drivers import speech
    from drivers.text import Delivery, readers

    if options.reenact:
        raise ValueError("--reenact needs a video of the photo's person, not a text")
    reader = readers()
    try:
        sentences = list(reader.read(script.text, Delivery(script.voice, script.rate)))
    finally:
        reader.close()
    rate = next(s.rate for s in sentences if s.text)
    motions, moods, voice, start = [], [], [], 0.0
    for sentence in sentences:
        motions += [replace(m, time=start + m.time) for m in sentence.lips or ()]
        moods.append((start, sentence.mood))
        voice.append((start, speech.resample(sentence.samples, sentence.rate)))
        start += len(sentence.samples) / sentence.rate
    samples = np.concatenate([s.samples for s in sentences])
    return _Drive(_rising(motions), start, _wav(samples, rate), voice=tuple(voice), moods=tuple(moods))


def _rising(motions: list[Motion]) -> MotionTrack:
    """Sentences join in their pauses, where one's last motion and the next one's first are the same closed mouth."""
    return MotionTrack.of([m for k, m in enumerate(motions) if k == 0 or m.time > motions[k - 1].time + 1e-6])


def _wav(samples: NDArray[np.int16], rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def _read_video(
    path: Path, avatar: Avatar, options: Options, fps: Fraction, frames: int, sounding: bool, progress: Progress
) -> _Drive:
    motion_of = _reenacted(avatar) if options.reenact else _tracked()
    motions: list[Motion] = []
    size, first = None, 0.0
    for k, (seconds, rgb) in enumerate(film.read_frames(path)):
        if size is None:
            size, first = (rgb.shape[1] // 2 * 2, rgb.shape[0] // 2 * 2), seconds
        motions.append(motion_of(rgb, seconds - first))
        progress(min(1.0, (k + 1) / max(frames, k + 1)))
    if not motions:
        raise ValueError(f"{path}: holds no frame that can be decoded")
    if not any(m.weight.any() for m in motions):
        raise ValueError(f"{path}: no face was found in any frame, so there is nothing to drive the avatar with")
    size = size if options.reenact else None
    track = MotionTrack.of(motions)
    fps = _pace(track.time, fps)
    end = motions[-1].time + 1 / float(fps)
    delay = film.sound_begins(path) - first if sounding else 0.0
    return _Drive(track, end, path if sounding else None, fps, size, delay)


def _pace(times: NDArray[np.float64], told: Fraction) -> Fraction:
    """Frames a second: as told by the container, unless most frames of the film follow each other at another pace, as
    in recordings of uneven cameras and browsers."""
    if len(times) < 2:
        return told
    usual = float(np.clip(1 / np.median(np.diff(times)), 1, MAX_PACE))
    return told if abs(usual / float(told) - 1) < UNEVEN else Fraction(round(usual))


def _tracked() -> Callable[[film.U8, float], Motion]:
    """A tracked face moves the avatar; where it is lost, nothing is said and idle life goes on."""
    from drivers.webcam import FaceToMotion
    from models.tracking import Tracker

    tracker, convert = Tracker(video=True), FaceToMotion()

    def motion(rgb: film.U8, seconds: float) -> Motion:
        face = next((p.face for p in tracker.track(rgb, seconds) if p.face is not None), None)
        return convert.motion(face, seconds) if face is not None else Motion(seconds)

    return motion


def _reenacted(avatar: Avatar) -> Callable[[film.U8, float], Motion]:
    from avatar.build.retrack import Retracker

    return Retracker(avatar).motion
