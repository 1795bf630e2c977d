"""Leaks: what shows that should not when an avatar moves. Needs the .avatar alone; each figure has a limit.

holes · background bleed · spikes · lips that do not seal · skin inside the open mouth · teeth that move with the lip ·
white that a gaze uncovers · popping and flicker as the head turns · halo at the matte · the redrawn photo.
Limits: protocol.toml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar import asset
from avatar.asset import Avatar, Gaussians, State
from avatar.render import compose, cpu
from avatar.render.contract import DILATION, LAYER, Camera
from avatar.rig import Rig
from models import body
from models.motion import HEAD, JAW, NECK, A, Motion, compose_rotations
from stage.evaluate import eyes, flicker, mouth, sheets
from stage.evaluate.protocol import LEAKS, VERSION

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
NECK_SHARE = 0.4  # of a head turn that the neck makes


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        return bool(self.value <= self.limit)


def evaluate(
    path: Path,
    sheet: Path | None = None,
    film: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Figure]:
    """Every figure of an avatar file; writes a contact sheet and a film where asked.

    Raises AvatarError, BodyModelError.
    """
    from stage.evaluate import leaks_sheet

    stand = Stand(asset.load(path))
    figures = measure(stand, progress)
    if sheet:
        sheets.write(sheet, leaks_sheet.sheet(stand))
    leaks_sheet.film(stand, film)
    return figures


def measure(stand: Stand, progress: Callable[[float], None] = lambda _: None) -> list[Figure]:
    """Every figure of an avatar in memory."""
    parts: list[Callable[[], dict[str, float]]] = [
        lambda: {"holes": holes(stand)},
        lambda: {"bleed": bleed(stand)},
        lambda: {"spikes": float(spikes(stand))},
        lambda: mouth.figures(stand),
        lambda: eyes.figures(stand),
        lambda: {"popping": popping(stand)},
        lambda: {"flicker": flicker.flicker(stand)},
        lambda: {"halo": halo(stand)},
        lambda: {"photo_error_db": -stand.avatar.quality.get("rest_psnr", 0.0)},
    ]
    values: dict[str, float] = {}
    for i, part in enumerate(parts):
        values |= part()
        progress((i + 1) / len(parts))
    return [Figure(name, values[name], float(limit)) for name, limit in LEAKS["limits"].items()]


def table(name: str, figures: list[Figure]) -> str:
    lines = [f"{name}, protocol {VERSION}", f"{'':20}{'measured':>12}{'limit':>10}"]
    lines += [f"  {f.name:18}{f.value:12.4f}{f.limit:10.3f}{'' if f.holds else '  BROKEN'}" for f in figures]
    return "\n".join(lines)


def as_json(name: str, figures: list[Figure]) -> dict[str, Any]:
    rows = {f.name: {"value": f.value, "limit": f.limit, "holds": f.holds} for f in figures}
    return {"avatar": name, "protocol": VERSION, "figures": rows}


class Stand:
    """An avatar before its own camera, cut to the default view."""

    def __init__(self, avatar: Avatar) -> None:
        self.avatar, self.rig = avatar, Rig(avatar)
        x, y, w, h = avatar.view
        k = LEAKS["height"] / h
        self.camera: Camera = avatar.camera.window(x, y, w, round(w * k), LEAKS["height"])
        self.background = compose.crop(avatar.background, x, y, w, self.camera.width, self.camera.height)
        self.model = body.load()
        # Only with the landmarks of the body model that it was built on does a mesh tell where its face is.
        self.known = avatar.body_model.get("sha256") == self.model.sha256
        landmarks = self.landmarks(self.vertices(avatar.photo))
        self.unit = float(np.ptp(landmarks[:, 0])) / LEAKS["face_px"]

    def turned(self, yaw: float) -> State:
        """The neutral with its head turned by yaw degrees, whatever the avatar's limits."""
        pose = self.avatar.neutral.pose.copy()
        for joint, share in ((NECK, NECK_SHARE), (HEAD, 1 - NECK_SHARE)):
            pose[joint] = compose_rotations(pose[joint], np.array([0, np.radians(yaw) * share, 0]))
        return replace(self.avatar.neutral, pose=pose.astype(np.float32))

    def face(self, jaw: bool = True, **coefficients: float) -> State:
        """The live state of ARKit coefficients; jaw False keeps the jaw where the neutral has it."""
        motion = Motion(weight=np.ones(8, np.float32))
        motion.weight[6:] = 0
        for name, value in coefficients.items():
            motion.face[A[name]] = value
        state = self.rig.state(motion)
        if not jaw:
            state.pose[JAW] = self.avatar.neutral.pose[JAW]
        return state

    def vertices(self, state: State) -> F32:
        return self.rig.vertices(state).copy()

    def draw(self, vertices: F32, gaussians: Gaussians | None = None) -> F32:
        """(H, W, 4) RGB times alpha, alpha."""
        a = self.avatar
        return cpu.draw(vertices, a.mesh.faces, a.occluder, gaussians or a.gaussians, self.camera, threads=2)

    def shown(self, state: State) -> U8:
        return compose.over(self.draw(self.vertices(state)), self.background)

    def landmarks(self, vertices: F32) -> NDArray[np.float64]:
        """(468, 3) px, m. Raises ValueError for an avatar of another body model."""
        where = self.model.landmarks
        if where is None or not self.known:
            raise ValueError("the avatar was built on another body model; build it again to measure it")
        return self.camera.project(where.points(vertices, self.model.faces).astype(np.float64))

    def weights(self, vertices: F32) -> cpu.Weights:
        a = self.avatar
        return cpu.weights(vertices, a.mesh.faces, a.occluder, a.gaussians, self.camera)


def interior(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    n = 2 * LEAKS["interior"] + 1
    return cv2.erode(mask.astype(np.uint8), np.ones((n, n)), borderType=cv2.BORDER_REPLICATE) > 0


def holes(stand: Stand) -> float:
    """The worst share, over yaws, of the occluder's interior that next to nothing covers."""
    shares = []
    for yaw in LEAKS["yaws_deg"]:
        w = stand.weights(stand.vertices(stand.turned(yaw)))
        inside = interior(w.hit)
        shares.append(float((w.alpha[inside] < LEAKS["hole_alpha"]).mean()) if inside.any() else 1.0)
    return max(shares)


def bleed(stand: Stand) -> float:
    """Share of the interior that looks like the background rather than like the person, at large yaws.

    Palettes are those of the photo state; what looks like the background there already is taken off.
    """
    rest = stand.draw(stand.vertices(stand.avatar.photo))
    inside = interior(rest[..., 3] > 0.97)
    person = _palette(_lab(rest[inside][:, :3]), LEAKS["palette"])
    behind = _palette(_lab(stand.background[inside | (rest[..., 3] < 0.5)] / np.float32(255)), LEAKS["palette"] // 2)
    trees = cKDTree(person), cKDTree(behind)

    def share(picture: F32) -> float:
        lab = _lab(picture[interior(picture[..., 3] > 0.97)][:, :3])
        to_person, to_background = (tree.query(lab)[0] for tree in trees)
        return float((to_person > LEAKS["certain"] * to_background).mean())

    worst = max(share(stand.draw(stand.vertices(stand.turned(yaw)))) for yaw in LEAKS["bleed_yaws_deg"])
    return max(0.0, worst - share(rest))


def _lab(rgb: NDArray) -> F32:
    """(n, 3) sRGB 0..1 -> CIE Lab."""
    return np.asarray(cv2.cvtColor(rgb[None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0], np.float32)


def _palette(lab: F32, colours: int) -> F32:
    """(k, 3) k-means centres, the same at every call."""
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.2)
    sample = lab[:: max(1, len(lab) // 20_000)]
    _, _, centres = cv2.kmeans(sample, min(colours, len(sample)), None, criteria, 2, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.asarray(centres, np.float32)


def spikes(stand: Stand) -> int:
    """Gaussians that take part in a picture and are far longer than allowed or than their neighbours; worst state."""
    states = [stand.turned(yaw) for yaw in LEAKS["yaws_deg"]] + [stand.face(jawOpen=LEAKS["jaw_open"])]
    return max(len(_spikes(stand, stand.vertices(state))) for state in states)


def _spikes(stand: Stand, vertices: F32) -> NDArray[np.int64]:
    g = stand.avatar.gaussians
    w = stand.weights(vertices)
    heaviest = np.zeros(g.count, np.float32)
    np.maximum.at(heaviest, w.cols, w.values)
    used = np.flatnonzero(heaviest > LEAKS["seen_weight"])
    centre, axis = projected(stand, vertices, used)
    axis = axis / stand.unit
    usual = np.empty_like(axis)
    for kind in np.unique(g.confidence[used]):  # a coarse underlay lies beside the fine lattice on purpose
        of = np.flatnonzero(g.confidence[used] == kind)
        if len(of) > LEAKS["neighbours"]:
            beside = cKDTree(centre[of]).query(centre[of], LEAKS["neighbours"] + 1)[1][:, 1:]
            usual[of] = np.median(axis[of][beside], 1)
        else:
            usual[of] = axis[of]
    long = (axis > LEAKS["spike_px"]) | ((axis > LEAKS["spike_ratio"] * usual) & (axis > LEAKS["spike_px"] / 2))
    return used[long]


def projected(stand: Stand, vertices: F32, index: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (n, 2) px and long half axes (n,) px, 1 sigma, of Gaussians as the renderer's contract defines them."""
    g, c = stand.avatar.gaussians, stand.camera
    corners = c.camera_from_world(vertices.astype(np.float64))[stand.avatar.mesh.faces[g.face[index]]]
    E = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], 2)
    X = corners[:, 0] + np.einsum("nij,nj->ni", E, g.bary[index])
    J = np.zeros((len(X), 2, 3))
    J[:, 0, 0] = J[:, 1, 1] = c.focal / X[:, 2]
    J[:, :, 2] = -c.focal * X[:, :2] / X[:, 2:] ** 2
    root = J @ E @ g.shape[index]
    covariance = root @ root.transpose(0, 2, 1) + DILATION * np.eye(2)
    return c.project(X * [1, -1, -1])[:, :2], np.sqrt(np.linalg.eigvalsh(covariance)[:, 1])


def popping(stand: Stand) -> float:
    """Mean half second difference (of 255) inside the person while the head turns in small steps.

    A smooth turn has almost none: what moves evenly cancels. Whatever jumps in and out of sight stays.
    """
    steps = np.arange(LEAKS["pop_steps"] + 2) * LEAKS["pop_step_deg"]
    white = np.full_like(stand.background, 255)
    frames, masks = [], []
    for yaw in steps:
        d = stand.draw(stand.vertices(stand.turned(float(yaw))))
        frames.append(d[..., :3] * 255 + (1 - d[..., 3:]) * white)
        masks.append(interior(d[..., 3] > 0.5))
    jumps = [
        np.abs(a - 2 * b + c)[m].mean() / 2
        for a, b, c, m in zip(frames, frames[1:], frames[2:], masks[1:], strict=False)
    ]
    return float(np.mean(jumps))


def halo(stand: Stand) -> float:
    """Way of the soft edge's colours from the person's to the background's: 0 clean, 1 all the way."""
    d = stand.draw(stand.vertices(stand.avatar.photo))
    alpha = d[..., 3]
    low, high = LEAKS["fringe_alpha"]
    soft = (alpha > low) & (alpha < high)
    sure = interior(alpha > 0.97)
    away, nearest = cv2.distanceTransformWithLabels(
        (~sure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    smooth = cv2.GaussianBlur(d[..., :3] / np.maximum(alpha, 1e-6)[..., None], (0, 0), 1.5)
    inner = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    inner[nearest[sure]] = smooth[sure]
    soft &= away < 4 * LEAKS["interior"]
    if not soft.any():
        return 0.0
    inside, behind = inner[nearest[soft]], stand.background[soft] / np.float32(255)
    way = behind - inside
    length = (way**2).sum(1)
    told = length > LEAKS["halo_contrast"] ** 2
    if not told.any():
        return 0.0
    colour = d[soft][:, :3] / alpha[soft][:, None]
    share = ((colour - inside) * way).sum(1)[told] / length[told]
    return float(share.clip(-1, 1).mean())  # both ways, so that mere texture cancels


def classes(stand: Stand, vertices: F32) -> F32:
    """(H, W, 3) times alpha: share of each pixel that is mouth inside (cavity, teeth, tongue, card), skin, other."""
    g = stand.avatar.gaussians
    layers = [LAYER[n] for n in ("cavity", "teeth", "tongue", "card")]
    colour = np.zeros((g.count, 3), np.float32)
    colour[:, 2] = 1
    colour[np.isin(g.layer, [LAYER["skin"], LAYER["lips"]])] = (0, 1, 0)
    colour[np.isin(g.layer, layers)] = (1, 0, 0)
    return stand.draw(vertices, replace(g, colour=colour))[..., :3]
