"""Gates on the avatar of the demo's photo: a smiling half-body portrait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from avatar import asset
from avatar.asset import State
from avatar.build import builder, check, prune, sheet
from avatar.build.landmarks import LIP_PAIRS
from avatar.render.contract import LAYER
from avatar.rig import Rig
from models import body
from models.motion import JAW, JOINT, A, Motion

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Built


def landmarks(avatar, state: State):  # type: ignore[no-untyped-def]
    """(468, 3) m of a posed avatar: its body's vertices come first and keep their numbers."""
    model = body.load()
    assert model.landmarks is not None
    return model.landmarks.points(check.vertices(avatar, state), model.faces)


def live(avatar, **face: float) -> State:  # type: ignore[no-untyped-def]
    m = Motion()
    m.weight[:] = 1
    for name, value in face.items():
        m.face[A[name]] = value
    return Rig(avatar).state(m)


def test_it_redraws_its_photo(built: Built) -> None:
    r = built.report
    assert r.rest_psnr > 33.5 and r.view_psnr > 33.5
    assert r.rest_ssim > 0.95
    assert built.avatar.quality["rest_psnr"] == r.rest_psnr


def test_turning_opens_no_holes(built: Built) -> None:
    assert set(built.report.holes) == {"-20", "-10", "0", "10", "20"}
    assert max(built.report.holes.values()) < 1e-3


def test_the_number_of_gaussians_is_bounded(built: Built) -> None:
    g = built.avatar.gaussians
    assert 60_000 <= g.count <= 105_000
    assert g.count == built.report.gaussians


def test_everything_is_finite_and_bound_to_the_mesh(built: Built) -> None:
    a, g = built.avatar, built.avatar.gaussians
    for x in (g.bary, g.shape, g.colour, g.opacity, a.mesh.vertices, a.mesh.expression.offset, a.correction.offset):
        assert np.isfinite(x).all()
    assert g.face.min() >= 0 and g.face.max() < len(a.mesh.faces)
    assert (g.colour >= 0).all() and (g.colour <= 1).all()
    assert np.allclose(a.mesh.joint_weight.sum(1), 1, atol=1e-4)


def test_every_layer_of_an_open_smile_is_there(built: Built) -> None:
    present = set(built.avatar.gaussians.layer.tolist())
    names = ("skin", "lips", "cavity", "teeth", "tongue", "eyes", "shell", "fringe")
    assert present >= {LAYER[n] for n in names}


def test_neutral_lips_are_sealed_though_the_photo_smiles(built: Built) -> None:
    a = built.avatar
    u, l = np.array(LIP_PAIRS).T
    gap = lambda p: 1e3 * np.linalg.norm(p[u] - p[l], axis=1)  # noqa: E731
    assert gap(landmarks(a, a.photo))[0] > 4  # mm: the smile shows teeth
    assert gap(landmarks(a, a.neutral)).max() < 0.5
    assert built.report.lip_gap_mm < 0.5


def test_a_blink_closes_the_eyes_and_half_a_blink_does_not(built: Built) -> None:
    a = built.avatar
    height = lambda p: 1e3 * np.array([p[159, 1] - p[145, 1], p[386, 1] - p[374, 1]])  # noqa: E731
    opened = height(landmarks(a, live(a)))
    closed = height(landmarks(a, live(a, eyeBlinkLeft=1, eyeBlinkRight=1)))
    half = height(landmarks(a, live(a, eyeBlinkLeft=0.5, eyeBlinkRight=0.5)))
    assert (opened > 5).all()
    assert (np.abs(closed) < 0.6).all()
    assert (half > 1.5).all() and (half < opened).all()


def test_a_closed_mouth_hides_teeth_and_tongue(built: Built) -> None:
    """Painted magenta, none of them shows in the neutral state, and the smile shows the teeth."""
    a = built.avatar
    inside = np.isin(a.gaussians.layer, [LAYER[n] for n in ("teeth", "tongue")])
    colour = np.where(inside[:, None], np.array([1, 0, 1]), np.array([0, 0.5, 0])).astype(np.float32)
    painted = builder.replace(a, gaussians=builder.replace(a.gaussians, colour=colour))
    red = lambda s: check.draw(painted, s)[..., 0]  # noqa: E731
    face = red(a.photo) > 0.5
    assert face.sum() > 60  # px of teeth in the photo
    assert (red(a.neutral) > 0.5).sum() <= 2


def test_an_opening_mouth_moves_the_chin(built: Built) -> None:
    a = built.avatar
    p, q = landmarks(a, live(a)), landmarks(a, live(a, jawOpen=1))
    assert 1e3 * np.linalg.norm(p[152] - q[152]) > 20  # mm: down and back
    assert 1e3 * (q[13, 1] - q[14, 1]) > 12
    assert live(a).pose[JAW, 0] == 0


def test_the_photo_state_puts_landmarks_on_the_photo(built: Built) -> None:
    a = built.avatar
    with builder.observe.tracking.Tracker(hands=False) as tracker:
        seen = tracker.track(builder.read(built.photo).rgb)[0].face
    assert seen is not None
    p = a.camera.project(landmarks(a, a.photo))[:, :2]
    off = np.linalg.norm(p - seen.landmarks[:468, :2] * built.report.scale, axis=1)
    assert off.mean() < 0.006 * built.report.face_width


def test_a_lean_does_not_uncover_what_is_below_the_picture(built: Built) -> None:
    a = built.avatar
    m = Motion()
    m.weight[:] = 1
    m.pose[[JOINT["spine1"], JOINT["spine2"], JOINT["spine3"]], 2] = 0.04
    leaning = check.draw(a, Rig(a).state(m))[-1, :, 3] > 0.5
    upright = check.draw(a, a.neutral)[-1, :, 3] > 0.5
    assert upright.sum() > 300
    assert leaning.sum() > 0.97 * upright.sum()


def test_limits_name_every_joint_that_must_not_move(built: Built) -> None:
    limits = built.avatar.limits
    assert limits["left_elbow"] == ((0, 0),) * 3
    yaw = sum(limits[n][1][1] for n in ("neck", "head"))
    assert np.isclose(yaw, prune.HEAD_LIMIT[1], atol=0.1)


def test_a_turned_photo_may_turn_less_far_on() -> None:
    turned = prune.limits(head_yaw=np.radians(30), jaw=0, jaw_open=0.36)
    assert sum(turned[n][1][1] for n in ("neck", "head")) < np.radians(13)
    assert sum(turned[n][1][0] for n in ("neck", "head")) == pytest.approx(-prune.HEAD_LIMIT[1])


def test_progress_runs_through_the_stages(built: Built) -> None:
    stages = [s for s, _, _ in built.events]
    assert stages == list(builder.STAGES)
    fractions = [f for _, f, _ in built.events]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] < 1
    assert sum(share for share, _ in builder.STAGES.values()) == pytest.approx(1)


def test_the_report_is_json_with_all_figures(built: Built, tmp_path) -> None:  # type: ignore[no-untyped-def]
    built.report.save(tmp_path / "r.json")
    r = json.loads((tmp_path / "r.json").read_text())
    assert {
        "seconds",
        "stages",
        "framing",
        "gaussians",
        "rest_psnr",
        "rest_ssim",
        "warnings",
        "versions",
        "seed",
    } <= set(r)
    assert set(r["stages"]) == set(builder.STAGES)
    assert r["framing"] in asset.FRAMINGS
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_it_can_be_saved_and_opened(built: Built, tmp_path) -> None:  # type: ignore[no-untyped-def]
    asset.save(built.avatar, tmp_path / "a.avatar")
    again = asset.load(tmp_path / "a.avatar")
    assert again.gaussians.count == built.avatar.gaussians.count
    assert (
        np.abs(check.vertices(again, again.neutral) - check.vertices(built.avatar, built.avatar.neutral)).max() < 2e-4
    )


def test_the_sheet_shows_every_move(built: Built) -> None:
    picture = sheet.sheet(built.avatar)
    tiles = 1 + len(list(sheet.moves()))
    assert picture.shape == (-(-tiles // 6) * sheet.TILE, 6 * sheet.TILE, 3)
