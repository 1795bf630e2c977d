"""One outline out of two looks: the nets that know persons but see them coarsely, and the one that sees finely.

The fine look is followed but where whole regions differ. What only the coarse look has stays where the person's bones
run through it or where it is sure of it; what only the fine look has stays where bones run through it or the coarse one
half expects it. Beside the head, where walls and hair mingle, the colours must be the person's, too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.person import (
    LEFT_ANKLE,
    LEFT_ELBOW,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ANKLE,
    RIGHT_ELBOW,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    Person,
)
from models.person_mask import PersonMask, disc, draw_hands
from models.trimap import colour_vote, hair_zone

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Region = NDArray[np.bool_]  # (H, W)

# Lengths are in face heights.
REGION = 0.02  # radius of the least place in which two looks differ in more than their outlines
DIFFERENT = 0.5  # of alpha
OFF, BLUR = 0.3, 0.03  # of alpha; and how far around pixels that are so far off the coarse look may count
AROUND, SOFT = 0.1, 0.015  # how far the coarse look counts around a region of its own, and how softly it ends
DEEP = 0.05  # depth inside the coarse outline from which a sure mask is the person,
DOUBT = 0.3  # beside the head only where the fine look gives at least this: it sees strange things behind hair better
STRAY = 0.05  # how far soft pixels may lie from what is surely the person
BONE = 0.12  # thickness of a limb's inside
ON_BONES, BESIDE_BONES = 0.1, 0.02  # share of a region that lies on bones: the person; no part of the person
SURE, EXPECTED = 0.9, 0.2  # the coarse look's mean probability in a region: the person; perhaps
AT_HEAD = 0.3  # share of a region that lies in the hair's zone; there colours vote, 1 the person's, 0 the background's:
OTHER_COLOURS = 0.35  # what the fine look alone has is not the person's under this
LIKELY, OWN_COLOURS = 0.8, 0.75  # what the coarse look alone has is the person's from this probability and this vote
LIMBS = (
    (LEFT_SHOULDER, RIGHT_SHOULDER), (LEFT_HIP, RIGHT_HIP), (LEFT_SHOULDER, RIGHT_HIP), (RIGHT_SHOULDER, LEFT_HIP),
    (LEFT_SHOULDER, LEFT_HIP), (LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST),
    (RIGHT_SHOULDER, RIGHT_HIP), (RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST),
    (LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE), (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE),
)  # fmt: skip


def combined(rgb: U8, person: Person, mask: PersonMask, coarse: F32, fine: F32) -> F32:
    """Alpha (H, W) of `person` in `rgb` (H, W, 3) from the matte `coarse` of their `mask` and the object `fine`."""
    size = person.size
    hair = hair_zone(person, fine.shape) > 0.5
    bones = _bones(person, mask)
    surplus, gain = _regions(coarse - fine, size), _regions(fine - coarse, size)
    agreed = np.where(np.minimum(coarse, fine) > 0.95, 1, np.where(np.maximum(coarse, fine) < 0.05, 0, 0.5))
    asked = np.logical_or.reduce([*surplus, *gain, np.zeros_like(hair)])
    vote = colour_vote(rgb, agreed.astype(np.float32), asked, size)
    own = _kept(surplus, vote, mask, bones, hair) | _dropped(gain, vote, mask, bones, hair)
    near = cv2.dilate((np.abs(coarse - fine) > OFF).astype(np.uint8), disc(BLUR * size))
    weight = (cv2.dilate(own, disc(AROUND * size)) * near).astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(weight, (0, 0), max(SOFT * size, 1.0)), own)
    alpha = fine + weight * (coarse - fine)
    inside = ((coarse > 0.95) & (mask.probability > SURE)).astype(np.uint8)
    deep = cv2.erode(inside, disc(DEEP * size), borderType=cv2.BORDER_REPLICATE) * (~hair | (fine > DOUBT))
    return np.where((deep > 0) | (mask.sure > 0), 1, alpha).astype(np.float32)


def without_strays(alpha: F32, sure: U8, size: float) -> F32:
    """What hangs together with face and hands, and what is soft beside it; `size`: the face's height, px."""
    solid = alpha > 0.5
    _, label = cv2.connectedComponents(solid.astype(np.uint8))
    anchors = np.unique(label[(sure > 0) & solid])
    if len(anchors) == 0:  # no face: the largest piece
        anchors = np.array([np.bincount(label[label > 0]).argmax()]) if label.any() else np.array([0])
    kept = np.isin(label, anchors[anchors > 0]).astype(np.uint8)
    away = cv2.distanceTransform(1 - kept, cv2.DIST_L2, 5)
    return np.asarray(alpha * np.clip(2 - away / (STRAY * size), 0, 1), np.float32)


def _kept(regions: list[Region], vote: F32, mask: PersonMask, bones: U8, hair: Region) -> U8:
    """1 in those `regions` that the coarse look alone has that are the person's all the same."""
    out = np.zeros(bones.shape, np.uint8)
    for region in regions:
        at_head = hair[region].mean() > AT_HEAD
        likely, own = mask.probability[region].mean(), vote[region].mean()
        sure = likely > LIKELY and own > OWN_COLOURS if at_head else likely > SURE
        if sure or bones[region].mean() > ON_BONES:
            out[region] = 1
    return out


def _dropped(regions: list[Region], vote: F32, mask: PersonMask, bones: U8, hair: Region) -> U8:
    """1 in those `regions` that the fine look alone has that are not the person's."""
    out = np.zeros(bones.shape, np.uint8)
    for region in regions:
        at_head = hair[region].mean() > AT_HEAD
        strange = bones[region].mean() < BESIDE_BONES and mask.probability[region].mean() < EXPECTED
        if vote[region].mean() < OTHER_COLOURS if at_head else strange:
            out[region] = 1
    return out


def _regions(surplus: F32, size: float) -> list[Region]:
    """Masks (H, W) of the places, wider than an outline's blur, where `surplus` is large."""
    differs = (surplus > DIFFERENT).astype(np.uint8)
    core = cv2.morphologyEx(differs, cv2.MORPH_OPEN, disc(REGION * size), borderType=cv2.BORDER_REPLICATE)
    count, label = cv2.connectedComponents(core)
    return [label == k for k in range(1, count)]


def _bones(person: Person, mask: PersonMask) -> U8:
    """1 along the limbs and across the trunk that are seen, on hands and face."""
    bones = mask.sure.copy()
    body = person.body
    for a, b in LIMBS if body is not None else ():
        if body.visible(a, bones.shape) and body.visible(b, bones.shape):  # type: ignore[union-attr]
            start, end = np.round(body.keypoints[[a, b], :2]).astype(int).tolist()  # type: ignore[union-attr]
            cv2.line(bones, start, end, 1, max(1, round(BONE * person.size)))
    draw_hands(bones, person, 1, thickness=0.15)
    return bones
