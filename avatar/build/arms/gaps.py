"""Background that the matte took for arm (between fingers, in the crook of an elbow) and arm that it missed.

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
REACH = 0.045  # m from a bone within which the matte may have missed arm
CLOSED = 4  # gaps in that, of the smallest gap's radius, which are none
NO, YES = 0.25, 0.6  # votes under which a pixel is background, from which it is as the matte has it
SPECK = 0.0015  # m: radius of the smallest gap
LEAST_CHANGE = 0.002  # of alpha, summed over the arms' pixels, for which anything is changed


def open_gaps(o: Observation, moving: list[Arm]) -> Observation:
    """The observation with the arms' matte corrected, and its background with what was taken for arm."""
    if not moving:
        return o
    finest = 0.0
    sure, zone, limb = (np.zeros(o.alpha.shape, np.uint8) for _ in range(3))
    for arm in moving:
        f = arm.fit
        assert f is not None
        px, hand = o.camera.focal / -f.points[:, 2], f.hand_pixels
        finest = max(finest, SPECK * float(px[2]))
        if arm.kind == FREE:
            for picture, upper, fore in ((sure, SURE_UPPER, SURE_FORE), (zone, ASKED_UPPER, ASKED_FORE)):
                draw_line(picture, f.pixels[0], f.pixels[1], 1, 2 * upper * px[0])
                draw_line(picture, f.pixels[1], hand[0], 1, 2 * fore * px[1])
            draw_line(limb, f.pixels[0], f.pixels[1], 1, 2 * REACH * px[0])
            draw_line(limb, f.pixels[1], hand[0], 1, 2 * REACH * px[1])
        for a, b in HAND_BONES:
            draw_line(sure, hand[a], hand[b], 1, 2 * SURE_FINGER * px[2])
            draw_line(zone, hand[a], hand[b], 1, 2 * ASKED_FINGER * px[2])
        cv2.fillConvexPoly(sure, cv2.convexHull(np.round(hand[list(PALM)]).astype(np.int32)), 1)
        cv2.fillConvexPoly(zone, cv2.convexHull(np.round(hand).astype(np.int32)), 1)
    trunk = torso(o) > 0
    known = (o.alpha > 0.95) & (zone == 0) | trunk | (sure > 0)
    value = np.where(known, 1, np.where((o.alpha < 0.1) & (limb == 0), 0, 0.5))
    doubted = (limb > 0) & (o.alpha < 0.5) & ~trunk
    asked = (zone > 0) & (sure == 0) & (o.alpha >= 0.1) & ~trunk | doubted
    vote = colour_vote(o.rgb, value.astype(np.float32), asked, o.person.size)
    vote = np.where(sure > 0, 1, vote)
    share = np.where(asked, np.clip((vote - NO) / (YES - NO), 0, 1), 1)
    gap = _without_specks(share < 0.5, finest)
    alpha = np.where(gap, o.alpha * share, o.alpha)
    alpha = np.maximum(alpha, _missed(alpha, limb, vote, finest)).astype(np.float32)
    if np.abs(o.alpha - alpha).sum() < LEAST_CHANGE * zone.sum():
        return o
    background = (matting.inpaint_background(o.rgb, alpha) * 255).round().clip(0, 255).astype(np.uint8)
    found = (alpha > o.alpha + 0.1)[..., None]
    foreground = np.where(found, o.rgb.astype(np.float32) / 255, o.foreground)
    return replace(o, alpha=alpha, background=background, foreground=foreground)


def _missed(alpha: NDArray, limb: NDArray, vote: NDArray, finest: float) -> NDArray:
    """(H, W) alpha of what lies at the bones of an arm and looks like it, or is surrounded by it."""
    arm = ((limb > 0) & (vote > YES) | (alpha > 0.5)).astype(np.uint8)
    r = 2 * max(round(CLOSED * finest), 1) + 1
    whole = cv2.morphologyEx(arm, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (r, r)))
    soft = cv2.GaussianBlur(cv2.medianBlur(whole, 5).astype(np.float32), (0, 0), 0.8)
    return np.where(limb > 0, soft, 0)


def _without_specks(gap: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Gaps that hold a disc, with a soft pixel about them."""
    r = max(round(radius), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    opened = cv2.morphologyEx(gap.astype(np.uint8), cv2.MORPH_OPEN, disc)
    return cv2.dilate(opened, np.ones((3, 3))) > 0
