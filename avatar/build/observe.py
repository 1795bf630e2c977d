"""Stage observe: the photo at its working resolution with everything that nets see in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import suitability
from avatar.build.corrections import Corrections, read_landmarks, read_matte
from avatar.build.fit import photo_camera
from avatar.build.photo import Photo, Refused
from avatar.render.contract import Camera
from models import matting, tracking
from models.crop import to_width
from models.person import (
    LEFT_ANKLE,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    RIGHT_ANKLE,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
)

PERSON_AREA = 280_000  # px of the person's box at the working resolution
LONG_SIDE = 1024  # px
FACE_UNIT = 140.0  # px: lengths in px are for a face this wide and grow with it
VIEW_HEIGHT = 3.4  # default framing of heads and busts, in face heights
VIEW_FACE = 0.42  # where the face's centre lies in it, from the top


@dataclass(frozen=True)
class Observation:
    """Everything is in pixels of the working resolution."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    person: tracking.Person
    alpha: NDArray[np.float32]  # (H, W)
    foreground: NDArray[np.float32]  # (H, W, 3) 0..1, colours without the background's share
    background: NDArray[np.uint8]  # (H, W, 3) with the person painted out
    camera: Camera
    framing: str
    view: tuple[float, float, float, float]  # x0, y0, width, height
    scale: float  # working pixels per pixel of the file
    warnings: tuple[str, ...]

    @property
    def face(self) -> tracking.Face:
        assert self.person.face is not None
        return self.person.face

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """(478, 2) px."""
        return self.face.landmarks[:, :2]

    @property
    def face_width(self) -> float:
        return float(np.ptp(self.face.landmarks[:468, 0]))


def unit(o: Observation) -> float:
    """px of the picture for a px of a face FACE_UNIT wide, in which the stages give their lengths."""
    return o.face_width / FACE_UNIT


def observe(photo: Photo, by_hand: Corrections = Corrections()) -> Observation:  # noqa: B008
    """by_hand: what a user set right. Raises Refused when the photo cannot become an avatar."""
    with tracking.Tracker() as tracker:
        persons = tracker.track(photo.rgb)
    person, warnings = suitability.choose(photo.rgb, persons)
    H, W = photo.rgb.shape[:2]
    width = round(W * working_scale(person, photo.rgb.shape))
    k = width / W
    height = round(H * k)
    others = [scaled(p, k) for p in persons if p is not person]
    rgb, person = photo.rgb, scaled(person, k)
    if k < 1:
        rgb = np.asarray(to_width(rgb, width, height), np.uint8)
    person = _with_landmarks(person, by_hand.landmarks, photo.scale * k, photo.size)
    given = None if by_hand.matte is None else read_matte(by_hand.matte, rgb.shape[1], rgb.shape[0])
    matte = matting.matte(rgb, person, given, others)
    alpha = keep_the_person(matte.alpha, person)
    if alpha[alpha > 0.5].size < 500:
        raise Refused("the person cannot be told from the background; use a photo with a plainer background")
    background = (matting.inpaint_background(rgb, alpha) * 255).round().clip(0, 255).astype(np.uint8)
    framing = framing_of(person, rgb.shape)
    return Observation(
        rgb, person, alpha, matte.foreground, background, photo_camera(width, height, photo.focal), framing,
        view_of(framing, person, alpha), photo.scale * k, (*photo.warnings, *warnings),
    )  # fmt: skip


def _with_landmarks(person: tracking.Person, path: Path | None, scale: float, size: tuple[int, int]) -> tracking.Person:
    if path is None:
        return person
    assert person.face is not None
    points = person.face.landmarks.copy()
    points[:, :2] = read_landmarks(path, points[:, :2].astype(np.float64), scale, size)
    return replace(person, face=replace(person.face, landmarks=points))


def working_scale(person: tracking.Person, shape: tuple[int, ...]) -> float:
    """At most 1: never more pixels than the photo has."""
    x0, y0, x1, y1 = person.box
    area = max((x1 - x0) * (y1 - y0), 1.0)
    if person.face is not None:  # the box holds seen keypoints only; hair and shoulders are wider
        area = max(area, 4.5 * person.face.width * person.face.height)
    area = min(area, float(shape[0] * shape[1]))
    return float(min(1.0, (PERSON_AREA / area) ** 0.5, LONG_SIDE / max(shape[:2])))


def scaled(person: tracking.Person, k: float) -> tracking.Person:
    """The same person in an image k times the size."""
    if k == 1:
        return person
    f, b = person.face, person.body
    pixels = np.array([k, k, k, 1], np.float32)
    if b is not None:
        b = replace(b, keypoints=b.keypoints * pixels, mask=None if b.mask is None else _resized(b.mask, k))
    return tracking.Person(
        None if f is None else replace(f, landmarks=f.landmarks * np.float32(k)),
        b,
        tuple(replace(h, landmarks=h.landmarks * np.float32(k)) for h in person.hands),
        tuple(c * k for c in person.box),  # type: ignore[arg-type]
    )


def _resized(mask: NDArray[np.float32], k: float) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(mask, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.float32)


def keep_the_person(alpha: NDArray[np.float32], person: tracking.Person) -> NDArray[np.float32]:
    """The matte's part that hangs together with the face: people and things apart from it are background."""
    assert person.face is not None
    _, label = cv2.connectedComponents((alpha > 0.3).astype(np.uint8))
    h, w = alpha.shape
    p = person.face.landmarks[:468, :2].astype(int).clip(0, [w - 1, h - 1])
    inside = label[p[:, 1], p[:, 0]]
    inside = inside[inside > 0]
    if not len(inside):
        return np.zeros_like(alpha)
    part = (label == np.bincount(inside).argmax()).astype(np.uint8)
    reach = cv2.dilate(part, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    return np.where(reach > 0, alpha, 0).astype(np.float32)


def framing_of(person: tracking.Person, shape: tuple[int, ...]) -> str:
    """head, bust, half or full: how far down the picture shows the body."""
    body = person.body
    if body is None:
        return "head"
    seen = lambda points: all(body.visible(p, shape) for p in points)  # noqa: E731
    if not seen((LEFT_SHOULDER, RIGHT_SHOULDER)) and not seen((LEFT_HIP, RIGHT_HIP)):
        return "head"
    if not seen((LEFT_HIP, RIGHT_HIP)):
        return "bust"
    feet = any(body.visible(ankle, shape) for ankle in (LEFT_ANKLE, RIGHT_ANKLE))
    return "full" if feet and seen((LEFT_KNEE, RIGHT_KNEE)) else "half"


def view_of(framing: str, person: tracking.Person, alpha: NDArray) -> tuple[float, float, float, float]:
    """x0, y0, width, height of the default live framing, inside the picture."""
    assert person.face is not None
    H, W = alpha.shape
    p = person.face.landmarks[:468, :2]
    centre, face_height = p.mean(0), float(np.ptp(p[:, 1]))
    ys, xs = np.nonzero(alpha > 0.5)
    if framing in ("head", "bust"):
        side = min(VIEW_HEIGHT * face_height, W, H)
        top = centre[1] - VIEW_FACE * side
        width = height = side
    else:
        assert person.body is not None
        top = max(ys.min() - 0.35 * face_height, 0)
        bottom = ys.max() + 0.2 * face_height
        if framing == "half":
            bottom = min(bottom, person.body.keypoints[[LEFT_HIP, RIGHT_HIP], 1].max() + 0.3 * face_height)
        height = min(bottom - top, H)
        width = min(max(height * (1.0 if framing == "half" else 9 / 16), np.ptp(xs) + 0.4 * face_height), W)
        centre = np.array([(xs.min() + xs.max()) / 2 if framing == "full" else centre[0], 0])
    x0 = float(np.clip(centre[0] - width / 2, 0, W - width))
    y0 = float(np.clip(top, 0, H - height))
    return x0, y0, float(width), float(height)
