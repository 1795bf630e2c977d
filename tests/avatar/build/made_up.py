"""A made-up person with one arm raised, and what nets would see of them, exactly: no weights are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import builder, observe
from avatar.build.arms.fit import FINGERS, chain, tips
from avatar.build.observe import Observation
from avatar.build.photo import Photo
from models import matting, tracking
from models.motion import JOINT, Motion, compose_rotations
from models.person import Body, Face, Hand, Person, person_of
from stage.evaluate.people import Human, Posed
from stage.evaluate.truth import Studio, Truth

SIDE = 560  # px
SEED = 5  # of a half-body framing
RAISED = {  # the left forearm up, in the picture's plane
    "left_shoulder": compose_rotations(np.array([-1.57, 0, 0]), np.array([0, 0, -1.2])),
    "left_elbow": np.array([0, -2.3, 0]),
    "left_wrist": np.array([0.2, 0, 0]),
}
TOWARDS = {  # the left forearm at the viewer
    "left_shoulder": np.array([0, 0.1, -1.15]),
    "left_elbow": np.array([0, -1.5, 0]),
    "left_wrist": np.zeros(3),
}
HIDDEN = 0.1  # visibility of what is not seen


@dataclass(frozen=True)
class Scene:
    human: Human
    truth: Truth
    rgb: NDArray[np.uint8]
    person: Person
    arm: NDArray[np.bool_]  # (H, W) the raised arm's pixels, from the elbow on


def scene(arm: Mapping[str, NDArray[np.float64]] = RAISED, seed: int = SEED, aside: float = 0.08) -> Scene:
    """arm: rotations of the left arm's joints; aside: m by which the person stands to the picture's left."""
    human = Human(seed, SIDE)
    for name, turn in arm.items():
        human.pose[JOINT[name]] = turn
    human.translation = human.translation - [aside, 0, 0]
    studio = Studio(human)
    truth = studio.draw(Motion())
    posed = human.posed(Motion())
    rgb = studio.photo(truth)
    return Scene(human, truth, rgb, _person(human, posed, truth, rgb.shape), _arm(human, posed))


def observed(s: Scene) -> Observation:
    """What observe would find, with exact landmarks and matte in the nets' place."""

    class Tracker:
        def __enter__(self) -> Tracker:
            return self

        def __exit__(self, *_: object) -> None: ...

        def track(self, rgb: NDArray) -> list[Person]:
            return [s.person]

    def matte(rgb: NDArray, *_: object) -> matting.Matte:
        alpha = s.truth.alpha
        return matting.Matte(alpha, matting.push_pull(rgb.astype(np.float32) / 255, (alpha > 0.98).astype(np.float32)))

    with mock.patch.object(tracking, "Tracker", Tracker), mock.patch.object(matting, "matte", matte):
        return observe.observe(Photo(s.rgb, 1.0))


def built(o: Observation, gaussians: int) -> Avatar:
    """The avatar of an observation, by the builder itself."""
    with (
        mock.patch.object(observe, "observe", lambda *_, **__: o),
        mock.patch.object(builder, "read", lambda *_: Photo(o.rgb, 1.0)),
    ):
        return builder.build(Path(__file__), builder.Options(gaussians=gaussians, name="made up"))[0]


def _joints(human: Human) -> NDArray[np.float64]:
    """(55, 3) world, of the pose drawn last."""
    T = human._poser.transforms.astype(np.float64)
    return np.einsum("jab,jb->ja", T[:, :, :3], human._mesh.joints) + T[:, :, 3] + human.translation


def _person(human: Human, posed: Posed, truth: Truth, shape: tuple[int, ...]) -> Person:
    joints = _joints(human)
    face = _face(human, posed, truth)
    k, world = np.zeros((33, 4), np.float32), np.zeros((33, 3), np.float32)
    hips = joints[[JOINT["left_hip"], JOINT["right_hip"]]].mean(0)
    names = {11: "left_shoulder", 12: "right_shoulder", 13: "left_elbow", 14: "right_elbow", 15: "left_wrist",
             16: "right_wrist", 23: "left_hip", 24: "right_hip"}  # fmt: skip
    for point, name in names.items():
        at = joints[JOINT[name]]
        k[point] = (*human.camera.project(at)[:2], 0, 1)
        world[point] = (at - hips) * [1, -1, -1]
    k[[14, 16, 18, 20, 22], 3] = HIDDEN  # the right arm hangs: its hand lies below the picture
    k[:11, :2], k[:11, 3] = face.landmarks[:468, :2].mean(0), 1
    hand = hand_of(human, posed, joints, "left")
    k[[17, 19, 21], :2], k[[17, 19, 21], 3] = hand.landmarks[[17, 5, 2], :2], 1
    k[[18, 20, 22], :2] = k[16, :2]
    body = Body(k, world, truth.alpha)
    return person_of(face, body, (hand,), shape)


def _face(human: Human, posed: Posed, truth: Truth) -> Face:
    model = human.model
    assert model.landmarks is not None
    points = model.landmarks.points(posed.vertices[: len(model.v_template)], model.faces)
    scale = human.camera.focal / -points[:, 2].mean()
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:468, :2] = truth.landmarks
    landmarks[:468, 2] = -(points[:, 2] - points[:, 2].mean()) * scale
    for k, eye in enumerate((human.eyes[1], human.eyes[0])):  # the right iris comes first
        front = human.translation + eye + np.array([0, 0, 0.012])
        landmarks[468 + 5 * k : 473 + 5 * k, :2] = human.camera.project(front)[:2]
    return Face(landmarks, np.zeros(52, np.float32), np.eye(4, dtype=np.float32))


def hand_of(human: Human, posed: Posed, joints: NDArray, side: str) -> Hand:
    """Landmarks of a hand as MediaPipe orders them: wrist, then each finger's joints and tip."""
    ends = posed.vertices[tips(human.model, side)]
    rows = [joints[JOINT[f"{side}_wrist"]]]
    for i, finger in enumerate(FINGERS):
        rows += [joints[JOINT[f"{side}_{finger}{k}"]] for k in (1, 2, 3)] + [ends[i]]
    world = np.array(rows)
    p = human.camera.project(world)
    z = -(world[:, 2] - world[0, 2]) * human.camera.focal / p[0, 2]
    return Hand(side, np.column_stack([p[:, :2], z]).astype(np.float32), world.astype(np.float32))


def _arm(human: Human, posed: Posed) -> NDArray[np.bool_]:
    from avatar.render import cpu

    of_body = human.model.weights[:, chain("left")[2:]].sum(1) > 0.5
    n = len(human.model.v_template)
    lower = np.zeros(len(posed.vertices), bool)
    lower[:n] = of_body
    count = n
    for _, ids, _, _ in human._layers:
        lower[count : count + len(ids)] = of_body[ids]
        count += len(ids)
    _, ids = cpu.zbuffer(human.camera.project(posed.vertices), posed.faces, SIDE, SIDE)
    return (ids >= 0) & lower[posed.faces[ids.clip(0)]].all(-1)
