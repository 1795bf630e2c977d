"""Procedural people for the digital twin: the open human made into somebody the fitter's shape space does not hold.

Bumps that no shape direction has, left and right apart; hair and clothes that are inflated skin with textures of their
own; brows, lips and irises painted over rest coordinates. None of it is shared with the builder.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from avatar.render.contract import Camera
from models import body, expression
from models.motion import HEAD, JAW, JOINT, LEFT_EYE, NECK, RIGHT_EYE, Motion, compose_rotations
from models.skinning import Poser
from models.surface import vertex_normals

F64 = NDArray[np.float64]
SKIN, LEFT_BALL, RIGHT_BALL, TONGUE, UPPER_TEETH, LOWER_TEETH = range(6)  # of BodyModel.face_part
FIRST_LASH = 6  # and all above
HAIR, CLOTH = 30, 31
BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))  # landmarks along the brows
FACE_WIDTH = 0.15  # m
FRAMINGS = {"head": (0.42, 0.47), "bust": (0.26, 0.36), "half": (0.155, 0.25)}  # face width, eyes' height; of the side
ARMS_DOWN = {"left_shoulder": (0, 0, -1.15), "right_shoulder": (0, 0, 1.15)}
SKINS = np.array([[0.87, 0.66, 0.55], [0.76, 0.55, 0.42], [0.60, 0.40, 0.29], [0.40, 0.26, 0.19], [0.92, 0.74, 0.65]])
HAIRS = np.array([[0.10, 0.07, 0.05], [0.25, 0.15, 0.09], [0.55, 0.40, 0.22], [0.45, 0.44, 0.43], [0.35, 0.14, 0.07]])
IRISES = np.array([[0.25, 0.14, 0.08], [0.30, 0.42, 0.55], [0.32, 0.40, 0.25]])
CLOTHES = np.array([[0.20, 0.25, 0.42], [0.55, 0.15, 0.15], [0.30, 0.42, 0.30], [0.75, 0.72, 0.66], [0.12, 0.12, 0.13]])


@dataclass(frozen=True)
class Posed:
    """A person's surface in world metres, and what paints it."""

    vertices: F64  # (V, 3)
    normals: F64  # (V, 3)
    rest: F64  # (V, 3) where paint is looked up
    faces: NDArray[np.int32]  # (F, 3)
    part: NDArray[np.uint8]  # (F,) face_part, HAIR or CLOTH


class Noise:
    """Smooth random values -1..1 over space."""

    def __init__(self, random: np.random.Generator, side: int = 48) -> None:
        self._cube = random.uniform(-1, 1, (side, side, side)).astype(np.float32)

    def __call__(self, points: F64, scale: float, stretch: tuple[float, float, float] = (1, 1, 1)) -> F64:
        """(n,) at points (n, 3) m; scale in m is the distance over which it changes."""
        at = (points / scale / np.array(stretch)).T
        return np.asarray(map_coordinates(self._cube, at, order=1, mode="grid-wrap"), np.float64)


class Human:
    """One made-up person, their camera and lights; the same for the same seed."""

    def __init__(self, seed: int, side: int) -> None:
        r = self.random = np.random.default_rng([seed, 20])
        self.seed, self.side = seed, side
        self.framing = list(FRAMINGS)[seed % len(FRAMINGS)]
        self.model = body.load()
        self.noise = Noise(r)
        self._mesh = self.model.skinned(r.normal(0, 0.7, min(10, self.model.shapedirs.shape[2])), self._offsets())
        self._poser, self._map = Poser(self._mesh), expression.face_map(self.model)
        self.skin, self.hair = SKINS[seed % len(SKINS)], HAIRS[(seed * 2 + 1) % len(HAIRS)]
        self.iris, self.cloth = IRISES[seed % len(IRISES)], CLOTHES[(seed * 3) % len(CLOTHES)]
        self.long_hair = seed % 3 == 1
        self.hair_depth, self.cloth_depth = r.uniform(0.008, 0.02), r.uniform(0.006, 0.012)
        self.eyes = self._mesh.joints[[LEFT_EYE, RIGHT_EYE]].astype(np.float64)
        self._dress()
        self._stand()

    # ---- shape --------------------------------------------------------------------------------------------------

    def _offsets(self) -> NDArray[np.float32]:
        """(V, 3) m that no shape direction holds: local bumps, each on one side; eyeballs, teeth, tongue rigid."""
        r, model = self.random, self.model
        assert model.landmarks is not None
        v = model.v_template.astype(np.float64)
        out = np.zeros_like(v)
        centres = model.landmarks.points(v, model.faces)[r.integers(0, 468, 14)]
        for c in centres:
            width = r.uniform(0.012, 0.03)
            out += np.exp(-((v - c) ** 2).sum(1) / (2 * width**2))[:, None] * r.normal(0, 0.0022, 3)
        head = model.weights[:, HEAD][:, None].astype(np.float64)
        out[:, 0] += head[:, 0] * r.normal(0, 0.02) * (v[:, 1] - v[:, 1].max() + 0.1)  # the whole head leans
        for part in (LEFT_BALL, RIGHT_BALL):
            ball = np.unique(model.faces[model.face_part == part])
            centre = v[ball].mean(0)
            near = np.exp(-((np.linalg.norm(v - centre, axis=1) / 0.022) ** 4))[:, None]
            out = out * (1 - near) + out[ball].mean(0) * near
        for part in (TONGUE, UPPER_TEETH, LOWER_TEETH):
            piece = np.unique(model.faces[model.face_part == part])
            out[piece] = out[piece].mean(0)
        return out.astype(np.float32)

    def _dress(self) -> None:
        """Which skin carries hair and clothes, and how far (m) they stand off."""
        v, eye = self._mesh.vertices.astype(np.float64), self.eyes.mean(0)
        up, back, side = v[:, 1] - eye[1], eye[2] - v[:, 2], np.abs(v[:, 0])
        head = self.model.weights[:, HEAD] + self.model.weights[:, NECK]
        line = 0.062 + 0.006 * self.noise(v, 0.02) - 0.9 * side**2
        scalp = np.maximum.reduce(
            [up - line, np.minimum(back - 0.075, up - 0.012), np.minimum(back - 0.115, up + 0.07)]
        )
        if self.long_hair:
            scalp = np.maximum(scalp, np.minimum(back - 0.072, up + 0.2))
        scalp = np.where(head > 0.5, scalp, -1)
        bulk = (0.012 if self.long_hair else 0) + self.hair_depth * (1 + 0.5 * self.noise(v, 0.015))
        hair = np.clip(scalp / 0.02, 0, 1) * bulk + 0.001
        neckline = -0.175 - 0.5 * np.maximum(0, 0.08 - side) * (v[:, 2] > self._mesh.joints[NECK][2])
        folds = 1 + 0.5 * self.noise(v, 0.03) + 0.3 * self.noise(v, 0.012)
        cloth = np.clip((neckline - up) / 0.01, 0.2, 1) * self.cloth_depth * folds
        self._layers = []
        faces, skin = self.model.faces, self.model.face_part == SKIN
        for code, on, depth in ((HAIR, scalp > 0, hair), (CLOTH, up < neckline, cloth)):
            chosen = faces[skin & on[faces].all(1)]
            ids, corners = np.unique(chosen, return_inverse=True)
            self._layers.append((code, ids, depth[ids], corners.reshape(-1, 3)))

    def _stand(self) -> None:
        """The photo's pose, place and camera."""
        r = self.random
        self.pose = np.zeros((55, 3))
        for name, turn in ARMS_DOWN.items():
            self.pose[JOINT[name]] = turn
        self.pose[HEAD] = np.radians(r.normal(0, 2.5, 3))
        focal = r.choice([0.9, 1.3, 1.8]) * self.side
        self.camera = Camera(focal, self.side / 2, self.side / 2, self.side, self.side)
        wide, high = FRAMINGS[self.framing]
        depth = focal * FACE_WIDTH / (wide * self.side)
        x, y = r.uniform(-0.03, 0.03), 0.5 - high
        at = np.array([x * self.side * depth / focal, y * self.side * depth / focal, -depth])
        self.translation = at - self.eyes.mean(0)

    @property
    def rest_body(self) -> NDArray[np.float32]:
        """(V, 3) the naked body at rest."""
        return self._mesh.vertices

    # ---- pose ---------------------------------------------------------------------------------------------------

    def posed(self, motion: Motion) -> Posed:
        """The live meaning of a motion: head and neck turn from the photo's pose, the face from neutral."""
        pose = self.pose.copy()
        pose[[NECK, HEAD]] = compose_rotations(self.pose[[NECK, HEAD]], motion.pose[[NECK, HEAD]])
        pose[JAW] = motion.face @ self._map.jaw
        pose[[LEFT_EYE, RIGHT_EYE]] = (motion.face @ self._map.eyes).reshape(2, 3)
        coefficients = (motion.face @ self._map.expression).astype(np.float32)
        v = self._poser(pose.astype(np.float32), coefficients, self.translation.astype(np.float32)).astype(np.float64)
        normals = vertex_normals(v, self.model.faces)
        rest = self._mesh.vertices.astype(np.float64)
        kept = self.model.face_part < FIRST_LASH  # lashes are cards that need a texture with holes
        vertices, rests = [v], [rest]
        faces, parts, count = [self.model.faces[kept]], [self.model.face_part[kept]], len(v)
        for code, ids, depth, corners in self._layers:
            vertices.append(v[ids] + normals[ids] * depth[:, None])
            rests.append(rest[ids])
            faces.append((corners + count).astype(np.int32))
            parts.append(np.full(len(corners), code, np.uint8))
            count += len(ids)
        every, triangles = np.concatenate(vertices), np.concatenate(faces).astype(np.int32)
        return Posed(every, vertex_normals(every, triangles), np.concatenate(rests), triangles, np.concatenate(parts))

    def landmarks(self, posed: Posed) -> F64:
        """(468, 2) px, exact."""
        assert self.model.landmarks is not None
        points = self.model.landmarks.points(posed.vertices[: len(self.model.v_template)], self.model.faces)
        return np.asarray(self.camera.project(points)[:, :2])

    # ---- paint --------------------------------------------------------------------------------------------------

    def paint(self, part: NDArray[np.uint8], rest: F64) -> tuple[F64, F64]:
        """Linear albedo (n, 3) and gloss (n,) of surface points by their part and rest place (n, 3)."""
        colour, gloss = np.zeros((len(rest), 3)), np.full(len(rest), 0.04)
        painters = {
            SKIN: self._skin,
            LEFT_BALL: self._ball,
            RIGHT_BALL: self._ball,
            HAIR: self._hair,
            CLOTH: self._cloth,
        }
        for code in np.unique(part):
            on = part == code
            painter = painters.get(int(code))
            if painter is not None:
                colour[on] = painter(rest[on])
            else:
                tone = (0.55, 0.20, 0.18) if code == TONGUE else (0.80, 0.77, 0.68)
                colour[on] = np.array(tone) * self._depth_in_mouth(rest[on])[:, None]
            gloss[on] = 0.5 if code in (LEFT_BALL, RIGHT_BALL) else gloss[on]
        return (colour.clip(0.005, 1)) ** 2.2, gloss

    def _depth_in_mouth(self, rest: F64) -> F64:
        """1 at the lips, falling to .2 three centimetres behind them."""
        front = self._mesh.vertices[self.model.region("upper_lip"), 2].max()
        return np.clip(1 - (front - 0.008 - rest[:, 2]) / 0.035, 0.2, 1)

    def _skin(self, rest: F64) -> F64:
        n, v = self.noise, self._mesh.vertices.astype(np.float64)
        tone = 1 + 0.05 * n(rest, 0.02) + 0.04 * n(rest + 1, 0.004) + 0.03 * n(rest + 2, 0.0015)
        colour = self.skin * tone[:, None]
        assert self.model.landmarks is not None
        p = self.model.landmarks.points(v, self.model.faces)
        for at, size in ((p[205], 0.022), (p[425], 0.022), (p[4], 0.012)):  # cheeks, tip of the nose
            colour += np.exp(-((rest - at) ** 2).sum(1) / (2 * size**2))[:, None] * [0.03, -0.03, -0.03]
        freckles = np.clip(n(rest + 3, 0.003) - 0.75, 0, 1)[:, None] * (self.seed % 2)
        colour *= 1 - freckles * [0.5, 0.8, 1.0]
        lips = _near(rest, self._lips, 0.0014)
        inner = _near(rest, self._inside, 0.0012) * (1 - lips)
        lip = self.skin * [0.85, 0.58, 0.58] * (1 + 0.08 * n(rest, 0.002, (1, 4, 1)))[:, None]
        colour = colour * (1 - 0.9 * lips[:, None]) + 0.9 * lips[:, None] * lip
        dark = np.array([0.35, 0.10, 0.09]) * self._depth_in_mouth(rest)[:, None]
        colour = colour * (1 - inner[:, None]) + inner[:, None] * dark
        for brow in BROWS:
            thick = 0.0038 + 0.001 * n(rest, 0.0012, (1, 3, 1))
            away = _from_line(rest, p[list(brow)] + [0, -0.001, 0], 1.6 * 0.0048)
            line = np.clip(1.6 - away / thick, 0, 1)[:, None]
            colour = colour * (1 - 0.85 * line) + 0.85 * line * self.hair * 0.8
        return colour

    @cached_property
    def _lips(self) -> cKDTree:
        return cKDTree(self._cloud("upper_lip", "lower_lip"))

    @cached_property
    def _inside(self) -> cKDTree:
        return cKDTree(self._cloud("inner_mouth"))

    def _cloud(self, *regions: str) -> F64:
        """(n, 3) points all over regions of the rest surface: corners, edges' and triangles' middles."""
        on = np.zeros(len(self.model.v_template), bool)
        for name in regions:
            on[self.model.region(name)] = True
        t = self._mesh.vertices[self.model.faces[on[self.model.faces].all(1)]].astype(np.float64)
        mixes = np.concatenate([np.eye(3), 0.5 * (1 - np.eye(3)), np.full((1, 3), 1 / 3)])
        return np.einsum("mk,fkd->fmd", mixes, t).reshape(-1, 3)

    def _ball(self, rest: F64) -> F64:
        eye = self.eyes[np.linalg.norm(rest[:1] - self.eyes, axis=1).argmin()]
        d = rest - eye
        radius = np.hypot(d[:, 0], d[:, 1]) + 0.02 * (d[:, 2] < 0)
        white = np.array([0.86, 0.82, 0.80]) * np.clip(1.15 - 25 * radius, 0.6, 1)[:, None]
        iris = self.iris * (1 + 0.35 * self.noise(d, 0.0012))[:, None] * np.clip(1.5 - 80 * radius, 0.5, 1.2)[:, None]
        edge = lambda r: np.clip((r - radius) / 0.0004, 0, 1)[:, None]  # noqa: E731
        out = white * (1 - edge(0.0061)) + iris * edge(0.0061)
        return out * (1 - edge(0.0023)) + 0.03 * edge(0.0023)

    def _hair(self, rest: F64) -> F64:
        strands = self.noise(rest, 0.0025, (1, 8, 3)) * 0.45 + self.noise(rest + 5, 0.012) * 0.25
        return self.hair * (1 + strands)[:, None]

    def _cloth(self, rest: F64) -> F64:
        weave = 1 + 0.08 * self.noise(rest, 0.002) + 0.1 * self.noise(rest, 0.03)
        stripe = (np.sin(rest[:, 1] * 2 * np.pi / 0.035) > 0.75) & (self.seed % 2 == 0)
        return np.where(stripe[:, None], 0.75, self.cloth) * weave[:, None]


def _near(points: F64, cloud: cKDTree, reach: float) -> F64:
    """(n,) 1 at a point cloud, 0 from 1.8 times `reach` m beyond it on."""
    out = np.zeros(len(points))
    some = _about(points, cloud.mins, cloud.maxes, 1.8 * reach)
    away = cloud.query(points[some], distance_upper_bound=1.8 * reach)[0]
    out[some] = np.clip(1.8 - np.minimum(away, 1.8 * reach) / reach, 0, 1)
    return out


def _about(points: F64, low: F64, high: F64, margin: float) -> NDArray[np.int64]:
    """Which points (n, 3) lie in a box grown by `margin` m."""
    return np.flatnonzero(((points > low - margin) & (points < high + margin)).all(1))


def _from_line(points: F64, line: F64, reach: float) -> F64:
    """(n,) distance from a polyline (k, 3); inf where it is surely more than `reach` m."""
    out = np.full(len(points), np.inf)
    some = _about(points, line.min(0), line.max(0), reach)
    near, best = points[some], np.full(len(some), np.inf)
    for a, b in itertools.pairwise(line):
        t = np.clip((near - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(near - a - t[:, None] * (b - a), axis=1))
    out[some] = best
    return out
