"""Draw a picture of each stage that makes an avatar of the demo's photo -> docs/method/*.webp.

    python docs/make_method_pictures.py

A developer's command, run from the project's folder; the photo is scikit-image's public-domain portrait.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from avatar.asset import Avatar, State  # noqa: E402
from avatar.build import (  # noqa: E402
    anatomy,
    assemble,
    builder,
    check,
    corrections,
    fit,
    lids,
    lips,
    observe,
    refine,
    stretch,
    unroll,
)
from avatar.build import mesh as meshing  # noqa: E402
from avatar.build import parts as classes  # noqa: E402
from avatar.build.arms import plan as arms  # noqa: E402
from avatar.build.mesh import UnionMesh  # noqa: E402
from avatar.build.observe import Observation  # noqa: E402
from avatar.build.photo import read  # noqa: E402
from avatar.build.prune import turned  # noqa: E402
from avatar.render import cpu  # noqa: E402
from avatar.render.contract import Camera  # noqa: E402
from models import body  # noqa: E402

OUT = ROOT / "docs" / "method"
HEIGHT = 360  # px
QUALITY = 78
GREY = 90
PARTS = {anatomy.SHELL: (90, 160, 255), anatomy.CARD: (255, 220, 60)}  # others of the body, by their number
HUES = ((225, 170, 140), (255, 255, 255), (255, 255, 255), (200, 80, 90), (240, 240, 220), (240, 240, 220))
U8 = NDArray[np.uint8]


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "astronaut.png"
        Image.fromarray(data.astronaut()).save(path)
        o = lips.closed_if_they_look_it(observe.observe(read(path)))
    x0, y0, w, h = (round(v) for v in o.view)
    face = _face_window(o)
    save("observe", [corrections.seen(o), o.background, picture_of(o.alpha)])
    model = lips.rounded(body.load())
    fitted = fit.fit(model, o.camera, o.face, o.person.body)
    posed = fit.posed(model, fitted)
    refined = refine.refine(model, fitted, o.landmarks, o.alpha, classes.find(model, o, posed))
    skin = model.faces[model.face_part < anatomy.LOWER_TEETH + 1]
    save("fit", [shaded(o, posed, skin, face), points(o, model, posed, face)])
    save("refine", [shaded(o, refined.vertices, skin, face), points(o, model, refined.vertices, face)])
    plan = arms.plan(model, o, fitted, refined)
    union = meshing.build(model, fitted, refined, plan)
    avatar, _ = assemble.assemble(model, fitted, union, plan)
    avatar, union = assemble.drop_unreachable(avatar, union, model)
    save("surface", [parts(o, union, 0, avatar), parts(o, union, 25, avatar)])
    folds = unroll.unrolled(model, avatar)
    blink = lids.Blink(assemble.blink_stretch(avatar, model), folds.moved[unroll.BLINK])
    seeds = builder._seeded(model, plan, union, folds, blink, builder.Options())
    seeds = stretch.bounded(avatar, o, seeds, folds)
    save("seed", [spots(o, seeds, face)])
    avatar, union, seeds = builder._over_the_eyes(plan.trunk, avatar, union, seeds)
    gaussians = builder._coloured(
        model, plan.photo, plan.trunk, union, seeds, replace(blink, stretch=assemble.blink_stretch(avatar, model))
    )
    avatar = replace(avatar, gaussians=gaussians)
    near = avatar.camera.window(*face[:3], HEIGHT, HEIGHT)
    save("neutral", [drawn(avatar, avatar.photo, near), drawn(avatar, avatar.neutral, near)])
    camera = avatar.camera.window(x0, y0, w, round(HEIGHT * w / h), HEIGHT)
    save("check", [drawn(avatar, state, camera) for state in (avatar.photo, *_turned(avatar))])


def save(name: str, pictures: list[U8]) -> None:
    """Side by side, at one height."""
    row = []
    for p in pictures:
        p = np.repeat(p[..., None], 3, 2) if p.ndim == 2 else p
        width = round(p.shape[1] * HEIGHT / p.shape[0])
        row.append(cv2.resize(p, (width, HEIGHT), interpolation=cv2.INTER_AREA))
    file = OUT / f"{name}.webp"
    Image.fromarray(np.hstack(row)).save(file, quality=QUALITY, method=6)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} kB")


def picture_of(alpha: NDArray) -> U8:
    return np.asarray((alpha * 255).round().clip(0, 255), np.uint8)


def _face_window(o: Observation) -> tuple[float, float, float]:
    """x0, y0, side of a square about the head."""
    p = o.landmarks[:468]
    side = 2.2 * float(np.ptp(p[:, 1]))
    return float(p[:, 0].mean() - side / 2), float(p[:, 1].mean() - 0.58 * side), side


def _window(o: Observation, window: tuple[float, float, float]) -> tuple[Camera, U8]:
    """The camera of a square window, and the photo in it."""
    x0, y0, side = window
    k = HEIGHT / side
    M = np.array([[k, 0, -x0 * k], [0, k, -y0 * k]])
    return o.camera.window(x0, y0, side, HEIGHT, HEIGHT), np.asarray(cv2.warpAffine(o.rgb, M, (HEIGHT, HEIGHT)))


def shaded(o: Observation, vertices: NDArray, faces: NDArray, window: tuple[float, float, float]) -> U8:
    """The mesh in grey over the photo."""
    camera, photo = _window(o, window)
    return over(photo, vertices, faces, np.full((len(faces), 3), 205.0), camera, 0.85)


def over(
    photo: U8, vertices: NDArray, faces: NDArray, colours: NDArray, camera: Camera, share: float
) -> U8:  # colours (F, 3) 0..255, lit from the front
    _, ids = cpu.zbuffer(camera.project(vertices), np.ascontiguousarray(faces), camera.width, camera.height)
    t = vertices[faces]
    n = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    light = 0.35 + 0.65 * np.abs(n[:, 2]) / (np.linalg.norm(n, axis=1) + 1e-15)
    out = photo.astype(np.float64)
    hit = ids >= 0
    out[hit] = (1 - share) * out[hit] + share * (colours * light[:, None])[ids[hit]]
    return np.asarray(out.round().clip(0, 255), np.uint8)


def points(o: Observation, model: body.BodyModel, vertices: NDArray, window: tuple[float, float, float]) -> U8:
    """Where the net sees the landmarks (blue) and where the mesh has them (orange)."""
    camera, photo = _window(o, window)
    out = np.ascontiguousarray(photo // 2)
    assert model.landmarks is not None
    x0, y0, side = window
    seen = (o.landmarks[:468] - [x0, y0]) * (HEIGHT / side)
    have = camera.project(model.landmarks.points(vertices, model.faces))[:, :2]
    for (x, y), (u, v) in zip(seen, have):
        cv2.line(out, (round(x * 16), round(y * 16)), (round(u * 16), round(v * 16)), (255, 140, 0), 1, cv2.LINE_AA, 4)
        cv2.circle(out, (round(x * 16), round(y * 16)), 16, (0, 190, 255), -1, cv2.LINE_AA, 4)
    return out


def parts(o: Observation, union: UnionMesh, yaw: float, avatar: Avatar) -> U8:
    """The union mesh by part, the head turned by yaw degrees."""
    vertices = check.vertices(avatar, _at_yaw(avatar, yaw) if yaw else avatar.photo).astype(np.float64)
    kinds = union.part
    colours = np.array([PARTS.get(int(k), HUES[k] if k < len(HUES) else (150, 110, 70)) for k in kinds], np.float64)
    x0, y0, side = _face_window(o)
    window = (x0 - 0.05 * side, y0 - 0.1 * side, 1.1 * side)
    camera, photo = _window(o, window)
    return over(np.full_like(photo, GREY), vertices, union.skin.faces, colours, camera, 1.0)


def spots(o: Observation, seeds, window: tuple[float, float, float]) -> U8:  # type: ignore[no-untyped-def]
    """Gaussians that the photo shows, as dots: close at eyes, lips and edges, wide elsewhere."""
    _, photo = _window(o, window)
    out = np.ascontiguousarray(cv2.resize(photo, None, fx=2, fy=2) // 3)
    x0, y0, side = window
    for x, y in (seeds.pixel[seeds.seen] - [x0, y0]) * (2 * HEIGHT / side):
        if 0 <= x < out.shape[1] and 0 <= y < out.shape[0]:
            out[int(y), int(x)] = (255, 210, 120)
    return out


def drawn(avatar: Avatar, state: State, camera: Camera) -> U8:
    picture = check.draw(avatar, state, camera)
    return np.asarray((picture[..., :3] * 255 + (1 - picture[..., 3:]) * GREY).round().clip(0, 255), np.uint8)


def _turned(avatar: Avatar) -> list[State]:
    return [_at_yaw(avatar, yaw) for yaw in (-20, 20)]


def _at_yaw(avatar: Avatar, yaw: float) -> State:
    allowed = {n: tuple((-np.pi, np.pi) for _ in range(3)) for n in ("neck", "head")}
    pose = turned(avatar.neutral.pose, allowed, 0, np.radians(yaw) / (2 * np.pi))
    return replace(avatar.neutral, pose=pose.astype(np.float32))


if __name__ == "__main__":
    main()
