"""How likely each pixel belongs to one person: two segmentation nets, the person's own joints, and the others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.crop import Crop
from models.landmarkers import PersonSegmenter
from models.person import FACE_OVAL, Person

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CLOSER = 0.7  # weight of a closer look against the wider one
DARK = 0.3  # mean of the person's part of the picture up to which it is brightened, to this
PALM = (0, 1, 5, 9, 13, 17)  # hand landmarks: its corners
FINGERS = tuple(tuple(range(k, k + 4)) for k in (1, 5, 9, 13, 17))  # and the fingers' chains


@dataclass(frozen=True)
class PersonMask:
    probability: F32  # (H, W) 0..1
    cell: F32  # (H, W) px: how fine the net saw each place, the size of one of its pixels
    sure: U8  # (H, W) 1 where the landmarks say that this is face or hand


def person_mask(rgb: U8, person: Person, others: Sequence[Person] = ()) -> PersonMask:
    """The mask of `person` in `rgb`. `others`: the other persons of the picture, whose pixels are not this one's."""
    probability, cell = _segment(_well_lit(rgb, person), person)
    own = person.body.mask if person.body is not None else None
    if own is not None:
        probability = _second_opinion(probability, own, person.size)
        rivals = [o.body.mask for o in others if o.body is not None and o.body.mask is not None]
        if rivals:
            probability = probability * np.clip(0.5 + 2 * (own - np.maximum.reduce(rivals)), 0, 1)
    sure = _landmark_mask(person, rgb.shape[:2])
    return PersonMask(np.where(sure > 0, 1, probability).astype(np.float32), cell, sure)


def _second_opinion(probability: F32, own: F32, size: float) -> F32:
    """The segmentation of any person and what they hold, weighed with the body's own coarse mask.

    Doubtful places far from the body are background; doubtful places well inside it are the person's.
    """
    near = cv2.dilate(own, np.ones((5, 5), np.uint8))
    probability = np.where(probability > 0.9, probability, probability * np.clip((near - 0.02) / 0.2, 0, 1))
    within = cv2.erode(own, disc(0.1 * size), borderType=cv2.BORDER_REPLICATE)
    return np.maximum(probability, 0.8 * np.clip((within - 0.8) / 0.1, 0, 1)).astype(np.float32)


def _segment(rgb: U8, person: Person) -> tuple[F32, F32]:
    """The probability and how fine it was seen, from a look at the image, then closer ones at the person and the head.

    Each look is also taken mirrored, and the more generous of both counts: the net misses held objects on one side. The
    head's look refines the outline but does not move it: bright windows behind a head fool the net when it sees only
    these two.
    """
    shape = rgb.shape
    net = PersonSegmenter()
    try:
        look = lambda image: np.maximum(net(image), net(image[:, ::-1])[:, ::-1])  # noqa: E731
        probability: NDArray = look(rgb)
        cell: NDArray = np.full(shape[:2], max(shape) / net.RESOLUTION, np.float32)
        for crop, refines in _looks(person, shape):
            weight = CLOSER * crop.paste(_window(crop, shape), shape)
            if refines:
                weight = weight * np.clip(5 / 2 - _to_outline(probability) / (2 * cell), 0, 1)  # within 3 to 5 cells
            probability = probability * (1 - weight) + crop.paste(look(crop.cut(rgb)), shape) * weight
            cell = cell * (1 - weight) + crop.side / net.RESOLUTION * weight
        for crop, zone in _hand_looks(person, shape):
            doubt = zone * np.clip(10 * np.minimum(probability, 1 - probability), 0, 1)
            probability = probability * (1 - doubt) + crop.paste(net(crop.cut(rgb)), shape) * doubt
            cell = cell * (1 - zone) + crop.side / net.RESOLUTION * zone
    finally:
        net.close()
    return probability, cell


def _to_outline(probability: F32) -> F32:
    """px from each pixel to where the probability passes .5."""
    inside = (probability > 0.5).astype(np.uint8)
    both = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(both, np.float32)


def _looks(person: Person, shape: tuple[int, ...]) -> list[tuple[Crop, bool]]:
    """Squares to look at closely, inside the image: the person where small, and the head (True) where small."""
    x0, y0, x1, y1 = person.box
    size = person.size
    x, y = head_centre(person)
    wanted = [
        ((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0 + 2 * size, y1 - y0 + 2 * size)),
        (x, y + 0.2 * size, 3.2 * size),
    ]
    looks = []
    for x, y, side in wanted:
        if side < 0.8 * min(shape[:2]):
            x, y = (float(np.clip(c, side / 2, n - side / 2)) for c, n in ((x, shape[1]), (y, shape[0])))
            looks.append((Crop((x, y), side), side == wanted[1][2]))
    return looks


def _hand_looks(person: Person, shape: tuple[int, ...]) -> list[tuple[Crop, F32]]:
    """Squares about the hands, and (H, W) 1 on the hand: there the closer look parts the fingers."""
    looks = []
    for hand in person.hands:
        points = hand.landmarks[:, :2]
        extent = float(np.ptp(points, axis=0).max())
        zone: NDArray = np.zeros(shape[:2], np.float32)
        cv2.fillConvexPoly(zone, cv2.convexHull(np.round(points).astype(np.int32)), 1.0)
        zone = cv2.GaussianBlur(cv2.dilate(zone, disc(0.15 * extent)), (0, 0), max(0.04 * extent, 0.5))
        x, y = points.mean(0).tolist()
        looks.append((Crop((x, y), 2.5 * extent), np.asarray(zone, np.float32)))
    return looks


def disc(radius: float) -> U8:
    """A round structuring element."""
    n = 2 * max(round(radius), 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (n, n)).astype(np.uint8)


def _well_lit(rgb: U8, person: Person) -> U8:
    """The picture brightened where the person is in the dark: the net was trained on persons one can see."""
    x0, y0, x1, y1 = (int(v) for v in person.box)
    brightness = float(rgb[y0:y1, x0:x1].mean()) / 255 if y1 > y0 and x1 > x0 else 1.0
    if brightness > DARK:
        return rgb
    gamma = np.log(DARK) / np.log(max(brightness, 0.01))
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return table[rgb]


def head_centre(person: Person) -> tuple[float, float]:
    """px; of the face where there is one, else of the body's head."""
    if person.face is not None:
        x, y = person.face.centre.tolist()
    elif person.body is not None:
        x, y = person.body.head_centre.tolist()
    else:
        raise ValueError("this person has neither face nor body; there is nothing to cut out")
    return x, y


def _window(crop: Crop, shape: tuple[int, ...]) -> F32:
    """1 in the middle of a crop, 0 over an eighth of its side at its border, but not where that is the image's."""
    ramp = np.clip(np.arange(crop.size) / (crop.size / 8), 0, 1).astype(np.float32)
    (x, y), half = crop.centre, crop.side / 2
    axes = []
    for centre, length in ((y, shape[0]), (x, shape[1])):
        low = ramp if centre - half > 1 else np.ones_like(ramp)
        high = ramp[::-1] if centre + half < length - 1 else np.ones_like(ramp)
        axes.append(np.minimum(low, high))
    return np.minimum(axes[0][:, None], axes[1][None])


def _landmark_mask(person: Person, shape: tuple[int, ...]) -> U8:
    """1 inside the face's oval and along the bones of the hands."""
    mask = np.zeros(shape, np.uint8)
    if person.face is not None:
        oval = person.face.landmarks[list(FACE_OVAL), :2]
        cv2.fillPoly(mask, [np.round(oval.mean(0) + 0.9 * (oval - oval.mean(0))).astype(np.int32)], 1)
    draw_hands(mask, person, 1, thickness=0.06)
    return mask


def draw_hands(mask: U8, person: Person, value: int, thickness: float) -> None:
    """Draw the palms and the fingers into `mask`; `thickness` of a finger per palm's length."""
    for hand in person.hands:
        points = np.round(hand.landmarks[:, :2]).astype(np.int32)
        length = float(np.linalg.norm(hand.landmarks[9, :2] - hand.landmarks[0, :2]))
        cv2.fillPoly(mask, [points[list(PALM)]], value)
        for finger in FINGERS:
            cv2.polylines(mask, [points[list(finger)]], False, value, thickness=max(1, round(thickness * length)))
