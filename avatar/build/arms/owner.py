"""Whose is each pixel: the trunk's, the left or the right arm's; and the picture of the trunk as if without the arms.

Watershed on the smoothed photo (Meyer 1992) grows the fitted bones and what is surely trunk towards each other. Near
the joint that an arm hangs on, its pixels stay with the trunk as well: both layers show the same there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from avatar.build.arms.classify import Arm
from avatar.build.arms.fit import ArmFit
from avatar.build.kinematics import F64
from avatar.build.observe import Observation
from avatar.limbs import FORESHORTENED, FREE
from models.matting import push_pull
from models.person import FACE_OVAL, LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER
from models.person_mask import disc

TRUNK = 1
LABEL = {"left": 2, "right": 3}

# Radii in metres of what is surely an arm's, and of what may be.
CORE_ARM, CORE_FINGER = 0.0225, 0.008
NEAR_UPPER, NEAR_FORE, NEAR_FINGER = 0.10, 0.065, 0.018
SHOULDER = 0.09  # m: radius of the shoulder, over which its joint takes hold of the upper arm
HAND_HOLD = (0.012, 0.05)  # m from the hand's bones: rigid with the hand up to, with the forearm alone from
FORE_HOLD = (0.018, 0.045)  # likewise, of a foreshortened arm: in full up to, by the forearm's own share from
SHARED = {FREE: 0.75, FORESHORTENED: 0.3}  # sway under which a pixel belongs to the trunk as well
FADE = {FREE: (0.03, 0.3), FORESHORTENED: (0.02, 0.15)}  # sway from which an arm shows, and over which it comes
CONTACT, CAST = 3, 6  # px beside a cut whose colours may be the other's
BESIDE = 5  # px from the trunk within which arm pixels certainly hide trunk
WIDE_SLEEVE = 0.15  # m from an upper arm's bone that may be its sleeve
SPIT, SPIT_LENGTH = 0.03, 0.1  # m: trunk over an upper arm is none if it holds no such disc and the arm goes on so near
LIFT, ARMPIT = 0.2, 0.15  # rad that an arm may turn without coming off the trunk, within so many m of its shoulder

RADIUS_ARM, RADIUS_HAND = 0.05, 0.02  # m from a bone to the arm's surface
UPPER_END = 0.9  # of an upper arm beside a foreshortened forearm, that is surely not the forearm
RADIUS_FORE, HAND_REACH = 0.026, 0.026  # m from their bones
OFF = 0.05  # m at most that the upper arm's skin tells the elbow to lie beside its bone
LEAST_SKIN = 30  # px of it that tell
SHADOWS = 0.15  # of a difference in lightness (0..255) that counts beside one in colour
NOTCH = 0.2  # m: radius to which an outline that a hand hides a piece of may bend in there
COARSE = 4  # px to one, where such pieces are looked for
IN_FRONT = 0.02  # m that a forearm before its upper arm reaches farther in the picture

HAND_BONES = tuple(
    (a, b) for f in range(5) for a, b in zip((0, *range(1 + 4 * f, 4 + 4 * f)), range(1 + 4 * f, 5 + 4 * f))
)
PALM = (0, 5, 9, 13, 17)


@dataclass(frozen=True)
class Region:
    """An arm's part of the picture."""

    arm: Arm
    mask: NDArray[np.bool_]  # (H, W) its pixels
    sway: NDArray[np.float32]  # (H, W) 0..1: 0 hangs with the trunk, 1 moves with the arm
    grip: NDArray[np.float32]  # (H, W) 0..sway: with the hand, of a foreshortened arm
    per_metre: F64  # (3,) px at shoulder, elbow, wrist
    elbow: F64  # (2,) px; of a foreshortened arm in line with the skin that is seen above it
    skin: NDArray[np.bool_]  # (H, W) that skin of the upper arm, the trunk's

    @property
    def fit(self) -> ArmFit:
        assert self.arm.fit is not None
        return self.arm.fit


def split(o: Observation, moving: list[Arm], body: NDArray[np.bool_]) -> tuple[Observation, list[Region]]:
    """The observation of the trunk without its moving arms, filled where they hid it; and the arms' regions.

    body (H, W): where the fitted body without its arms lies.
    """
    if not moving:
        return o, []
    label = owners(o, moving)
    regions = []
    for arm in moving:
        assert arm.fit is not None
        per_metre = o.camera.focal / -arm.fit.points[:, 2]
        elbow, skin = arm.fit.pixels[1], np.zeros(label.shape, bool)
        if arm.kind == FREE:
            sway = grip = _sway_at_shoulder(o, arm.fit, per_metre)
            label = np.where(_spits(o, arm.fit, label, sway, per_metre), LABEL[arm.side], label)
        else:
            elbow, skin = _elbow_below_skin(o, arm, label, per_metre)
            sway, grip = _sway_at_elbow(o, arm.fit, elbow, per_metre)
        regions.append(Region(arm, label == LABEL[arm.side], sway, grip, per_metre, elbow, skin))
    return _trunk(o, label, regions, body), regions


def draw_line(picture: NDArray, a: NDArray, b: NDArray, value: int, width: float) -> None:
    p, q = (np.round(x).astype(int).tolist() for x in (a, b))
    cv2.line(picture, p, q, value, max(round(width), 1))


def owners(o: Observation, moving: list[Arm]) -> NDArray[np.int32]:
    """(H, W) 0 background, TRUNK, or LABEL of a side."""
    alpha, shape = o.alpha, o.alpha.shape
    near, core = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for arm in moving:
        _draw(o, arm, near, core)
    marker = np.zeros(shape, np.int32)
    marker[alpha < 0.15] = 4
    sure = ((torso(o) > 0) | (alpha > 0.9)) & (near == 0) & (core == 0)
    marker[sure] = TRUNK
    arms = (core > TRUNK) & (alpha > 0.3)
    marker[(core == TRUNK) & (alpha > 0.5)] = TRUNK
    marker[arms] = core[arms]
    label = cv2.watershed(cv2.bilateralFilter(o.rgb, 7, 30, 3), marker)
    label = _nearest(np.where(label < 1, 0, label), label < 1)
    label = _nearest(label, label == 4)  # the soft fringe belongs to what it is the fringe of
    label = cv2.medianBlur(label.astype(np.uint8), 9 if min(shape) > 300 else 5).astype(np.int32)
    label = np.where(arms, core, label)
    return np.where(alpha > 0.02, _without_strays(o, label), 0)


def _draw(o: Observation, arm: Arm, near: NDArray, core: NDArray) -> None:
    """An arm's bones into the two maps."""
    f = arm.fit
    assert f is not None
    code, hand = LABEL[arm.side], f.hand_pixels
    px = o.camera.focal / -f.points[:, 2]
    shoulder, elbow = f.pixels[:2]
    if arm.kind == FREE:
        way = elbow - shoulder
        length = float(np.linalg.norm(way)) + 1e-6
        start = shoulder + way / length * min(0.05 * px[0], 0.3 * length)
        draw_line(near, shoulder, elbow, 1, 2 * NEAR_UPPER * px[0])
        draw_line(core, start, elbow, code, 2 * CORE_ARM * px[0])
        draw_line(near, elbow, hand[0], 1, 2 * NEAR_FORE * px[1])
        draw_line(core, elbow, hand[0], code, 2 * CORE_ARM * px[1])
    else:
        draw_line(near, elbow, hand[0], 1, 2 * NEAR_FORE * px[2])
        draw_line(core, shoulder, shoulder + UPPER_END * (elbow - shoulder), TRUNK, 2 * RADIUS_ARM * px[0])
        for a, b in HAND_BONES:  # between it and the upper arm colours decide
            draw_line(core, hand[a], hand[b], 0, 2 * HAND_REACH * px[2])
        cv2.fillConvexPoly(core, cv2.convexHull(np.round(hand).astype(np.int32)), 0)
        draw_line(core, elbow, hand[0], 0, 2 * RADIUS_FORE * px[2])
        draw_line(core, elbow, hand[0], code, 2 * CORE_ARM * px[2])
    for a, b in HAND_BONES:
        draw_line(near, hand[a], hand[b], 1, 2 * NEAR_FINGER * px[2])
        draw_line(core, hand[a], hand[b], code, 2 * CORE_FINGER * px[2])
    cv2.fillConvexPoly(core, cv2.convexHull(np.round(hand[list(PALM)]).astype(np.int32)), code)


def torso(o: Observation) -> NDArray[np.uint8]:
    """(H, W) 1 inside the quadrangle of shoulders and hips, drawn in a little, and on the face."""
    out = np.zeros(o.alpha.shape, np.uint8)
    assert o.person.body is not None
    c = o.person.body.keypoints[[LEFT_SHOULDER, RIGHT_SHOULDER, RIGHT_HIP, LEFT_HIP], :2]
    cv2.fillConvexPoly(out, np.round(c + (c.mean(0) - c) * 0.12).astype(np.int32), 1)
    cv2.fillConvexPoly(out, cv2.convexHull(o.landmarks[list(FACE_OVAL)].astype(np.int32)), 1)
    return out


def _nearest(label: NDArray, unknown: NDArray) -> NDArray:
    """label with unknown places taking the nearest known one."""
    if not unknown.any() or unknown.all():
        return label
    _, (y, x) = distance_transform_edt(unknown, return_indices=True)
    return np.asarray(label[y, x])


def _without_strays(o: Observation, label: NDArray) -> NDArray:
    """Pieces of trunk that do not hang together with the face go to what is next to them."""
    trunk = (label == TRUNK) & (o.alpha > 0.3)
    _, piece = cv2.connectedComponents(trunk.astype(np.uint8))
    H, W = label.shape
    p = o.landmarks[:468].astype(int).clip(0, [W - 1, H - 1])
    on_face = piece[p[:, 1], p[:, 0]]
    on_face = on_face[on_face > 0]
    if not len(on_face):
        return label
    main = piece == np.bincount(on_face).argmax()
    stray = trunk & ~main
    owned = _nearest(label, ~(main | (label >= 2)))
    return np.where(stray, owned, label)


def smoothstep(x: NDArray) -> NDArray:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def to_segment(x: NDArray, y: NDArray, a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """Distance of points (x, y) to the segment a-b, and how far along it (0..1) they are nearest."""
    d = b - a
    t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (float(d @ d) + 1e-9), 0, 1)
    return np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1]), t


def _spits(o: Observation, f: ArmFit, label: NDArray, sway: NDArray, px: F64) -> NDArray[np.bool_]:
    """(H, W) trunk over an upper arm, beyond its shoulder's hold, that ends on the arm and is a narrow spit: the arm's
    shaded underside, along which the watershed got there. A lifted arm would leave it standing in the armpit."""
    yy, xx = _pixels(o)
    near = to_segment(xx, yy, *f.pixels[:2])[0] < WIDE_SLEEVE * px[0]
    before = swept((label >= 2) & (o.alpha > 0.5), f.pixels[0] - f.pixels[1], SPIT_LENGTH * px[0])
    trunk = (label == TRUNK) & (o.alpha > 0.5)
    narrow = trunk & near & (sway > 0.5) & ~by_disc(trunk, cv2.MORPH_OPEN, SPIT * px[0])
    count, piece = cv2.connectedComponents(narrow.astype(np.uint8))
    ends = np.bincount(piece[before], minlength=count) > 0.5 * np.bincount(piece.ravel(), minlength=count)
    spit = (narrow & ends[piece]).astype(np.uint8)
    fringe = (cv2.dilate(spit, np.ones((2 * CONTACT + 1, 2 * CONTACT + 1))) > 0) & (label == TRUNK) & ~trunk
    return np.asarray((spit > 0) | fringe)


def by_disc(mask: NDArray[np.bool_], operation: int, radius: float) -> NDArray[np.bool_]:
    """The mask opened or closed (cv2.MORPH_*) by a disc; beyond the picture it goes on as at the border."""
    r = max(round(radius), 1)
    around = cv2.copyMakeBorder(mask.astype(np.uint8), r, r, r, r, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(around, operation, disc(r))[r:-r, r:-r] > 0)


def swept(mask: NDArray[np.bool_], way: F64, length: float) -> NDArray[np.bool_]:
    """(H, W) the mask and where it gets to when it moves by `length` px along a way (2,)."""
    out = mask.astype(np.uint8)
    way = way / (np.linalg.norm(way) + 1e-6)
    step = 1.0
    while step < length:  # each time twice as far
        by = min(step, length - step)
        matrix = np.array([[1, 0, by * way[0]], [0, 1, by * way[1]]])
        out = np.maximum(out, cv2.warpAffine(out, matrix, out.shape[::-1], flags=cv2.INTER_NEAREST))
        step += by
    return out > 0


def _elbow_below_skin(o: Observation, arm: Arm, label: NDArray, px: F64) -> tuple[F64, NDArray[np.bool_]]:
    """(2,) px: a hidden elbow's keypoint is a guess; skin that is seen of the upper arm says in which line it is. And
    (H, W) that skin, or of a sleeved arm nothing."""
    f = arm.fit
    assert f is not None
    hand, clothes = (label == LABEL[arm.side]) & (o.alpha > 0.9), (label == TRUNK) & (torso(o) > 0) & ~_head(o)
    yy, xx = _pixels(o)
    away, along = to_segment(xx, yy, f.pixels[0], f.pixels[1])
    beside = (label == TRUNK) & (o.alpha > 0.9) & (along > 0.5) & (away < 2 * RADIUS_ARM * px[0])
    if not hand.any() or not clothes.any():
        return f.pixels[1], np.zeros(label.shape, bool)
    lab = lab_of(o)
    skin = beside & like(lab, lab[hand], lab[clothes])
    skin = cv2.morphologyEx(skin.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5))) > 0
    if skin.sum() < LEAST_SKIN:
        return f.pixels[1], np.zeros(label.shape, bool)
    way = (f.pixels[1] - f.pixels[0]) / (np.linalg.norm(f.pixels[1] - f.pixels[0]) + 1e-6)
    across = np.array([-way[1], way[0]])
    off = np.median((xx[skin] - f.pixels[1, 0]) * across[0] + (yy[skin] - f.pixels[1, 1]) * across[1])
    return f.pixels[1] + across * np.clip(off, -OFF * px[1], OFF * px[1]), skin


def _head(o: Observation) -> NDArray[np.bool_]:
    """(H, W) rows above the chin."""
    return np.broadcast_to(np.arange(o.alpha.shape[0])[:, None] < o.landmarks[:468, 1].max(), o.alpha.shape)


def _sway_at_shoulder(o: Observation, f: ArmFit, px: F64) -> NDArray[np.float32]:
    """Of a free arm: over the shoulder's radius it takes hold of the upper arm."""
    yy, xx = _pixels(o)
    shoulder, elbow = f.pixels[:2]
    way = (elbow - shoulder) / (np.linalg.norm(elbow - shoulder) + 1e-6)
    radius = SHOULDER * px[0]
    along = ((xx - shoulder[0]) * way[0] + (yy - shoulder[1]) * way[1]) / radius
    away = np.hypot(xx - shoulder[0], yy - shoulder[1]) / radius
    # A raised forearm or hand, too, may lie before the shoulder in the picture.
    upper = to_segment(xx, yy, shoulder, elbow)[0] / px[0] - RADIUS_ARM
    lower = to_segment(xx, yy, elbow, f.pixels[2])[0] / px[1] - RADIUS_ARM
    for a, b in HAND_BONES:
        lower = np.minimum(lower, to_segment(xx, yy, f.hand_pixels[a], f.hand_pixels[b])[0] / px[2] - RADIUS_HAND)
    in_front = IN_FRONT * (f.points[2, 2] > f.points[1, 2])  # then what could be either is the forearm
    other = smoothstep((upper - lower + in_front) / RADIUS_HAND + 0.5)
    held = np.maximum(smoothstep((along + 0.45) / 1.45), smoothstep((away - 1.2) / 0.6))
    return np.maximum(held, other).astype(np.float32)


def _sway_at_elbow(o: Observation, f: ArmFit, elbow: F64, px: F64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of a foreshortened arm: a turning elbow moves each place of the forearm by its share of the way to the wrist, as
    the lengths that the view hides are in proportion to those in the picture; the hand it moves in full."""
    bones = np.ones(o.alpha.shape, np.uint8)
    hand = f.hand_pixels
    for a, b in HAND_BONES[1:]:  # not the bone to the thumb's root: that lies at the wrist
        if 0 not in (a, b):
            draw_line(bones, hand[a], hand[b], 0, 1)
    cv2.fillConvexPoly(bones, cv2.convexHull(np.round(hand[list(PALM)]).astype(np.int32)), 0)
    away = cv2.distanceTransform(bones, cv2.DIST_L2, 5) / px[2]
    near = lambda low, high: smoothstep(np.clip(1 - (away - low) / (high - low), 0, 1))  # noqa: E731
    yy, xx = _pixels(o)
    along = to_segment(xx, yy, elbow, hand[0])[1]
    sway = np.maximum(along, near(*FORE_HOLD))
    return sway.astype(np.float32), np.minimum(near(*HAND_HOLD), sway).astype(np.float32)


def _pixels(o: Observation) -> NDArray[np.float32]:
    """(2, H, W): y and x of the pixels' centres."""
    return np.mgrid[0 : o.alpha.shape[0], 0 : o.alpha.shape[1]].astype(np.float32) + 0.5


def _trunk(o: Observation, label: NDArray, regions: list[Region], body: NDArray[np.bool_]) -> Observation:
    """The observation with alpha and colours of the trunk alone."""
    alpha, trunk = o.alpha, (label == TRUNK) & (o.alpha > 0.5)
    arms = label >= 2
    shared = np.zeros(alpha.shape, bool)
    for r in regions:
        close = _reach(o, r)
        shared |= r.mask & (r.sway < SHARED[r.arm.kind]) & close
    flank = trunk.copy()  # without bare upper arms, which do not go on beside themselves
    for r in regions:
        flank &= ~r.skin
    fill = _hidden_trunk(trunk, flank, body, regions) | shared
    soft = cv2.GaussianBlur((fill & arms | trunk).astype(np.float32), (0, 0), 1.2)
    inner = np.where(shared, alpha, np.clip(1.6 * soft, 0, 1))
    new = np.where(arms, np.where(fill, inner, np.clip(2 * soft - 0.6, 0, 1) * np.minimum(alpha, 1)), alpha)
    cut = arms & ~shared
    beside = distance_transform_edt(~cut) < CAST
    known = ((trunk & (alpha > 0.9)) & ~beside) | (shared & (alpha > 0.9))
    far = push_pull(o.foreground, (known & (flank | shared)).astype(np.float32))
    if (bare := trunk & ~flank).any():  # which goes on only a little way
        near = smoothstep(2 - distance_transform_edt(~bare) / BESIDE)[..., None]
        far += near * (push_pull(o.foreground, known.astype(np.float32)) - far)
    foreground = np.where(cut[..., None], far, o.foreground)
    return replace(o, alpha=new.astype(np.float32), foreground=foreground.astype(np.float32))


def _reach(o: Observation, r: Region) -> NDArray[np.bool_]:
    """(H, W) near the joint that the arm hangs on; a raised hand, too, may lie before the shoulder in the picture."""
    if r.arm.kind != FREE:
        return np.ones(o.alpha.shape, bool)
    H, W = o.alpha.shape
    yy, xx = np.mgrid[0:H, 0:W]
    x, y = r.fit.pixels[0]
    return np.asarray(np.hypot(xx + 0.5 - x, yy + 0.5 - y) < 1.3 * SHOULDER * r.per_metre[0])


def between(trunk: NDArray, axis: int) -> NDArray[np.bool_]:
    """Pixels with trunk on both sides along an axis."""
    first = np.maximum.accumulate(trunk, axis)
    last = np.flip(np.maximum.accumulate(np.flip(trunk, axis), axis), axis)
    return np.asarray(first & last)


def like(lab: NDArray, these: NDArray, those: NDArray) -> NDArray[np.bool_]:
    """(...) which colours are nearer to the median of these (n, 3) than to that of those (m, 3)."""
    a, b = (np.linalg.norm(lab - np.median(c, 0), axis=-1) for c in (these, those))
    return np.asarray(a < b)


def lab_of(o: Observation) -> NDArray[np.float32]:
    """(H, W, 3) CIE Lab of the smoothed photo; lightness, which shadows change, counts less."""
    lab = cv2.cvtColor(cv2.GaussianBlur(o.rgb, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    return lab * np.array([SHADOWS, 1, 1], np.float32)


def _hidden_trunk(trunk: NDArray, flank: NDArray, body: NDArray, regions: list[Region]) -> NDArray[np.bool_]:
    """Arm pixels behind which there is trunk: the fitted body, or trunk on both sides in their row, or very near.
    Behind foreshortened arms that is the flank, without upper arms, and where its outline goes on straight."""
    arms, fill = np.zeros(trunk.shape, bool), np.zeros(trunk.shape, bool)
    for r in regions:
        arms |= r.mask
        if r.arm.kind == FREE:
            fill |= r.mask & (between(trunk, 1) | (distance_transform_edt(~trunk) < _uncovered(r)))
        else:
            fill |= r.mask & (between(flank, 1) | _without_notches(flank, NOTCH * r.per_metre[0]))
            fill |= r.mask & (distance_transform_edt(~trunk) < BESIDE)
    fill |= arms & body
    size = 13 if min(trunk.shape) > 300 else 7
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    together = cv2.morphologyEx((fill | trunk).astype(np.uint8), cv2.MORPH_OPEN, disc)
    return np.asarray((cv2.GaussianBlur(together.astype(np.float32), (0, 0), 4) > 0.5) & arms)


def _uncovered(r: Region) -> F64:
    """(H, W) px from the trunk up to which a turning free arm uncovers what it hides beside the trunk."""
    H, W = r.mask.shape
    yy, xx = np.mgrid[0:H, 0:W] + 0.5
    shoulder, px = r.fit.pixels[0], r.per_metre[0]
    far = np.hypot(xx - shoulder[0], yy - shoulder[1])
    at = (to_segment(xx, yy, *r.fit.pixels[:2])[0] < NEAR_UPPER * px) & (far < ARMPIT * px)
    return np.maximum(BESIDE, np.where(at, LIFT * far * r.sway, 0))


def _without_notches(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The mask closed by a disc; beyond the picture it goes on as at the border."""
    small = cv2.resize(mask.astype(np.uint8), None, fx=1 / COARSE, fy=1 / COARSE, interpolation=cv2.INTER_AREA)
    closed = by_disc(small > 0, cv2.MORPH_CLOSE, radius / COARSE).astype(np.uint8)
    return np.asarray(cv2.resize(closed, mask.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0)
