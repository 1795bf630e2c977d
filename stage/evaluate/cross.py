"""Cross-identity reenactment: somebody else's video drives an avatar, and what comes out is tracked afresh.

Identity: the output against the avatar's photo. Pose and expression: the driver's against the output's, both read by
the picture tracker frame by frame, without the driver's calibration, smoothing or memory. There is no true picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.motion import FACE_GROUP, GROUP
from stage.evaluate import sheets
from stage.evaluate.metrics import U8, Meter, correlation, number, opening
from stage.evaluate.penetration import Penetration
from stage.evaluate.protocol import CROSS, VERSION
from stage.film import count_frames, probe, read_frames

if TYPE_CHECKING:
    from avatar.asset import Avatar
    from models.tracking import Face

HEIGHT = 512  # px of the drawn default view
KEYS = ("identity", "head_deg", "expression", "mouth", "mouth_r", "tracked", "hand_mm")


@dataclass
class _Moment:
    """One frame of both."""

    driver: Face
    output: Face | None
    identity: float | None
    pictures: tuple[U8, U8]
    hand: float | None  # m that a hand of the avatar is inside its head


def evaluate(
    video: Path,
    avatar: Path,
    photo: Path | None,
    frames: int,
    sheet: Path | None,
    film: Path | None,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Identity (cosine), head turn error (degrees), expression error, how the mouth's opening goes along, how deep
    hands go into the head.

    photo: to compare the identity with; without one, the avatar's own photo state. Raises ValueError when the video
    cannot be read or shows no face.
    """
    from avatar import asset

    if frames < 1:
        raise ValueError(f"--frames is {frames}; at least one frame must be judged")
    count = count_frames(video)
    wanted = set(np.linspace(0, max(count - 1, 0), min(frames, max(count, 1))).round().astype(int).tolist())
    with sheets.Film(film, probe(video)[2], CROSS["film_height"], video) as strip:
        performance = _Performance(asset.load(avatar), photo, strip)
        for k, (seconds, rgb) in enumerate(read_frames(video)):
            performance.frame(rgb, seconds, k in wanted)
            progress(min((k + 1) / max(count, 1), 1.0))
    moments = performance.moments
    if not moments:
        raise ValueError(f"{video}: no face was found in it, so nothing was driven")
    if sheet:
        picks = np.linspace(0, len(moments) - 1, min(CROSS["sheet_columns"], len(moments))).round().astype(int)
        rows = [[sheets.tile(moments[i].pictures[r]) for i in picks] for r in (0, 1)]
        sheets.write(sheet, sheets.grid(rows))
    compared_with = "photo" if photo else "photo state"
    figures = _figures(moments, performance.rest, performance.rest_driver)
    return {
        "video": video.name,
        "avatar": avatar.name,
        "protocol": VERSION,
        "compared_with": compared_with,
        "frames": len(moments),
        **figures,
    }


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{result['video']} drives {result['avatar']}: {result['frames']} frames, protocol {result['protocol']}"]
    titles = {
        "identity": f"identity to the {result['compared_with']} (cosine)",
        "head_deg": "head turn off the driver's, degrees",
        "expression": "expression off the driver's, mean of coefficients",
        "mouth": "of the mouth's coefficients alone",
        "mouth_r": "correlation of the mouth's opening",
        "tracked": "share of frames with a face in the output",
        "hand_mm": "deepest that a hand goes into the head, mm (- no hand)",
    }
    lines += [f"  {titles[key]:52}{number(result[key], 3, 9)}" for key in KEYS]
    return "\n".join(lines)


class _Performance:
    """Drives the avatar as a webcam would, without idle life, and looks at every wanted frame."""

    def __init__(self, avatar: Avatar, photo: Path | None, film: sheets.Film) -> None:
        from avatar.render.cpu import Rasterizer
        from avatar.rig import Rig
        from drivers.webcam import FaceToMotion
        from models import identity
        from models.tracking import Tracker

        self.moments: list[_Moment] = []
        self._avatar, self._rig, self._raster = avatar, Rig(avatar), Rasterizer(avatar)
        self._tracker, self._convert, self._meter = Tracker(video=True), FaceToMotion(), Meter()
        self._film, self._penetration = film, Penetration(avatar)
        rest = self._draw(avatar.photo)
        self.rest: Face | None = self._meter.face(self._draw(avatar.neutral))
        self.rest_driver: Face | None = None
        wanted = rest if photo is None else _read(photo)
        embedded = identity.embed(wanted)
        if embedded is None:
            raise ValueError(f"{photo or 'the avatar'}: no face was found to compare the identity with")
        self._identity = embedded

    def _draw(self, state: Any) -> U8:
        from avatar.render import compose

        _, _, w, h = self._avatar.view
        camera, background = compose.view(self._avatar, round(w * HEIGHT / h), HEIGHT)
        return compose.over(self._raster.draw(self._rig.vertices(state), camera), background)

    def frame(self, rgb: U8, seconds: float, wanted: bool) -> None:
        from models import identity

        face = next((p.face for p in self._tracker.track(rgb, seconds) if p.face is not None), None)
        if face is None:
            return
        motion = self._convert.motion(face, seconds)
        if not wanted and self._film.path is None:
            return
        state = self._rig.state(motion)
        drawn = self._draw(state)
        self._film.add((rgb, "driver"), (drawn, "avatar"), time=seconds)
        seen = self._meter.face(rgb) if wanted else None
        if seen is None:
            return
        self.rest_driver = self.rest_driver or seen
        embedded = identity.embed(drawn)
        same = None if embedded is None else identity.similarity(embedded, self._identity)
        hand = self._penetration(self._rig.vertices(state))
        self.moments.append(_Moment(seen, self._meter.face(drawn), same, (rgb, drawn), hand))


def _read(photo: Path) -> U8:
    from avatar.build.photo import read

    return read(photo).rgb


def _figures(moments: list[_Moment], rest: Face | None, rest_driver: Face | None) -> dict[str, float | None]:
    """Turns and expressions are compared as changes: the driver's from their first frame, the output's from rest."""
    both = [(m.driver, m.output) for m in moments if m.output is not None]
    identities = [m.identity for m in moments if m.identity is not None]
    figures: dict[str, float | None] = dict.fromkeys(KEYS)
    figures["identity"] = float(np.mean(identities)) if identities else None
    figures["tracked"] = len(both) / len(moments)
    depths = [m.hand for m in moments if m.hand is not None]
    figures["hand_mm"] = 1e3 * max(depths) if depths else None
    if not both or rest is None or rest_driver is None:
        return figures
    figures["head_deg"] = float(np.mean([_angle(_turn(d, rest_driver) @ _turn(o, rest).T) for d, o in both]))
    change = lambda f, start: f.blendshapes - start.blendshapes  # noqa: E731
    off = np.array([np.abs(change(d, rest_driver) - change(o, rest)) for d, o in both])
    figures["expression"] = float(off.mean())
    figures["mouth"] = float(off[:, GROUP["mouth"] == FACE_GROUP].mean())
    openings = [[opening(f.landmarks[:, :2]) for f in pair] for pair in both]
    figures["mouth_r"] = correlation(*zip(*openings))
    return figures


def _turn(face: Face, rest: Face) -> NDArray[np.float64]:
    """(3, 3) how the head has turned since `rest`."""
    return np.asarray(face.matrix[:3, :3] @ rest.matrix[:3, :3].T, np.float64)


def _angle(rotation: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
