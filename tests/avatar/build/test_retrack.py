"""Retracking: the photo's frame gives back the photo, and known motions of the avatar itself are found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data

from avatar.asset import State
from avatar.build import check
from avatar.build.retrack import Retracker
from avatar.rig import Rig
from models import body
from models.motion import JOINT, Motion

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Built

HEAD_TURN, CHEST_LEAN, WAY = 0.12, 0.03, 0.01  # rad, rad, m


def _drawn(built: Built, state: State):  # type: ignore[no-untyped-def]
    a = built.avatar
    drawn = check.draw(a, state)
    picture = drawn[..., :3] * 255 + (1 - drawn[..., 3:]) * a.background
    noise = np.random.default_rng(0).normal(0, 2, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


def _moved(built: Built) -> dict[str, State]:
    photo = built.avatar.photo
    face = photo.pose.copy()
    face[JOINT["jaw"], 0] += 0.15
    expression = photo.expression.copy()
    expression[[n.startswith("mouthFunnel") for n in body.load().expression_names]] = 0.6
    turned = photo.pose.copy()
    turned[JOINT["head"], 1] += HEAD_TURN
    turned[JOINT["spine3"], 2] += CHEST_LEAN
    return {
        "photo": photo,
        "talking": State(face, photo.translation, expression, photo.correction),
        "turned": State(
            turned, photo.translation + np.array([WAY, 0, 0], np.float32), photo.expression, photo.correction
        ),
    }


@pytest.fixture(scope="module")
def motions(built: Built) -> dict[str, Motion]:
    r = Retracker(built.avatar)
    photo = skimage.data.astronaut()
    out = {"real photo": r.motion(photo, 0.0)}
    for k, (name, state) in enumerate(_moved(built).items()):
        out[name] = r.motion(_drawn(built, state), 0.04 * (k + 1))
    out["nobody"] = r.motion(np.zeros_like(photo), 0.4)
    r.close()
    return out


def _off(built: Built, motion: Motion, state: State):  # type: ignore[no-untyped-def]
    """(V,) px between the vertices of the found motion and of the true state, and the vertices' skinning."""
    a, rig = built.avatar, Rig(built.avatar)
    found = rig.vertices(rig.state(motion, absolute=True)).copy()
    pixels = [a.camera.project(v)[:, :2] for v in (found, check.vertices(a, state))]
    inside = ((pixels[1] > 0) & (pixels[1] < [a.camera.width, a.camera.height])).all(1)
    joint = a.mesh.joint_index[np.arange(len(found)), a.mesh.joint_weight.argmax(1)]
    head = np.isin(joint, [JOINT["head"], JOINT["jaw"]])
    return np.linalg.norm(pixels[0] - pixels[1], axis=1), head & inside, ~head & inside


@pytest.mark.parametrize("frame", ["real photo", "photo"])
def test_the_photo_gives_back_the_photo(built: Built, motions: dict[str, Motion], frame: str) -> None:
    off, head, trunk = _off(built, motions[frame], built.avatar.photo)
    assert off[head].mean() < 0.25 and off[trunk].mean() < 0.25  # px
    assert motions[frame].face_model == built.avatar.body_model["sha256"]


def test_a_talking_face_leaves_the_trunk_still(built: Built, motions: dict[str, Motion]) -> None:
    state = _moved(built)["talking"]
    off, head, trunk = _off(built, motions["talking"], state)
    assert off[trunk].mean() < 0.3
    assert off[head].mean() < 0.6
    way = motions["talking"].pose[JOINT["jaw"], 0] - built.avatar.photo.pose[JOINT["jaw"], 0]
    assert way > 0.05


def test_head_and_trunk_are_told_apart(built: Built, motions: dict[str, Motion]) -> None:
    off, head, trunk = _off(built, motions["turned"], _moved(built)["turned"])
    assert off[head].mean() < 0.8 and off[trunk].mean() < 0.8


def test_a_frame_without_a_face_holds_the_last(motions: dict[str, Motion]) -> None:
    assert motions["nobody"].time == pytest.approx(0.4)
    assert np.array_equal(motions["nobody"].pose, motions["turned"].pose)
