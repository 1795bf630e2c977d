"""How likely each pixel belongs to one person: two segmentation nets, the person's own joints, and who stands beside."""

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

FINGERS = (
    (0, 1, 2, 3, 4),
    (0, 5, 6, 7, 8),
    (0, 9, 10, 11, 12),
    (0, 13, 14, 15, 16),
    (0, 17, 18, 19, 20),
    (5, 9, 13, 17),
)


@dataclass(frozen=True)
class PersonMask:
    probability: F32  # (H, W) 0..1
    cell: F32  # (H, W) px: how fine the net saw each place, the size of one of its pixels
    sure: U8  # (H, W) 1 where the landmarks say that this is face or hand


def person_mask(rgb: U8, person: Person, others: Sequence[Person] = ()) -> PersonMask:
    """The mask of `person` in `rgb`. `others`: the other persons of the picture, whose pixels are not this one's."""
    shape = rgb.shape[:2]
    probability, cell = _segment(rgb, person)
    own = person.body.mask if person.body is not None else None
    rivals = [o.body.mask for o in others if o.body is not None and o.body.mask is not None]
    if own is not None:
        probability = np.maximum(probability, np.clip((own - 0.9) / 0.1, 0, 1))
        if rivals:
            rival = np.maximum.reduce(rivals)
            probability = probability * np.clip(0.5 + 2 * (own - rival), 0, 1)
    sure = _landmark_mask(person, shape)
    return PersonMask(np.where(sure > 0, 1, probability).astype(np.float32), cell, sure)


def _segment(rgb: U8, person: Person) -> tuple[F32, F32]:
    """The segmentation of the whole image, of the person and of the head, the closer look counting where it is safe."""
    height, width = rgb.shape[:2]
    net = PersonSegmenter()
    try:
        probability = net(rgb)
        cell = np.full((height, width), max(height, width) / net.RESOLUTION, np.float32)
        for crop in _looks(person, rgb.shape):
            if crop.side > 0.8 * max(height, width):
                continue
            closer = crop.paste(net(crop.cut(rgb)), rgb.shape)
            weight = crop.paste(_window(crop.size), rgb.shape)
            probability = probability * (1 - weight) + closer * weight
            cell = cell * (1 - weight) + crop.side / net.RESOLUTION * weight
    finally:
        net.close()
    return probability, cell


def _looks(person: Person, shape: tuple[int, ...]) -> list[Crop]:
    """Squares to look at, widest first: the person, and the head with the shoulders."""
    x0, y0, x1, y1 = person.box
    looks = []
    size = person.size
    side = max(x1 - x0 + 2 * size, y1 - y0 + 2 * size)
    looks.append(Crop(((x0 + x1) / 2, (y0 + y1) / 2), side))
    head = head_centre(person)
    looks.append(Crop((head[0], head[1] + 0.2 * size), 4.0 * size))
    return looks


def head_centre(person: Person) -> tuple[float, float]:
    """px; of the face where there is one, else of the body's head."""
    if person.face is not None:
        x, y = person.face.centre.tolist()
    elif person.body is not None:
        x, y = person.body.head_centre.tolist()
    else:
        raise ValueError("this person has neither face nor body; there is nothing to cut out")
    return x, y


def _window(size: int) -> F32:
    """1 in the middle of a crop, 0 at its border, over an eighth of its side."""
    ramp = np.clip(np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) / (size / 8), 0, 1)
    return np.minimum(ramp[:, None], ramp[None]).astype(np.float32)


def _landmark_mask(person: Person, shape: tuple[int, ...]) -> U8:
    """1 inside the face's oval and along the bones of the hands."""
    mask = np.zeros(shape, np.uint8)
    if person.face is not None:
        oval = person.face.landmarks[list(FACE_OVAL), :2]
        cv2.fillPoly(mask, [np.round(oval.mean(0) + 0.9 * (oval - oval.mean(0))).astype(np.int32)], 1)
    for hand in person.hands:
        palm = float(np.linalg.norm(hand.landmarks[9, :2] - hand.landmarks[0, :2]))
        for finger in FINGERS:
            points = np.round(hand.landmarks[list(finger), :2]).astype(np.int32)
            cv2.polylines(mask, [points], False, 1, thickness=max(1, round(0.06 * palm)))
    return mask
