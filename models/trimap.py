"""Where a person's outline is certain and where matting has to find it, from masks, landmarks and colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.person import CHIN, LEFT_ELBOW, LEFT_WRIST, RIGHT_ELBOW, RIGHT_WRIST, Person
from models.person_mask import PersonMask, disc, draw_hands, head_centre

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SURE, NEVER = 0.9, 0.1  # probability from which a pixel counts as person, up to which as background
HAIR = 0.12  # half width of the unknown band about the hair, in face heights
PLAIN = 0.015  # and elsewhere
DOUBT = 0.5  # depth inside the outline down to which a doubtful mask counts as unknown, in face heights
ARM = 0.35  # half width of the zone about hands and forearms where colour may find gaps, in face heights
GAP = 0.2  # colour vote under which such a place is a gap
COLOUR_PER_FACE = 0.2  # how far in colour (RGB 0..1) counts as much as one face height in place
VOTE_FACE = 80.0  # px, the face's height at which colours vote
MOST_SAMPLES = 4000  # of known person and of known background that vote


@dataclass(frozen=True)
class Trimap:
    value: F32  # (H, W): 1 person, 0 background, .5 unknown
    prior: F32  # (H, W) 0..1 what to expect where it is unknown; .5 says nothing


def trimap_of(rgb: U8, person: Person, mask: PersonMask) -> Trimap:
    """A band along the outline, wide about the hair, and inside the outline wherever the mask or the colours doubt.

    Gaps between arms and body are often too small for the segmentation; near the arms, colours may open them.
    """
    size, probability = person.size, mask.probability
    band = np.maximum(PLAIN * size, 1.5 * mask.cell)
    band = band + hair_zone(person, probability.shape) * np.maximum(HAIR * size - band, 0)
    inside = probability > 0.5
    deep, far = _distance(inside), _distance(~inside)
    doubt = (probability > NEVER) & (probability < SURE)
    value = np.full(inside.shape, 0.5, np.float32)
    value[inside & (deep > np.where(doubt, np.maximum(band, DOUBT * size), band))] = 1
    value[~inside & (far > np.where(doubt, 1.5 * band, band))] = 0
    value[mask.sure > 0] = 1

    arms = (_arm_zone(person, value.shape) > 0) & inside & (mask.sure == 0)
    asked = ((value == 0.5) & doubt) | arms
    vote = colour_vote(rgb, value, asked, size)
    gap = cv2.morphologyEx((arms & (vote < GAP)).astype(np.uint8), cv2.MORPH_OPEN, disc(0.01 * size))
    value[(cv2.dilate(gap, disc(0.02 * size)) > 0) & (mask.sure == 0)] = 0.5
    value[cv2.erode(gap, disc(0.02 * size)) > 0] = 0
    prior = np.where(asked & inside & (doubt | (gap > 0)), vote, probability)
    prior = np.where(asked & ~inside, np.minimum(vote, probability), prior)  # colour alone does not make it the person
    return Trimap(value, prior.astype(np.float32))


def colour_vote(rgb: U8, value: F32, asked: NDArray[np.bool_], size: float) -> F32:
    """(H, W): for pixels `asked`, 1 where colours like theirs near by are the person's, 0 the background's; else .5.

    The nearest known pixels in colour and place decide, at a coarse size. size: the face's height, px, unit of place.
    """
    k = min(1.0, VOTE_FACE / size)
    shape = (max(round(rgb.shape[1] * k), 1), max(round(rgb.shape[0] * k), 1))
    small = cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    coarse = cv2.resize(np.where(asked, 0.5, value), shape, interpolation=cv2.INTER_AREA)
    places = np.argwhere(cv2.resize(asked.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0)
    known = [np.argwhere(coarse == 0), np.argwhere(coarse == 1)]
    if len(places) == 0 or min(len(samples) for samples in known) < 10:
        return np.full(value.shape, 0.5, np.float32)
    feature = lambda p: np.hstack([small[p[:, 0], p[:, 1]], p * (COLOUR_PER_FACE / (size * k))])  # noqa: E731
    background, own = (
        cKDTree(feature(samples[:: len(samples) // MOST_SAMPLES + 1])).query(feature(places), k=3, eps=0.2)[0].mean(1)
        for samples in known
    )
    vote: NDArray = np.full(coarse.shape, 0.5, np.float32)
    vote[places[:, 0], places[:, 1]] = (background**2 + 1e-4) / (background**2 + own**2 + 2e-4)
    full = cv2.resize(vote, (value.shape[1], value.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.where(asked, full, 0.5).astype(np.float32)


def hair_zone(person: Person, shape: tuple[int, ...]) -> F32:
    """1 about the head above the chin, fading to 0 at 1.5 times the face's height and below the chin."""
    x, y = head_centre(person)
    size = person.size
    roll = person.face.roll if person.face is not None else 0.0
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along = (xx - x) * -np.sin(roll) + (yy - y) * np.cos(roll)  # towards the chin
    across = (xx - x) * np.cos(roll) + (yy - y) * np.sin(roll)
    chin = 0.5 * size
    if person.face is not None:
        d = person.face.landmarks[CHIN, :2] - [x, y]
        chin = float(-d[0] * np.sin(roll) + d[1] * np.cos(roll))
    radius = np.hypot(across, along + 0.1 * size)
    return np.clip((1.5 * size - radius) / (0.4 * size), 0, 1) * np.clip((chin - along) / (0.3 * size) + 1, 0, 1)


def _arm_zone(person: Person, shape: tuple[int, ...]) -> U8:
    """1 about the hands and the forearms that are seen, not on the hands: shadow between fingers is no gap."""
    zone = np.zeros(shape, np.uint8)
    width = max(round(2 * ARM * person.size), 1)
    for hand in person.hands:
        cv2.polylines(zone, [np.round(hand.landmarks[:, :2]).astype(np.int32)], False, 1, thickness=width)
    if person.body is not None:
        for elbow, wrist in ((LEFT_ELBOW, LEFT_WRIST), (RIGHT_ELBOW, RIGHT_WRIST)):
            if person.body.visible(elbow, shape) and person.body.visible(wrist, shape):
                a, b = np.round(person.body.keypoints[[elbow, wrist], :2]).astype(int).tolist()
                cv2.line(zone, a, b, 1, width)
    draw_hands(zone, person, 0, thickness=0.4)
    return zone


def _distance(region: NDArray[np.bool_]) -> F32:
    """px to the region's end; the picture's border is none: its outermost pixels are repeated."""
    bordered = np.pad(region, 1, mode="edge").astype(np.uint8)
    return np.asarray(cv2.distanceTransform(bordered, cv2.DIST_L2, 5), np.float32)[1:-1, 1:-1]
