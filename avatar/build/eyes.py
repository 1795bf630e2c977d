"""Eyes: where the photo's gaze goes, and how the eyeballs look where lids hide them or another gaze uncovers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_IRIS, RIGHT_IRIS
from avatar.render.contract import Camera

MOST_TURN = np.radians([25.0, 35.0])  # pitch, yaw that an eye can have in its socket
INTO_CAMERA = np.radians(9.0)  # a gaze this near to the camera is taken as meant for it
IRIS = {"Left": LEFT_IRIS, "Right": RIGHT_IRIS}
MANY_SAMPLES = 48  # of white; where fewer are seen, as between lids that squint, all of them lie in shadow
LEAST_SAMPLES = 12  # of white; and as many of both sides count where one side's are few
LIT = 0.3  # the share of the white's samples that lashes and lids darken
CORNER = (0.8, 1.35)  # rad aside over which a ball grows dark; what a glance brings out of a corner is not in its shade
SIDES = 0.5  # rad from the front at which the white is all of its own side's


@dataclass(frozen=True)
class Ball:
    """An eyeball as posed."""

    centre: F64  # (3,) world m
    radius: float  # m


def sphere(points: NDArray) -> Ball:
    """Least-squares sphere through (n, 3)."""
    return Ball(*anatomy.sphere(points))


def direction(ball: Ball, iris: NDArray, camera: Camera) -> F64:
    """(3,) unit world vector from the ball's centre to the point of its front that the pixel iris (2,) shows."""
    ray = np.array([(iris[0] - camera.cx) / camera.focal, -(iris[1] - camera.cy) / camera.focal, -1.0])
    ray /= np.linalg.norm(ray)
    along = ray @ ball.centre
    miss = ball.centre - along * ray
    half = ball.radius**2 - miss @ miss
    t = along - np.sqrt(half) if half > 0 else along
    d = t * ray - ball.centre
    return d / np.linalg.norm(d)


def turn_of(direction_in_head: NDArray) -> F64:
    """Unit direction in the head's frame -> (3,) axis-angle of the eye joint, within what an eye can do."""
    x, y, z = direction_in_head
    pitch, yaw = -np.arcsin(np.clip(y, -1, 1)), np.arctan2(x, z)
    return np.array([*np.clip([pitch, yaw], -MOST_TURN, MOST_TURN), 0.0])


def ahead(photo: F64, to_camera: F64) -> F64:
    """The neutral gaze of both eyes (2, 3): the photo's own when it meets the camera, else at the camera as far as is
    natural. Each eye keeps its own angle to the other, squint and error of the iris landmarks included."""
    off = (photo - to_camera).mean(0)
    if np.linalg.norm(off) < INTO_CAMERA:
        return photo
    most = 0.5 * np.r_[MOST_TURN, 0]
    return np.clip(photo - off, -most, most)


def iris_angle(ball: Ball, landmarks: NDArray, side: str, camera: Camera) -> float:
    """Half the iris's angle seen from the ball's centre, rad; landmarks (478, 2) px."""
    p = landmarks[list(IRIS[side])]
    radius = float(np.linalg.norm(p[1:] - p[0], axis=1).mean())
    return float(np.arcsin(np.clip(radius * -ball.centre[2] / camera.focal / ball.radius, 0.2, 0.6)))


@dataclass(frozen=True)
class Paint:
    """An eyeball's colours as a function of the angles (right, up) from its front: sclera by shade, iris by rings."""

    iris: float  # rad
    rings: F64  # (K, 3) median colour from the pupil outwards
    sides: F64  # (2, 3) the white to the person's right and left: light seldom comes from the front
    told: bool  # the white was seen, of this eye or of the other

    @property
    def sclera(self) -> F64:
        """(3,) the white as a whole."""
        return self.sides.mean(0)

    def __call__(self, angles: F64) -> F64:
        """(n, 2) rad -> (n, 3) colours."""
        r = np.linalg.norm(angles, axis=1)
        left = _smoothstep(angles[:, 0], -SIDES, SIDES)[:, None]
        white = (self.sides[0] + left * (self.sides[1] - self.sides[0])) * _shade(angles)
        k = np.clip(r / self.iris * len(self.rings) - 0.5, 0, len(self.rings) - 1)
        i = np.minimum(k.astype(int), len(self.rings) - 2)
        iris = self.rings[i] + (self.rings[i + 1] - self.rings[i]) * (k - i)[:, None]
        iris = iris * (1 - 0.25 * _smoothstep(angles[:, 1], 0.1, 0.5))[:, None]
        edge = _smoothstep(r, 0.92 * self.iris, 1.08 * self.iris)[:, None]
        return (1 - edge) * iris + edge * white


def _shade(angles: F64) -> F64:
    """(n, 3) how much of the white's colour is left below the lids and far round the ball."""
    lids = 1 - 0.38 * _smoothstep(angles[:, 1], 0.12, 0.75) - 0.12 * _smoothstep(-angles[:, 1], 0.3, 0.9)
    corner = _smoothstep(np.abs(angles[:, 0]), *CORNER)[:, None]
    return np.asarray(lids[:, None] * (1 - corner * [0.10, 0.22, 0.24]))


def paint(angles: F64, colours: F64, iris: float, fallback_white: F64) -> Paint:
    """From what the photo shows of an eyeball: angles (n, 2) rad and colours (n, 3) of its samples. fallback_white (3,)
    where it shows too little white."""
    r = np.linalg.norm(angles, axis=1)
    white = (r > 1.12 * iris) & (r < 0.9)
    share = min(float(white.sum()) / LEAST_SAMPLES, 1.0)
    sides = np.stack([fallback_white, fallback_white])
    if white.any():
        sides = sides + share * (_whites(angles[white], colours[white]) - sides)
    count = 6
    rings = np.full((count, 3), np.nan)
    for k in range(count):
        ring = colours[(r >= k / count * iris) & (r < (k + 1) / count * iris) & (angles[:, 1] < 0.6 * iris)]
        if len(ring) >= 3:
            rings[k] = np.median(ring, 0)
    known = np.flatnonzero(np.isfinite(rings[:, 0]))
    if len(known) == 0:
        rings[:] = sides.mean(0) * 0.3
    else:
        for c in range(3):
            rings[:, c] = np.interp(np.arange(count), known, rings[known, c])
    return Paint(iris, rings, sides, share == 1)


def _whites(angles: F64, colours: F64) -> F64:
    """(2, 3) the white's colour on either side, as it is away from lids and corners, from samples (n, 2), (n, 3)."""
    seen = colours / _shade(angles)

    def lit(samples: F64) -> F64:
        light, many = samples.mean(1), min(len(samples) / MANY_SAMPLES, 1)
        return np.asarray(np.median(samples[light >= np.quantile(light, many * LIT)], 0))

    whole, out = lit(seen), []
    for side in (-1, 1):
        own = seen[side * angles[:, 0] > 0]
        share = len(own) / (len(own) + LEAST_SAMPLES)
        colour = whole + share * ((lit(own) if len(own) else whole) - whole)
        out.append(0.6 * colour + 0.4 * colour.mean())  # grey for what is left of skin in it
    return np.array(out).clip(0, 1)


def _smoothstep(x: NDArray, low: float, high: float) -> F64:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
