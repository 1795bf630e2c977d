"""Teeth: two arches of their own, the upper one fixed to the skull, the lower one to the jaw.

The model's teeth are two smooth bands. Each is replaced by a sheet along a dental arch, in millimetres of arc length
(u, to the person's left) and of height above the incisal edge (v, towards the gum), so that crowns, gaps and gums can
be painted on it. Where the photo shows upper teeth, the sheet is moved until its edge lies on theirs and carries their
pixels; the rest is painted in their colour. Crown sizes: Ash, Nelson, Wheeler's Dental Anatomy (10th ed.), table 1-1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.landmarks import LIPS_INNER, LIPS_OUTER
from avatar.build.observe import Observation
from models.body import BodyModel

MM = 1e-3
EYE_CORNERS, TEMPLATE_EYES = (33, 263), 88.1  # mm between the outer corners on the model's mean face
DROP = 0.0229  # mm back per mm^2 sideways: 7 mm at the canines
ARC, STEP = 36.0, 0.6  # mm of arc length to each side; between columns
ROWS = (0.0, 1.5, 4.0, 8.5, 14.0)  # mm above the incisal edge
LEAN = 0.12  # roots lie behind crowns
SMILE_ARC = 0.006  # mm per mm^2 that the edges rise to the side
# widths (mm) from the midline outwards, heights of the crowns, how much shorter than the central ones at the edge
UPPER_WIDTH, UPPER_CROWN, UPPER_SHORT = (8.5, 6.5, 7.5, 7.0, 7.0, 10.0), (10.0, 8.8, 10.0, 8.5, 8.0, 7.5), (0, 0.9, 0.1)
LOWER_WIDTH, LOWER_CROWN, LOWER_SHORT = (5.2, 5.7, 6.8, 7.0, 7.1, 11.0), (8.8, 9.0, 10.0, 8.5, 8.0, 7.5), (0, 0, 0)
ROUNDED = 0.5  # mm that an edge recedes where two crowns meet
FURROW, GUM_EDGE = 0.45, 0.7  # mm, half widths of the line between crowns and of the gum's border
UPPER_EDGE, LOWER_EDGE = -2.8, -2.0  # mm above the seam of closed lips
EDGE_REACH = (-7.0, 0.5)  # mm about the seam in which an upper edge is believed
OVERJET = 2.0  # mm that the lower teeth stand behind the upper ones
AWAY = (0.0, 45.0, -40.0)  # mm left, up, forward, into the skull: in a photo that shows no teeth nothing lies on them
LEAST_GAP = 0.025  # of the face's width between lips that may show teeth
LEAST_TEETH = 0.1  # of the mouth's inside that must look like teeth
LIGHTER, LESS_RED = 5.0, 5.0  # CIE Lab: teeth against the lips
AROUND = 0.06  # of the face's width, the ring of skin about the lips
IN_SHADOW, LESS_RED_IN_SHADOW = 0.75, 12.0  # of the lips' lightness; CIE Lab
GUM = np.array([0.62, 0.33, 0.31])  # in light that shows white as 1
ENAMEL = np.array([0.93, 0.89, 0.82])


@dataclass(frozen=True)
class Arch:
    part: int  # anatomy.UPPER_TEETH or LOWER_TEETH
    points: F64  # (n, 3) world m, as the photo has them
    uv: F64  # (n, 2) mm
    triangles: NDArray[np.int64]  # (m, 3) into points
    away: F64  # (3,) m at rest that it is out of its place in the photo's state


@dataclass(frozen=True)
class Teeth:
    upper: Arch
    lower: Arch
    shown: NDArray[np.float32] | None  # (H, W) 0..1 where the photo shows teeth; None where it shows none
    closed: bool  # the photo's lips

    @property
    def count(self) -> int:
        """Vertices of both."""
        return len(self.upper.points) + len(self.lower.points)


def teeth(model: BodyModel, o: Observation, rest: F64, posed: F64) -> Teeth | None:
    """rest, posed (V, 3) m: the model's vertices without and with pose, expression and offsets. None for a model
    without teeth."""
    a = anatomy.of(model)
    if not a.of_part(anatomy.UPPER_TEETH).any():
        return None
    L = a.landmark_matrix()
    seam = (L[[13, 14]] @ rest).mean(0)
    first, last = L[list(EYE_CORNERS)] @ rest
    mm = float(np.linalg.norm(first - last)) / TEMPLATE_EYES
    upper = _arch(a, anatomy.UPPER_TEETH, rest, posed, seam, mm)
    lower = _arch(a, anatomy.LOWER_TEETH, rest, posed, seam, mm)
    shown = teeth_pixels(o)
    at = a.of_part(anatomy.UPPER_TEETH)
    skull, _ = _rigid(rest[at], posed[at])  # columns: its left, up and forward in the world
    up = skull[:, 1] * mm
    if shown is None:
        away = np.array(AWAY) * mm
        upper, lower = (replace(r, points=r.points + skull @ away, away=away) for r in (upper, lower))
        return Teeth(upper, lower, None, lip_gap(o) < LEAST_GAP)
    upper = replace(upper, points=upper.points + _to_the_photos_edge(o, upper, up, shown) * up)
    jaw, _ = _rigid(rest[a.of_part(anatomy.LOWER_TEETH)], posed[a.of_part(anatomy.LOWER_TEETH)])
    up = jaw[:, 1] * mm
    lower = replace(lower, points=lower.points + _to_the_photos_edge(o, lower, up, shown) * up)
    return Teeth(upper, lower, shown, False)


def _arch(a: anatomy.Anatomy, part: int, rest: F64, posed: F64, seam: F64, mm: float) -> Arch:
    is_upper = part == anatomy.UPPER_TEETH
    sign = 1.0 if is_upper else -1.0
    front = rest[a.of_part(anatomy.UPPER_TEETH), 2].max() - (0 if is_upper else OVERJET * mm)
    u = np.arange(-ARC, ARC + STEP / 2, STEP)
    x, back = _along_the_arch(u)
    v = np.array(ROWS)
    edge = _edge(np.abs(u), is_upper)
    U, Vv = np.meshgrid(u, v)
    low = (UPPER_EDGE if is_upper else LOWER_EDGE) + sign * (SMILE_ARC * is_upper * x**2)
    y = low + sign * (Vv + edge * np.clip(1 - Vv / 4, 0, 1))
    points = np.stack([np.broadcast_to(x, U.shape) * mm, y * mm, -(back + LEAN * Vv) * mm], -1).reshape(-1, 3)
    points += [seam[0], seam[1], front]
    at = a.of_part(part)
    R, move = _rigid(rest[at], posed[at])
    i = np.arange(U.size).reshape(U.shape)
    q = np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]], -1).reshape(-1, 4)
    order = ([0, 1, 2], [0, 2, 3]) if is_upper else ([0, 2, 1], [0, 3, 2])  # facing forward
    triangles = np.concatenate([q[:, c] for c in order])
    return Arch(part, points @ R.T + move, np.stack([U.ravel(), Vv.ravel()], 1), triangles, np.zeros(3))


def _along_the_arch(u: NDArray) -> tuple[F64, F64]:
    """Arc lengths (mm) -> sideways and back, on a parabola."""
    x = np.linspace(0, ARC, 400)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(DROP * x**2)))])
    at = np.sign(u) * np.interp(np.abs(u), length, x)
    return at, DROP * at**2


def _crowns(is_upper: bool) -> tuple[F64, F64, F64]:
    upper, lower = (UPPER_WIDTH, UPPER_CROWN, UPPER_SHORT), (LOWER_WIDTH, LOWER_CROWN, LOWER_SHORT)
    width, crown, short = upper if is_upper else lower
    return np.cumsum(width), np.array(crown), np.array([*short, *[0.4] * (len(width) - len(short))])


def _within(r: NDArray, is_upper: bool) -> tuple[NDArray[np.int64], F64]:
    """Arc lengths from the midline -> which tooth, and the distance (mm) to its nearer border."""
    ends, _, _ = _crowns(is_upper)
    i = np.searchsorted(ends, r).clip(0, len(ends) - 1)
    starts = np.concatenate([[0.0], ends[:-1]])
    return i, np.minimum(np.abs(r - starts[i]), np.abs(ends[i] - r))


def _edge(r: NDArray, is_upper: bool) -> F64:
    """(n,) mm that the incisal edge recedes."""
    i, border = _within(r, is_upper)
    return _crowns(is_upper)[2][i] + ROUNDED * np.exp(-((border / 0.8) ** 2))


def _rigid(first: F64, second: F64) -> tuple[F64, F64]:
    """R (3, 3), t (3,) of the least-squares rigid motion first -> second (Kabsch 1976)."""
    a, b = first.mean(0), second.mean(0)
    U, _, Vt = np.linalg.svd((first - a).T @ (second - b))
    R = Vt.T @ np.diag([1, 1, np.sign(np.linalg.det(Vt.T @ U.T))]) @ U.T
    return R, b - R @ a


def teeth_pixels(o: Observation) -> NDArray[np.float32] | None:
    """(H, W) 0..1 where the photo shows teeth between the lips: lighter and less red than these. None for too few."""
    if lip_gap(o) < LEAST_GAP:
        return None
    inside, lab, lip = inside_and_lips(o)
    less_red, lighter = lip[1] - lab[..., 1], lab[..., 0] - lip[0]
    like = (lighter > LIGHTER) & (less_red > LESS_RED)  # in the light
    like |= (lab[..., 0] > IN_SHADOW * lip[0]) & (less_red > LESS_RED_IN_SHADOW)
    like &= inside & (lab[..., 1] < _skin_about(o, lab)[1])  # painted lips are redder than the tongue
    if like.sum() < max(LEAST_TEETH * inside.sum(), 6):
        return None
    return cv2.GaussianBlur(like.astype(np.float32), (3, 3), 0)


def _skin_about(o: Observation, lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) CIE Lab of the skin around the lips."""
    lips = polygon(o, LIPS_OUTER)
    size = 2 * max(round(AROUND * o.face_width), 2) + 1
    around = (cv2.dilate(lips, np.ones((size, size))) > 0) & (cv2.dilate(lips, np.ones((3, 3))) == 0)
    return np.asarray(np.median(lab[around], 0), np.float32)


def lip_gap(o: Observation) -> float:
    """Between the lips' middles, of the face's width."""
    return float(np.linalg.norm(o.landmarks[13] - o.landmarks[14])) / o.face_width


def inside_and_lips(o: Observation) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """The gap between the lips (H, W), the photo in CIE Lab (H, W, 3), and the lips' median colour (3,)."""
    inside = polygon(o, LIPS_INNER)
    lips = (polygon(o, LIPS_OUTER) > 0) & (cv2.dilate(inside, np.ones((3, 3))) == 0)
    rgb = np.ascontiguousarray(o.rgb.astype(np.float32) / 255)
    lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)
    return inside > 0, lab, np.median(lab[lips if lips.any() else inside > 0], 0)


def polygon(o: Observation, ring: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W) 1 inside a ring of landmarks."""
    mask = np.zeros(o.alpha.shape, np.uint8)
    cv2.fillPoly(mask, [o.landmarks[list(ring)].round().astype(np.int32)], 1)
    return mask


def _to_the_photos_edge(o: Observation, arch: Arch, up: F64, shown: NDArray) -> float:
    """mm that an arch must rise for its edges to lie on those of the teeth that the photo shows; 0 where it shows none
    of that row. A row is a run of tooth that begins in its own half of the gap between the lips."""
    sign = 1.0 if arch.part == anatomy.UPPER_TEETH else -1.0
    heights = sign * np.arange(-14, 16, 0.25)  # from the edge's side of the gap to the gum's
    first = slice(0, len(arch.uv) // len(ROWS))
    front = arch.points[first][np.abs(arch.uv[first, 0]) < 13]
    at = o.camera.project(front[:, None] + heights[None, :, None] * up)[..., :2] - 0.5
    look = lambda image: map_coordinates(image, [at[..., 1], at[..., 0]], order=1, mode="nearest") > 0.5  # noqa: E731
    seen, inside = look(shown), look(polygon(o, LIPS_INNER).astype(np.float32))
    reach = 1.0 if arch.part == anatomy.UPPER_TEETH else 0.5  # upper teeth hide lower ones, not the other way
    edges = [heights[k] for s, g in zip(seen, inside, strict=True) if (k := _edge_of_row(s, g, reach)) is not None]
    return float(np.median(edges)) if len(edges) >= 3 else 0.0


def _edge_of_row(seen: NDArray[np.bool_], inside: NDArray[np.bool_], reach: float) -> int | None:
    """Where, along a line across the gap `inside` the lips towards a row's gum, the last run of tooth `seen` begins.
    None where that is the other row's: it ends beyond the gap's middle, or begins farther than `reach` of the gap from
    the row's own lip."""
    gap, tooth = np.flatnonzero(inside), np.flatnonzero(seen)
    if not len(gap) or not len(tooth) or tooth[-1] < gap.mean():
        return None
    breaks = np.flatnonzero(np.diff(tooth) > 1)
    edge = int(tooth[breaks[-1] + 1] if len(breaks) else tooth[0])
    return edge if edge >= gap[-1] - reach * len(gap) else None


def light_of(colours: F64) -> F64:
    """(3,) the light that shows ENAMEL as the brighter half of these tooth colours (n, 3)."""
    bright = colours.mean(1)
    return np.median(colours[bright >= np.median(bright)], 0) / ENAMEL


def paint(uv: NDArray, part: int, light: F64) -> F64:
    """(n, 2) mm -> (n, 3) colours: crowns with gaps and gums, darker to the back and towards the roots."""
    is_upper = part == anatomy.UPPER_TEETH
    r, v = np.abs(uv[:, 0]), uv[:, 1]
    i, border = _within(r, is_upper)
    _, crown, _ = _crowns(is_upper)
    at_gum = crown[i] - 1.6 * np.exp(-((border / 1.1) ** 2))  # papillae reach down between the crowns
    t = np.clip(v / at_gum, 0, 1)[:, None]
    enamel = ENAMEL * (1 - np.array([0.02, 0.06, 0.13]) * t**2) * (1 - 0.10 * (1 - t) ** 4)
    enamel = enamel * (1 - (0.26 * np.exp(-((border / FURROW) ** 2)))[:, None] * [0.8, 1.0, 1.1])
    enamel = enamel * (0.93 + 0.07 * np.clip(border / 2.0, 0, 1))[:, None]  # crowns are round
    gum = _smoothstep(v, at_gum - GUM_EDGE, at_gum + GUM_EDGE)[:, None]
    shade = np.exp(-((r / 27.0) ** 2)) * 0.85 + 0.15  # the cheeks' shadow
    shade = shade * (1 - 0.25 * _smoothstep(v, 4, 11)) * (1.0 if is_upper else 0.9)
    return ((1 - gum) * enamel + gum * GUM) * shade[:, None] * light


def at_neutral(arch: Arch, points: F64, seam: F64) -> F64:
    """points (n, 3) m of an arch at rest, moved up or down so that its edge lies where closed lips of this seam (3,)
    hide it: the lower ones always, the upper ones when they are off by more than a person's lips can be."""
    points = points - arch.away
    middle = (np.abs(arch.uv[:, 0]) < 8) & (arch.uv[:, 1] == 0)
    edge = float(points[middle, 1].mean() - seam[1]) / MM
    wanted = LOWER_EDGE if arch.part == anatomy.LOWER_TEETH else float(np.clip(edge, *EDGE_REACH))
    if arch.away.any() and arch.part == anatomy.UPPER_TEETH:
        wanted = UPPER_EDGE
    return points + np.array([0, (wanted - edge) * MM, 0])


def _smoothstep(x: NDArray, low: NDArray | float, high: NDArray | float) -> F64:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
