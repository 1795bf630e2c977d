"""How like two pictures are: squared and absolute error, SSIM, a perceptual distance, identity, face landmarks.

The perceptual distance uses ST-LPIPS weights and is not LPIPS. Landmarks are YuNet's five, a detector that drives
nothing here; only the opening of the mouth is read by the net that also tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stage.evaluate.protocol import PICTURE

U8 = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom
UPPER_LIP, LOWER_LIP = 13, 14  # inner middle of the lips among the 468 landmarks
LEAST_MSE = 1e-10


@dataclass(frozen=True)
class Scores:
    """Of one picture against the truth, or means over pictures. None where something was not found or not asked."""

    mse: float | None
    l1: float | None
    psnr: float | None
    ssim: float | None
    st_lpips: float | None
    identity: float | None = None  # cosine
    landmarks: float | None = None  # mean distance of five points, of the true face's width


def mean(scores: Iterable[Scores]) -> Scores:
    """Each figure's mean over the pictures that have it."""
    scores = list(scores)

    def one(name: str) -> float | None:
        values = [v for s in scores if (v := getattr(s, name)) is not None]
        return float(np.mean(values)) if values else None

    return Scores(**{f.name: one(f.name) for f in fields(Scores)})


@dataclass(frozen=True)
class Cutout:
    """A person on the protocol's grey."""

    picture: U8  # (H, W, 3)
    alpha: NDArray[np.float32]  # (H, W)
    foreground: NDArray[np.float32]  # (H, W, 3) 0..1, the person's colours without the background's share
    landmarks: NDArray[np.float32] | None  # (478, 2) px of the face

    @property
    def box(self) -> Box:
        """Of the pixels that are the person's."""
        return box_of(self.alpha > PICTURE["person"])


def box_of(mask: NDArray[np.bool_]) -> Box:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def cut(picture: U8, box: Box) -> U8:
    """The box, box_height pixels high at most."""
    x0, y0, x1, y1 = box
    part = picture[y0:y1, x0:x1]
    k = min(1.0, PICTURE["box_height"] / (y1 - y0))
    size = (max(1, round((x1 - x0) * k)), max(1, round((y1 - y0) * k)))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class Reference:
    """A true picture within its box, with all that is looked for in it."""

    picture: U8  # (h, w, 3)
    box: Box
    features: Any  # of the perceptual net
    face: Any  # identity.Found, or None
    embedding: Any  # of the face


class Meter:
    """Holds the nets. Not for two threads at once."""

    def __init__(
        self, net: str = PICTURE["perceptual_net"], side: int | None = None, backbone: Path | None = None
    ) -> None:
        """side: px to which pictures are reduced for the perceptual distance; None leaves them. backbone: torchvision's
        file of the net's weights, for LPIPS itself; raises WeightsError for another file."""
        self._net, self._side, self._backbone = net, side, backbone

    @cached_property
    def _perceptual(self):  # type: ignore[no-untyped-def]
        from models.perceptual import PerceptualDistance

        return PerceptualDistance(self._net, self._backbone)

    @property
    def perceptual_name(self) -> str:
        """What the perceptual distance may be called."""
        return f"{'LPIPS' if self._backbone else 'ST-LPIPS'} ({self._net})"

    @cached_property
    def _tracker(self):  # type: ignore[no-untyped-def]
        from models.tracking import Tracker

        return Tracker(video=False)

    def cut_out(self, rgb: U8) -> Cutout | None:
        """The person of a photo or frame on grey; None where nobody is found."""
        from models import matting

        people = self._tracker.track(rgb)
        if not people:
            return None
        m = matting.matte(rgb, people[0], others=people[1:])
        if not (m.alpha > PICTURE["person"]).any():
            return None
        picture = m.foreground * m.alpha[..., None] + PICTURE["background"] / 255 * (1 - m.alpha[..., None])
        face = people[0].face
        landmarks = None if face is None else face.landmarks[:, :2]
        return Cutout((picture * 255).round().clip(0, 255).astype(np.uint8), m.alpha, m.foreground, landmarks)

    @cached_property
    def _face_tracker(self):  # type: ignore[no-untyped-def]
        from models.tracking import Tracker

        return Tracker(video=False, body=False, hands=False)

    def face(self, rgb: U8):  # type: ignore[no-untyped-def]
        """The largest face's tracking.Face, or None."""
        return next((p.face for p in self._face_tracker.track(rgb) if p.face is not None), None)

    def mouth_opening(self, rgb: U8) -> float | None:
        """Distance of the inner lips over the face's width."""
        face = self.face(rgb)
        return None if face is None else opening(face.landmarks[:, :2])

    def reference(self, truth: U8, box: Box) -> Reference:
        """A whole true picture and the box in which others are compared with it."""
        from models import identity

        picture = cut(truth, box)
        face = next(iter(identity.detect(picture)), None)
        embedding = None if face is None else identity.embed(picture, face)
        features = self._features(picture)
        return Reference(picture, box, features, face, embedding)

    def scores(self, truth: Reference, drawn: U8, landmarks: bool = True) -> Scores:
        """Of a whole picture against the truth, inside its box; landmarks False leaves their distance out."""
        from models import identity

        b = cut(drawn, truth.box)
        plain = self._plain(truth.picture, b, None, truth.features)
        face = next(iter(identity.detect(b)), None)
        if truth.face is None or face is None:
            return plain
        embedded = identity.embed(b, face)
        away = np.linalg.norm(truth.face.points - face.points, axis=1).mean() / truth.face.box[2]
        same = None
        if truth.embedding is not None and embedded is not None:
            same = identity.similarity(truth.embedding, embedded)
        return replace(plain, identity=same, landmarks=float(away) if landmarks else None)

    def plain(self, a: U8, b: U8, mask: NDArray[np.bool_] | None, perceptual: bool = True) -> Scores:
        """Without a face: over the pixels of a mask (H, W), or all; the perceptual distance always over all, or not."""
        return self._plain(a, b, mask, self._features(a) if perceptual else None)

    def _features(self, picture: U8) -> Any:
        """Of the perceptual net."""
        return self._perceptual.features(_at_most(_at_least(picture, PICTURE["least_side"]), self._side))

    def _plain(self, a: U8, b: U8, mask: NDArray[np.bool_] | None, features: Any) -> Scores:
        from skimage.metrics import structural_similarity

        inside = np.ones(a.shape[:2], bool) if mask is None else mask
        difference = (a.astype(np.float64) - b)[inside] / 255
        mse = float((difference**2).mean())
        big = [_at_least(p, PICTURE["least_side"]) for p in (a, b)]
        _, similar = structural_similarity(big[0], big[1], channel_axis=2, full=True)
        weight = cv2.resize(inside.astype(np.float32), big[0].shape[1::-1]) > 0.5
        return Scores(
            mse,
            float(np.abs(difference).mean()),
            float(-10 * np.log10(max(mse, LEAST_MSE))),
            float(similar[weight].mean()) if weight.any() else None,
            None if features is None else self._perceptual.between(features, self._features(b)),
        )


def _at_least(picture: U8, side: int) -> U8:
    k = side / min(picture.shape[:2])
    if k <= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC), np.uint8)


def _at_most(picture: U8, side: int | None) -> U8:
    k = 1.0 if side is None else side / max(picture.shape[:2])
    return (
        picture if k >= 1 else np.asarray(cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8)
    )


def opening(landmarks: NDArray) -> float:
    """Of the lips, (478, 2) landmarks, over the face's width."""
    gap = np.linalg.norm(landmarks[UPPER_LIP] - landmarks[LOWER_LIP])
    return float(gap / max(np.ptp(landmarks[:468, 0]), 1e-6))


def correlation(a: Sequence[float | None], b: Sequence[float | None]) -> float | None:
    """Pearson's, over the moments that have both; None for fewer than three, or when one does not vary."""
    pairs = np.array([(x, y) for x, y in zip(a, b) if x is not None and y is not None], np.float64).reshape(-1, 2)
    if len(pairs) < 3 or pairs.std(0).min() < 1e-6:
        return None
    return float(np.asarray(np.corrcoef(pairs.T))[0, 1])


def number(value: float | None, digits: int, width: int) -> str:
    """Right-aligned, "-" for None."""
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"
