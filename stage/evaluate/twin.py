"""The digital twin: one picture of a procedural person builds an avatar, every other pose has an exact truth.

Poses reach the avatar in two ways: "true parameters" are the very motion that posed the person; "fitted parameters"
come from retracking the truth's pictures. The photo itself and the photo warped by exact landmarks stand beside, both
cut out by the exact matte, which nobody has of a photo, and by the matte that the builder sees.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.motion import GROUP, HEAD, NECK, A, Motion
from stage.evaluate import baselines, sheets
from stage.evaluate.metrics import Box, Cutout, Meter, Scores, box_of, cut, mean, number
from stage.evaluate.people import Human
from stage.evaluate.protocol import PICTURE, TWIN, VERSION
from stage.evaluate.reenact import Drawer, build_from
from stage.evaluate.truth import Studio, Truth

U8 = NDArray[np.uint8]
TRUE, FITTED, STATIC, WARPED = "true parameters", "fitted parameters", "static photo", "warped photo"
SEEN = {STATIC: "static, seen matte", WARPED: "warped, seen matte"}
METHODS = (TRUE, FITTED, STATIC, WARPED, *SEEN.values())
NECK_SHARE = 0.4
EYES = (33, 133, 159, 145, 263, 362, 386, 374)  # corners and lids' middles of both eyes
MOUTH = (61, 291, 0, 17)  # corners, upper and lower edge
GROW = {"face": 0.05, "mouth": 0.25, "eyes": 0.15}  # of the longer side, to each side
SETTLE = 2  # times a picture is shown to the retracker, which follows a film, where it sees a jump
FPS = 25
SYLLABLES = 8  # of the utterance
FILM_HEIGHT = 256  # px
QUICK = ("yaw -10", "yaw +25", "jaw 0.4", "eyeBlinkLeft")


@dataclass(frozen=True)
class Pose:
    name: str
    kind: str  # near, far, pitch, face, speech
    motion: Motion
    number: int = 0  # of the utterance's frame; 0 is a jump from the pose before


@dataclass(frozen=True)
class Person:
    """One identity's outcome."""

    seed: int
    framing: str
    rest_psnr: float
    scores: dict[str, dict[str, dict[str, Scores]]]  # pose name -> method -> box ("person", "face", ...) -> scores
    kinds: dict[str, str]  # pose name -> kind
    tiles: list[U8]  # of the sheet, pose by pose
    film: list[U8]  # frames of the utterance: truth, true parameters, fitted parameters


def poses() -> list[Pose]:
    """The protocol's poses, in its order."""
    kind = lambda yaw: "near" if abs(yaw) <= TWIN["near_deg"] else "far"  # noqa: E731
    out = [Pose(f"yaw {y:+d}", kind(y), _motion(yaw=y)) for y in TWIN["yaws_deg"]]
    out += [Pose(f"pitch {p:+d}", "pitch", _motion(pitch=p)) for p in TWIN["pitches_deg"]]
    out += [Pose(f"jaw {j}", "face", _motion(face={"jawOpen": j})) for j in TWIN["jaws"]]
    out += [Pose(names[0], "face", _motion(face=dict.fromkeys(names, 1.0))) for names in TWIN["expressions"]]
    return out + list(utterance(TWIN["utterance"]))


def _motion(yaw: float = 0, pitch: float = 0, face: dict[str, float] | None = None) -> Motion:
    m = Motion()
    m.weight[:] = 1
    m.weight[[GROUP["arms"], GROUP["hands"]]] = 0
    for joint, share in ((NECK, NECK_SHARE), (HEAD, 1 - NECK_SHARE)):
        m.pose[joint] = np.radians([pitch * share, yaw * share, 0])
    for name, value in (face or {}).items():
        m.face[A[name]] = value
    return m


def utterance(frames: int) -> Iterator[Pose]:
    """Opening, rounding and closing with a small nod, as in speech."""
    for k in range(frames):
        t = k / frames * 2 * np.pi
        syllable = SYLLABLES * t
        face = {
            "jawOpen": 0.35 * (1 - np.cos(syllable)) / 2,
            "mouthFunnel": 0.5 * max(0.0, np.sin(syllable / 2)),
            "mouthStretchLeft": 0.4 * max(0.0, -np.sin(syllable / 2)),
            "mouthStretchRight": 0.4 * max(0.0, -np.sin(syllable / 2)),
        }
        yield Pose(f"speech {k}", "speech", _motion(3 * np.sin(t), 2 * np.cos(t), face), k)


def evaluate(
    identities: int,
    quick: bool = False,
    sheet: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
    film: Path | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Mean scores by method, kind of pose and box; writes a contact sheet and a film of the utterances where asked.

    quick: a few poses of each identity. jobs: processes that share the people out. Raises Refused when a picture
    cannot become an avatar.
    """
    if identities < 1:
        raise ValueError(f"--identities is {identities}; at least one person must be made")
    if film and quick:
        raise ValueError("--quick says nothing, so there is no film of it; leave out one of --quick and --film")
    people = list(_everyone(identities, quick, film is not None, progress, jobs))
    if sheet:
        sheets.write(sheet, sheets.grid([row for p in people for row in _rows(p.tiles)]))
    if film:
        with sheets.Film(film, Fraction(FPS), FILM_HEIGHT) as strip:
            for frame in (frame for p in people for frame in p.film):
                strip.add((frame, ""))
    return {
        "protocol": VERSION,
        "identities": [{"seed": p.seed, "framing": p.framing, "rest_psnr": p.rest_psnr} for p in people],
        "poses": len(_chosen(quick)),
        "mean": _means(people),
        "targets": _targets(_means(people)),
        "rows": [
            {"seed": p.seed, "pose": name, "kind": p.kinds[name], "scores": _plain(by_method)}
            for p in people
            for name, by_method in p.scores.items()
        ],
    }


def _everyone(
    identities: int, quick: bool, film: bool, progress: Callable[[float], None], jobs: int
) -> Iterator[Person]:
    if jobs == 1:
        meter = Meter(TWIN["perceptual_net"], TWIN["perceptual_side"])
        for seed in range(identities):
            yield one(seed, _chosen(quick), meter, lambda part, k=seed: progress((k + part) / identities), film)  # type: ignore[misc]
        return
    context = multiprocessing.get_context("spawn")  # nets and kernels do not survive a fork
    with ProcessPoolExecutor(min(jobs, identities), context) as pool:
        waiting = [pool.submit(_alone, seed, quick, film) for seed in range(identities)]
        for k, result in enumerate(waiting):
            yield result.result()
            progress((k + 1) / identities)


def _alone(seed: int, quick: bool, film: bool) -> Person:
    """One person in a process of their own."""
    import torch

    torch.set_num_threads(1)
    return one(seed, _chosen(quick), Meter(TWIN["perceptual_net"], TWIN["perceptual_side"]), film=film)


def _chosen(quick: bool) -> list[Pose]:
    return [p for p in poses() if not quick or p.name in QUICK]


def table(result: dict[str, Any]) -> str:
    """Mean scores as text: PSNR, SSIM and ST-LPIPS in each box."""
    people, near = result["identities"], TWIN["near_deg"]
    lines = [
        f"{len(people)} identities, {result['poses']} poses each, protocol {result['protocol']}; PSNR SSIM ST-LPIPS"
    ]
    boxes = ("person", "face", "mouth", "eyes")
    lines.append(f"{'':20}" + "".join(f"{b:>24}" for b in boxes))
    titles = {"near": f"yaw up to {near} degrees", "far": f"yaw over {near} degrees"}
    for kind, methods in result["mean"].items():
        lines.append(titles.get(kind, kind))
        for name, by_box in methods.items():
            cells = [
                number(by_box[b]["psnr"], 2, 9) + number(by_box[b]["ssim"], 3, 7) + number(by_box[b]["st_lpips"], 3, 8)
                for b in boxes
            ]
            lines.append(f"  {name:18}" + "".join(cells))
    return "\n".join([*lines, *(f"{name}: {text}" for name, text in result["targets"].items())])


def one(
    seed: int,
    chosen: list[Pose],
    meter: Meter,
    progress: Callable[[float], None] = lambda _: None,
    film: bool = False,
) -> Person:
    """Make a person, build their avatar from one picture, compare every pose."""
    stage = _Stage(seed, meter)
    progress(0.1)
    scores, tiles, frames = {}, [], []
    for i, pose in enumerate(chosen):
        sampled = pose.kind != "speech" or pose.number % TWIN["sampled"] == 0
        truth, pictures = stage.draw(pose, baselines_too=sampled)
        scores[pose.name] = {name: _in_boxes(meter, truth, p, sampled) for name, p in pictures.items()}
        if pose.name in QUICK:
            box = box_of(truth.alpha > PICTURE["person"])
            row = [(truth.plain, pose.name), *((pictures[n], n) for n in METHODS if n in pictures)]
            tiles += [sheets.tile(cut(p, box), text, 220) for p, text in row]
        if film and pose.kind == "speech":
            row = [(truth.plain, f"person {seed}"), (pictures[TRUE], TRUE), (pictures[FITTED], FITTED)]
            frames.append(np.hstack([sheets.tile(p, text, FILM_HEIGHT) for p, text in row]))
        progress(0.1 + 0.9 * (i + 1) / len(chosen))
    stage.close()
    kinds = {p.name: p.kind for p in chosen}
    return Person(seed, stage.human.framing, stage.avatar.quality["rest_psnr"], scores, kinds, tiles, frames)


class _Stage:
    """A made-up person, the avatar of their one picture, and what draws the avatar."""

    def __init__(self, seed: int, meter: Meter) -> None:
        from avatar.build.retrack import Retracker

        self.human = Human(seed, TWIN["side"])
        self.studio = Studio(self.human)
        rest = self.studio.draw(_motion())
        photo = self.studio.photo(rest)
        self.avatar = build_from(photo)
        self._exact = _cut_out(photo, rest, self.studio)
        seen = meter.cut_out(photo)
        assert seen is not None  # an avatar was built of it
        self._seen = replace(seen, landmarks=self._exact.landmarks)
        self._free, self._drawer = Drawer(replace(self.avatar, limits={})), Drawer(self.avatar)
        self._retracker, self._moments = Retracker(self.avatar), itertools.count()
        self._retracker.motion(photo, next(self._moments) / FPS)

    def draw(self, pose: Pose, baselines_too: bool) -> tuple[Truth, dict[str, U8]]:
        side = self.human.side
        truth = self.studio.draw(pose.motion)
        seen = self.studio.photo(truth)
        for _ in range(SETTLE if pose.number == 0 else 1):
            fitted = self._retracker.motion(seen, next(self._moments) / FPS)
        pictures = {
            TRUE: self._free.draw(pose.motion, side, side, absolute=False),
            FITTED: self._drawer.draw(fitted, side, side),
        }
        if baselines_too:
            pictures |= _baselines(self._exact, truth)
            pictures |= {SEEN[name]: p for name, p in _baselines(self._seen, truth).items()}
        return truth, pictures

    def close(self) -> None:
        self._retracker.close()


def _baselines(photo: Cutout, truth: Truth) -> dict[str, U8]:
    pulled = baselines.warped(photo, truth.landmarks)
    return {STATIC: photo.picture} | ({} if pulled is None else {WARPED: pulled})


def _cut_out(photo: U8, rest: Truth, studio: Studio) -> Cutout:
    """The photo's person by the exact matte."""
    a = rest.alpha[..., None]
    colour = photo / np.float32(255) - (1 - a) * studio.background
    picture = (colour + (1 - a) * np.float32(PICTURE["background"] / 255)).clip(0, 1)
    foreground = (colour / np.maximum(a, 0.02)).clip(0, 1).astype(np.float32)
    landmarks = rest.landmarks.astype(np.float32)
    return Cutout((picture * 255).round().astype(np.uint8), rest.alpha, foreground, landmarks)


def _in_boxes(meter: Meter, truth: Truth, drawn: U8, perceptual: bool = True) -> dict[str, Scores]:
    """Inside the true mask, and in boxes about the true face, mouth and eyes."""
    mask = truth.alpha > PICTURE["person"]
    plain, points = truth.plain, truth.landmarks
    boxes = {name: _about(points[list(ids)], name, mask) for name, ids in (("mouth", MOUTH), ("eyes", EYES))}
    out = {}
    for name, box in ({"person": box_of(mask), "face": _about(points, "face", mask)} | boxes).items():
        x0, y0, x1, y1 = box
        part = np.s_[y0:y1, x0:x1]
        out[name] = meter.plain(plain[part], drawn[part], mask[part], perceptual)
    return out


def _about(points: NDArray, name: str, mask: NDArray) -> Box:
    """The box of points (n, 2) px, grown, within the picture."""
    low, high = points.min(0), points.max(0)
    more = GROW[name] * (high - low).max()
    x0, y0 = np.floor(low - more).astype(int).clip(0)
    x1, y1 = np.ceil(high + more).astype(int)
    return int(x0), int(y0), int(min(x1, mask.shape[1])), int(min(y1, mask.shape[0]))


def _means(people: list[Person]) -> dict[str, Any]:
    """kind -> method -> box -> figures."""
    found: dict[str, dict[str, dict[str, list[Scores]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for p in people:
        for pose, by_method in p.scores.items():
            for kind in (p.kinds[pose], "all"):
                for method, by_box in by_method.items():
                    for box, s in by_box.items():
                        found[kind][method][box].append(s)
    order = [k for k in ("near", "far", "pitch", "face", "speech", "all") if k in found]
    return {
        kind: {m: {b: asdict(mean(s)) for b, s in boxes.items()} for m, boxes in found[kind].items()} for kind in order
    }


def _targets(means: dict[str, Any]) -> dict[str, str]:
    """How the fitted parameters stand against the protocol's targets, in words."""
    goal, out = TWIN["targets"], {}
    near, far = (means.get(kind, {}).get(FITTED, {}).get("person", {}).get("psnr") for kind in ("near", "far"))
    if near is not None:
        out["near"] = f"{near:.1f} dB, target {goal['near_db']}"
    if near is not None and far is not None:
        out["lost beyond"] = f"{near - far:.1f} dB, target under {goal['far_loss_db']}"
    for box in ("person", "face"):
        found = {m: boxes[box]["st_lpips"] for m, boxes in means["all"].items()}
        shares = [
            found[FITTED] / min(found[m] for m in names if found.get(m) is not None)
            for names in ((STATIC, WARPED), SEEN.values())
        ]
        out[f"ST-LPIPS, {box}"] = (
            f"{shares[0]:.2f} of the best baseline's with the exact matte, {shares[1]:.2f} with the seen one, "
            f"target {goal['st_lpips']}"
        )
    return out


def _rows(tiles: list[U8]) -> list[list[U8]]:
    """A pose a row."""
    n = 1 + len(METHODS)
    return [tiles[i : i + n] for i in range(0, len(tiles), n)]


def _plain(by_method: dict[str, dict[str, Scores]]) -> dict[str, Any]:
    return {m: {b: asdict(s) for b, s in boxes.items()} for m, boxes in by_method.items()}
