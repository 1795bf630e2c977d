"""Background that the matte took for arm: between fingers, in the crook of an elbow, about the hand.

Segmentation is too coarse for gaps of a few pixels. Away from the fitted bones the nearest known pixels in colour and
place decide (models.trimap.colour_vote): the bones and the trunk on one side, what is surely background on the other.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.arms.classify import Arm
from avatar.build.arms.owner import HAND_BONES, PALM, draw_line, torso
from avatar.build.observe import Observation
from avatar.limbs import FREE
from models import matting
from models.trimap import colour_vote

SURE_UPPER, SURE_FORE, SURE_FINGER = 0.04, 0.028, 0.006  # m from a bone that are surely arm
ASKED_UPPER, ASKED_FORE, ASKED_FINGER = 0.10, 0.08, 0.03  # m within which pixels are asked about
NO, YES = 0.25, 0.6  # votes under which a pixel is background, from which it is as the matte has it
SPECK = 0.0015  # m: radius of the smallest gap
LEAST_CHANGE = 0.002  # of alpha, summed over the arms' pixels, for which anything is changed


def open_gaps(o: Observation, moving: list[Arm]) -> Observation:
    """The observation with the arms' matte corrected, and its background with what was taken for arm."""
    if not moving:
        return o
    finest = 0.0
    sure, zone = np.zeros(o.alpha.shape, np.uint8), np.zeros(o.alpha.shape, np.uint8)
    for arm in moving:
        f = arm.fit
        assert f is not None
        px, hand = o.camera.focal / -f.points[:, 2], f.hand_pixels
        finest = max(finest, SPECK * float(px[2]))
        if arm.kind == FREE:
            for picture, upper, fore in ((sure, SURE_UPPER, SURE_FORE), (zone, ASKED_UPPER, ASKED_FORE)):
                draw_line(picture, f.pixels[0], f.pixels[1], 1, 2 * upper * px[0])
                draw_line(picture, f.pixels[1], hand[0], 1, 2 * fore * px[1])
        for a, b in HAND_BONES:
            draw_line(sure, hand[a], hand[b], 1, 2 * SURE_FINGER * px[2])
            draw_line(zone, hand[a], hand[b], 1, 2 * ASKED_FINGER * px[2])
        cv2.fillConvexPoly(sure, cv2.convexHull(np.round(hand[list(PALM)]).astype(np.int32)), 1)
        cv2.fillConvexPoly(zone, cv2.convexHull(np.round(hand).astype(np.int32)), 1)
    trunk = torso(o) > 0
    value = np.where((o.alpha > 0.95) & (zone == 0) | trunk | (sure > 0), 1, np.where(o.alpha < 0.1, 0, 0.5))
    asked = (zone > 0) & (sure == 0) & (o.alpha >= 0.1) & ~trunk
    vote = colour_vote(o.rgb, value.astype(np.float32), asked, o.person.size)
    share = np.where(asked, np.clip((vote - NO) / (YES - NO), 0, 1), 1)
    gap = _without_specks(share < 0.5, finest)
    alpha = np.where(gap, o.alpha * share, o.alpha).astype(np.float32)
    if (o.alpha - alpha).sum() < LEAST_CHANGE * zone.sum():
        return o
    background = (matting.inpaint_background(o.rgb, alpha) * 255).round().clip(0, 255).astype(np.uint8)
    return replace(o, alpha=alpha, background=background)


def _without_specks(gap: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Gaps that hold a disc, with a soft pixel about them."""
    r = max(round(radius), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    opened = cv2.morphologyEx(gap.astype(np.uint8), cv2.MORPH_OPEN, disc)
    return cv2.dilate(opened, np.ones((3, 3))) > 0
