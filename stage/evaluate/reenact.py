"""Self-reenactment: frame 0 of a video builds the avatar, its other frames drive it and are compared with it.

Both pictures are compared on white inside the tight box of the true person's matte, as in the paper's Table 1. The
static photo stands beside the avatar in the same table. The perceptual distance uses ST-LPIPS weights and is not LPIPS.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stage.film import read_frames

if TYPE_CHECKING:
    from avatar.asset import Avatar

U8 = NDArray[np.uint8]
TALL = 512  # px, height of the compared box
SHEET_COLUMNS = 6
NEAR_FRONTAL = np.radians(20)  # rad of head turn away from the photo's under which frames are also reported apart


@dataclass(frozen=True)
class Scores:
    """Of one picture against the truth."""

    mse: float
    l1: float
    psnr: float
    ssim: float
    st_lpips: float
    identity: float | None  # cosine; None where a face was not found


def evaluate(video: Path, frames: int, sheet: Path | None, progress: Callable[[float], None]) -> dict[str, Any]:
    """Scores of `frames` frames, evenly spaced, for "avatar" and "static photo"; writes a contact sheet where asked.

    Raises ValueError when the video cannot be read or its first frame cannot become an avatar.
    """
    from avatar.build.retrack import Retracker

    if frames < 1:
        raise ValueError(f"--frames is {frames}; at least one frame must be compared")
    pictures = [rgb for _, rgb in read_frames(video)]
    if len(pictures) < 2:
        raise ValueError(f"{video}: holds {len(pictures)} frame; at least two are needed")
    avatar = _build(pictures[0])
    progress(0.2)
    retracker, drawer, measure = Retracker(avatar), _Drawer(avatar), _Measure()
    wanted = set(np.linspace(1, len(pictures) - 1, min(frames, len(pictures) - 1)).round().astype(int).tolist())
    rows, pairs = [], []
    for k, truth in enumerate(pictures):
        motion = retracker.motion(truth, k / 25)
        progress(0.2 + 0.8 * (k + 1) / len(pictures))
        if k not in wanted or not motion.weight.any():
            continue
        box = measure.box(truth)
        if box is None:
            continue
        drawn, turn = drawer.draw(motion, truth.shape[1], truth.shape[0])
        row: dict[str, Any] = {"frame": k, "turn_deg": float(np.degrees(turn))}
        row["avatar"] = asdict(measure.scores(truth, drawn, box))
        row["static photo"] = asdict(measure.scores(truth, drawer.white(pictures[0]), box))
        rows.append(row)
        pairs.append((measure.on_white(truth, box), measure.cut(drawn, box)))
    if not rows:
        raise ValueError(f"{video}: no frame after the first shows a face that could be tracked")
    if sheet:
        _write_sheet(sheet, pairs)
    return {
        "video": video.name,
        "frames": len(rows),
        "mean": _mean(rows),
        "near_frontal": _mean(_near(rows)),
        "rows": rows,
    }


def table(result: dict[str, Any]) -> str:
    """The mean scores as text."""
    lines = [f"{result['video']}: {result['frames']} frames"]
    head = f"{'':28}{'MSE':>9}{'L1':>9}{'PSNR':>8}{'SSIM':>8}{'ST-LPIPS':>10}{'identity':>10}"
    for title, part in (("all", result["mean"]), ("head turned under 20 degrees", result["near_frontal"])):
        lines += [title, head]
        for name, s in part.items():
            identity = "-" if s["identity"] is None else f"{s['identity']:.3f}"
            figures = f"{s['mse']:9.5f}{s['l1']:9.4f}{s['psnr']:8.2f}{s['ssim']:8.3f}{s['st_lpips']:10.4f}"
            lines.append(f"  {name:26}{figures}{identity:>10}")
    lines.append("  the paper, on other data: MSE .00122, L1 .0084, PSNR 29.31, SSIM .943 (LPIPS .0299)")
    return "\n".join(lines)


def _build(rgb: U8) -> Avatar:
    from avatar.build.builder import build

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "frame0.png"
        cv2.imwrite(str(photo), rgb[..., ::-1])
        return build(photo)[0]


class _Drawer:
    """Draws absolute motions on white, at the video's size."""

    def __init__(self, avatar: Avatar) -> None:
        from avatar.render.cpu import Rasterizer
        from avatar.rig import Rig

        self._avatar, self._rig, self._rasterizer = avatar, Rig(avatar), Rasterizer(avatar, threads=2)

    def draw(self, motion: Any, width: int, height: int) -> tuple[U8, float]:
        """(H, W, 3) and the angle in rad between the head's turn and the photo's."""
        from avatar.render import compose

        camera = self._avatar.camera.window(0, 0, self._avatar.camera.width, width, height)
        state = self._rig.state(motion, absolute=True)
        picture = self._rasterizer.draw(self._rig.vertices(state), camera)
        turn = _head_turn(state.pose, self._avatar.photo.pose)
        return compose.over(picture, np.full((height, width, 3), 255, np.uint8)), turn

    def white(self, photo: U8) -> U8:
        """The static photo is compared as it is: its person on white."""
        return _person_on_white(photo)[0]


def _head_turn(pose: NDArray, photo: NDArray) -> float:
    from models.motion import HEAD, NECK, matrix_from_axis_angle

    chain = [0, 3, 6, 9, NECK, HEAD]
    total = [np.linalg.multi_dot(list(matrix_from_axis_angle(p[chain]))) for p in (pose, photo)]
    return float(np.arccos(np.clip((np.trace(total[0] @ total[1].T) - 1) / 2, -1, 1)))


def _person_on_white(rgb: U8) -> tuple[U8, NDArray[np.float32] | None]:
    from models import matting
    from models.tracking import Tracker

    with Tracker(video=False) as tracker:
        people = tracker.track(rgb)
    if not people:
        return np.full_like(rgb, 255), None
    m = matting.matte(rgb, people[0], others=people[1:])
    picture = m.foreground * m.alpha[..., None] + 1 - m.alpha[..., None]
    return (picture * 255).round().clip(0, 255).astype(np.uint8), m.alpha


class _Measure:
    def __init__(self) -> None:
        from models.perceptual import PerceptualDistance

        self._perceptual = PerceptualDistance("vgg")
        self._white: U8 | None = None

    def box(self, truth: U8) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of the true person; None where nobody is found."""
        self._white, alpha = _person_on_white(truth)
        if alpha is None or not (alpha > 0.5).any():
            return None
        ys, xs = np.nonzero(alpha > 0.5)
        return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1

    def on_white(self, truth: U8, box: tuple[int, int, int, int]) -> U8:
        assert self._white is not None and self._white.shape == truth.shape
        return self.cut(self._white, box)

    @staticmethod
    def cut(picture: U8, box: tuple[int, int, int, int]) -> U8:
        """The box, TALL pixels high at most."""
        x0, y0, x1, y1 = box
        part = picture[y0:y1, x0:x1]
        k = min(1.0, TALL / (y1 - y0))
        return np.asarray(cv2.resize(part, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8)

    def scores(self, truth: U8, drawn: U8, box: tuple[int, int, int, int]) -> Scores:
        from skimage.metrics import structural_similarity

        from models import identity

        a, b = self.on_white(truth, box), self.cut(drawn, box)
        difference = a.astype(np.float64) / 255 - b.astype(np.float64) / 255
        mse = float((difference**2).mean())
        faces = [identity.embed(p) for p in (a, b)]
        same = None if faces[0] is None or faces[1] is None else float(identity.similarity(faces[0], faces[1]))
        return Scores(
            mse,
            float(np.abs(difference).mean()),
            float(-10 * np.log10(max(mse, 1e-10))),
            float(structural_similarity(a, b, channel_axis=2)),
            self._perceptual.distance(a, b),
            same,
        )


def _near(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r for r in rows if np.radians(r["turn_deg"]) < NEAR_FRONTAL]


def _mean(rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    def mean(name: str, key: str) -> float | None:
        values = [r[name][key] for r in rows if r[name][key] is not None]
        return float(np.mean(values)) if values else None

    keys = Scores.__dataclass_fields__
    return {name: {key: mean(name, key) for key in keys} for name in ("avatar", "static photo")} if rows else {}


def _write_sheet(path: Path, pairs: list[tuple[U8, U8]]) -> None:
    picks = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(SHEET_COLUMNS, len(pairs))).round().astype(int)]
    height = 320
    scale = lambda p: cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height))  # noqa: E731
    columns = [np.vstack([scale(a), cv2.resize(b, scale(a).shape[1::-1])]) for a, b in picks]
    if not cv2.imwrite(str(path), np.hstack(columns)[..., ::-1]):
        raise ValueError(f"{path}: the sheet could not be written; use a .jpg or .png name in a folder that exists")
