"""Self-reenactment: frame 0 of a video builds the avatar, its other frames drive it and are compared with it.

Both pictures are compared on white inside the tight box of the true person's matte, as in the paper's Table 1. Beside
the avatar stand the static photo, the photo warped by its 2D landmarks, and the avatar with sampled instead of solved
colours. Poses are those the tracker finds in the frames; only --refine-pose refines them on the pictures they are
judged by, and the output says so.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stage.evaluate import baselines, sheets
from stage.evaluate.metrics import Meter, Scores, correlation, cut, mean, number, opening
from stage.evaluate.protocol import PICTURE, REENACT, VERSION
from stage.film import count_frames, probe, read_frames

if TYPE_CHECKING:
    from avatar.asset import Avatar
    from models.motion import Motion

U8 = NDArray[np.uint8]
AVATAR, SAMPLED, STATIC, WARPED = "avatar", "sampled colours", "static photo", "warped photo"
SHEET_COLUMNS = 6
PAPER = (  # MSE, L1, PSNR, SSIM, LPIPS of its Table 1
    ("the paper", 0.00122, 0.0084, 29.31, 0.943, 0.0299),
    ("MimicMotion", None, None, 25.84, 0.918, 0.0389),
    ("ExAvatar", None, None, 24.22, 0.924, 0.0409),
    ("ELICIT", None, None, 22.56, 0.921, 0.0660),
)


@dataclass
class _Row:
    """One compared frame."""

    frame: int
    turn: float  # rad of head turn away from the photo's
    scores: dict[str, Scores]
    mouth: dict[str, float | None] = field(default_factory=dict)  # opening, by method and of the "truth"


@dataclass(frozen=True)
class Options:
    frames: int = REENACT["frames"]  # compared, evenly spaced
    refine: bool = False  # test poses, on the pictures they are judged by
    backbone: Path | None = None  # torchvision's file, for LPIPS itself
    sheet: Path | None = None
    film: Path | None = None


def evaluate(video: Path, options: Options, progress: Callable[[float], None]) -> dict[str, Any]:
    """Scores by method; writes a contact sheet and a side-by-side film where asked.

    Raises ValueError when the video cannot be read or its first frame cannot become an avatar, WeightsError when the
    backbone is another file than LPIPS needs.
    """
    if options.frames < 1:
        raise ValueError(f"--frames is {options.frames}; at least one frame must be compared")
    count = count_frames(video)
    if count < 2:
        raise ValueError(f"{video}: holds {count} frame; at least two are needed")
    wanted = set(np.linspace(1, count - 1, min(options.frames, count - 1)).round().astype(int).tolist())
    with sheets.Film(options.film, probe(video)[2], REENACT["film_height"], video) as film:
        run: _Run | None = None
        for k, (seconds, rgb) in enumerate(read_frames(video)):
            if run is None:
                run = _Run(rgb, options, film)
            run.frame(k, seconds, rgb, k in wanted)
            progress(min((k + 1) / count, 1.0))
    assert run is not None
    if not run.rows:
        raise ValueError(f"{video}: no frame after the first shows a face that could be tracked")
    if options.sheet:
        sheets.write(options.sheet, run.sheet())
    near = [r for r in run.rows if np.degrees(r.turn) < REENACT["near_frontal_deg"]]
    return {
        "video": video.name,
        "protocol": VERSION,
        "refined_poses": options.refine,
        "perceptual": run.meter.perceptual_name,
        "frames": len(run.rows),
        "near_frames": len(near),
        "mean": _means(run.rows),
        "near_frontal": _means(near),
        "rows": [_as_json(r) for r in run.rows],
    }


def table(result: dict[str, Any]) -> str:
    """The mean scores as text."""
    poses = "poses REFINED on the pictures they are judged by" if result["refined_poses"] else "poses as tracked"
    lines = [f"{result['video']}: {result['frames']} frames, {poses}, protocol {result['protocol']}"]
    perceptual = result["perceptual"].split()[0]
    columns = ("MSE", "L1", "PSNR", "SSIM", perceptual, "identity", "landmarks", "mouth r")
    head = f"{'':20}" + "".join(f"{c:>10}" for c in columns)
    limit = REENACT["near_frontal_deg"]
    for title, part in (("all", "mean"), (f"head turned under {limit} degrees", "near_frontal")):
        lines += [f"{title}, {result['frames' if part == 'mean' else 'near_frames']} frames", head]
        for name, s in result[part].items():
            keys = (("mse", 5), ("l1", 4), ("psnr", 2), ("ssim", 3), ("st_lpips", 4), ("identity", 3))
            cells = [number(s[key], digits, 10) for key, digits in (*keys, ("landmarks", 4), ("mouth", 3))]
            lines.append(f"  {name:18}" + "".join(cells))
    lines += [f"{perceptual} is {result['perceptual']}. For orientation, on the paper's own data, with LPIPS:"]
    for name, *values in PAPER:
        lines.append(f"  {name:18}" + "".join(number(v, d, 10) for v, d in zip(values, (5, 4, 2, 3, 4))))
    return "\n".join(lines)


class _Run:
    """One video on its way: the avatar of its first frame and the rows so far. Holds no frames but the sheet's."""

    def __init__(self, first: U8, options: Options, film: sheets.Film) -> None:
        from avatar.build.retrack import Retracker

        self.meter, self._options, self._film = Meter(backbone=options.backbone), options, film
        self.rows, self._tiles = [], []  # type: ignore[var-annotated]
        avatar = build_from(first)
        photo = self.meter.cut_out(first)
        if photo is None:
            raise ValueError("nobody was found in the first frame")
        self._photo, self._retracker = photo, Retracker(avatar)
        self._drawers = {AVATAR: Drawer(avatar), SAMPLED: Drawer(baselines.sampled(avatar, photo.foreground))}
        self._still = self.meter.mouth_opening(photo.picture)

    def frame(self, k: int, seconds: float, rgb: U8, compared: bool) -> None:
        if not compared and self._film.path is None:
            self._retracker.follow(rgb, seconds)
            return
        motion = self._retracker.motion(rgb, seconds)
        if compared and motion.weight.any():
            motion = self._compare(k, rgb, motion)
        H, W = rgb.shape[:2]
        drawn = self._drawers[AVATAR].draw(motion, W, H, over=self._drawers[AVATAR].avatar.background)
        self._film.add((rgb, "true"), (drawn, "avatar"), time=seconds)

    def _compare(self, k: int, rgb: U8, motion: Motion) -> Motion:
        """Add a row; the motion that was judged."""
        truth = self.meter.cut_out(rgb)
        if truth is None:
            return motion
        if self._options.refine:
            from stage.evaluate.refine_pose import refined

            motion = refined(self._drawers[AVATAR], motion, truth.picture, truth.box)
        H, W = rgb.shape[:2]
        pictures: dict[str, U8] = {name: d.draw(motion, W, H) for name, d in self._drawers.items()}
        pictures[STATIC] = self._photo.picture
        pulled = None if truth.landmarks is None else baselines.warped(self._photo, truth.landmarks)
        if pulled is not None:
            pictures[WARPED] = pulled
        reference = self.meter.reference(truth.picture, truth.box)
        scores = {n: self.meter.scores(reference, p, landmarks=n != WARPED) for n, p in pictures.items()}
        mouth = {AVATAR: self.meter.mouth_opening(pictures[AVATAR]), STATIC: self._still}
        mouth["truth"] = None if truth.landmarks is None else opening(truth.landmarks)
        self.rows.append(_Row(k, self._drawers[AVATAR].turn, scores, mouth))
        shown = (truth.picture, *(pictures[n] for n in (AVATAR, WARPED) if n in pictures))
        self._tiles.append([sheets.tile(cut(p, truth.box)) for p in shown])
        return motion

    def sheet(self) -> U8:
        """The truth above, the avatar and the warped photo below."""
        picks = np.linspace(0, len(self._tiles) - 1, min(SHEET_COLUMNS, len(self._tiles))).round().astype(int)
        height = max(len(self._tiles[i]) for i in picks)
        return sheets.grid([[self._tiles[i][r] for i in picks if r < len(self._tiles[i])] for r in range(height)])


def build_from(rgb: U8) -> Avatar:
    """The avatar of a picture in memory. Raises Refused."""
    from avatar.build.builder import build

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "frame0.png"
        cv2.imwrite(str(photo), rgb[..., ::-1])
        return build(photo)[0]


class Drawer:
    """Draws motions on the protocol's grey, through the photo's camera at a given size."""

    def __init__(self, avatar: Avatar) -> None:
        from avatar.render.cpu import Rasterizer
        from avatar.rig import Rig

        self.avatar, self.rig, self._rasterizer = avatar, Rig(avatar), Rasterizer(avatar, threads=2)
        self.turn = 0.0  # rad between the head's turn in the last picture and the photo's

    def draw(self, motion: Motion, width: int, height: int, absolute: bool = True, over: U8 | None = None) -> U8:
        """(H, W, 3); over another picture, of any size, than the protocol's grey."""
        from avatar.render import compose

        camera = self.avatar.camera.window(0, 0, self.avatar.camera.width, width, height)
        state = self.rig.state(motion, absolute=absolute)
        picture = self._rasterizer.draw(self.rig.vertices(state), camera)
        self.turn = head_turn(state.pose, self.avatar.photo.pose)
        if over is None:
            return compose.over(picture, np.full((height, width, 3), PICTURE["background"], np.uint8))
        return compose.over(picture, np.asarray(cv2.resize(over, (width, height)), np.uint8))


def head_turn(pose: NDArray, photo: NDArray) -> float:
    """rad between the heads of two poses (55, 3)."""
    from models.motion import HEAD, NECK, matrix_from_axis_angle

    chain = [0, 3, 6, 9, NECK, HEAD]
    total = [np.linalg.multi_dot(list(matrix_from_axis_angle(p[chain]))) for p in (pose, photo)]
    return float(np.arccos(np.clip((np.trace(total[0] @ total[1].T) - 1) / 2, -1, 1)))


def _means(rows: list[_Row]) -> dict[str, dict[str, float | None]]:
    """By method: mean scores, and how well the mouth's opening goes along."""
    by_name: dict[str, list[Scores]] = defaultdict(list)
    for r in rows:
        for name, s in r.scores.items():
            by_name[name].append(s)
    truth = [r.mouth.get("truth") for r in rows]
    along = lambda name: correlation([r.mouth.get(name) for r in rows], truth)  # noqa: E731
    return {name: asdict(mean(scores)) | {"mouth": along(name)} for name, scores in by_name.items()}


def _as_json(row: _Row) -> dict[str, Any]:
    scores = {name: asdict(s) for name, s in row.scores.items()}
    return {"frame": row.frame, "turn_deg": float(np.degrees(row.turn)), "mouth": row.mouth, "scores": scores}
