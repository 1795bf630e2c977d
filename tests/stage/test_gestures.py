"""Gestures shown and measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import run_server
from avatar import asset
from avatar.asset import Avatar
from avatar.build import builder
from avatar.build.arms.tear import Tear, TearGauge
from avatar.limbs import FORESHORTENED, FREE, OUT_OF_VIEW, Limbs
from avatar.rig import Rig
from drivers.gesture import Gesture
from drivers.prosody import Prosody
from models.motion import GROUP, JOINT, Motion
from stage import gestures
from stage.evaluate import arms
from stage.evaluate.protocol import ARMS
from stage.film import count_frames
from stage.life import arms_of
from tests.avatar.build.conftest import nets  # noqa: F401
from tests.avatar.test_limbs import bound
from tests.conftest import shared_file
from tests.drivers.test_prosody import heard, syllables


@pytest.fixture(scope="module")
def open_hand(nets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A woman with an open hand raised, built."""
    path = tmp_path_factory.mktemp("avatar") / "four.avatar"
    asset.save(builder.build(shared_file("photos/hagrid_four_07fdea90.jpg"))[0], path)
    return path


def test_hands_beat_time_and_come_back_to_rest() -> None:
    avatar = bound()
    limbs = Limbs(avatar)
    track = gestures.beat(limbs, 3.0)
    assert len(track) == 90
    rest = limbs.motion(0.0, {})
    for t in (0, -1):
        assert np.abs(track.pose[t] - rest.pose).max() < 0.03
    elbow = np.abs(track.pose[:, JOINT["left_elbow"]] - rest.pose[JOINT["left_elbow"]]).max(1)
    assert elbow.max() > 0.9 * gestures.ELBOW
    assert np.abs(np.diff(track.pose, axis=0)).max() < 0.15  # no jumps
    np.testing.assert_array_equal(track.pose[:, JOINT["right_elbow"]], 0)
    groups = track.weight[0]
    assert groups[GROUP["arms"]] == groups[GROUP["hands"]] == 1 and groups.sum() == 2


def test_a_forearm_towards_the_viewer_moves_little_and_by_elbow_and_wrist_alone() -> None:
    gesture = gestures.of_beat(FORESHORTENED, "right", 1.0)
    assert set(gesture.turns) == {"elbow", "wrist"}
    assert max(np.linalg.norm(turn) for turn in gesture.turns.values()) < np.radians(5)


def test_both_arms_rise_on_the_way_up() -> None:
    """A left arm rises about +z of the picture, a right one about -z."""
    left, right = (gestures.of_beat(FREE, side, 1.0).turns["shoulder"] for side in ("left", "right"))
    assert left[2] > 0 > right[2]


def test_an_avatar_without_arms_says_why(demo_avatar_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "film.mp4"
    assert run_server.main(["render", str(demo_avatar_path), "--gesture", "beat", "-o", str(out)]) == 1
    said = capsys.readouterr().err
    assert "cannot gesture" in said and "left arm is out of view" in said and not out.exists()


def test_static_arms_tear_nowhere(demo_avatar_path: Path) -> None:
    avatar = asset.load(demo_avatar_path)
    result = arms.measure(avatar)
    assert result.rows == [] and result.kind == {"left": OUT_OF_VIEW, "right": OUT_OF_VIEW}
    assert not arms.broken(result), arms.table("demo", result)


def test_film_shows_every_move_beside_the_photo(demo_avatar_path: Path, tmp_path: Path) -> None:
    avatar, file = bound(), tmp_path / "film.mp4"
    names = [name for name, _ in arms._moves(avatar, Rig(avatar))]
    assert "left beat up" in names and names[-2:] == ["torso +6", "torso -6"]
    arms._film(asset.load(demo_avatar_path), file)
    assert count_frames(file) == 2 * arms.MOVE  # its arms are static: the torso alone


def test_a_torn_torso_is_seen(demo_avatar_path: Path) -> None:
    """Every seventh vertex left behind by the trunk: what static limbs once did."""
    avatar = asset.load(demo_avatar_path)
    weight = avatar.mesh.joint_weight.copy()
    index = avatar.mesh.joint_index.copy()
    index[::7], weight[::7] = 0, 0
    weight[::7, 0] = 1
    torn = replace(avatar, mesh=replace(avatar.mesh, joint_index=index, joint_weight=weight))
    assert arms.torso_stretched(torn, Rig(torn)) > 5 * ARMS["limits"]["torso_stretched"]


def test_a_real_arm_beats_without_tearing(open_hand: Path) -> None:
    avatar = asset.load(open_hand)
    assert avatar.arms == {"left": FREE, "right": OUT_OF_VIEW}
    result = arms.measure(avatar)
    assert not arms.broken(result), arms.table("four", result)
    assert len(result.rows) == 14
    limbs, rig = Limbs(avatar), Rig(avatar)
    up, down = (
        rig.vertices(rig.state(limbs.motion(0.0, {"left": gestures.of_beat(FREE, "left", s)}))).copy() for s in (1, -1)
    )
    assert np.linalg.norm(up - down, axis=1).max() > 0.05  # m: the hand really moves


def test_the_command_says_what_it_measured(open_hand: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sheet, figures = tmp_path / "sheet.jpg", tmp_path / "figures.json"
    args = ["evaluate", "arms", str(open_hand), "--sheet", str(sheet), "--json", str(figures)]
    assert run_server.main(args) == 0
    said = capsys.readouterr().out
    assert "left arm: free" in said and "beat up" in said and "worst arm_bare" in said
    assert sheet.stat().st_size > 50_000
    assert json.loads(figures.read_text())["arms"]["left"] == FREE


def test_a_film_of_the_beat(open_hand: Path, tmp_path: Path) -> None:
    from stage import film, offline

    out = tmp_path / "beat.mp4"
    drive = offline.Demonstration(seconds=1.5)
    result = offline.render(open_hand, drive, out, offline.Options(size=(256, 256)))
    assert result.frames == 45
    frames = [f.astype(np.float32) for _, f in film.read_frames(out)]
    assert np.abs(frames[0] - frames[20]).mean() > 0.5


def test_speech_gestures_start_from_how_the_photo_holds_the_arm() -> None:
    """Not from the zeros that the mesh is bound at."""
    avatar = bound()
    rest = arms_of(avatar).rest
    np.testing.assert_allclose(rest[JOINT["left_elbow"]], avatar.limb_pose["left_elbow"], atol=1e-6)
    motion = Gesture(arms_of(avatar), Prosody(0)).onto(Motion(0.3))
    assert motion.weight[GROUP["arms"]] == 1
    at_rest = Rig(avatar).state(motion).pose[JOINT["left_elbow"]]
    assert np.linalg.norm(at_rest) < np.radians(3)  # hands at rest drift a little


def test_what_speech_does_to_a_real_arm_does_not_tear_it(open_hand: Path) -> None:
    avatar = asset.load(open_hand)
    voice = heard(syllables(list(np.arange(0.3, 6, 0.5)), 7.0))
    gesture = Gesture(arms_of(avatar), voice, 3, strength=1.5)
    rig, gauge, limits = Rig(avatar), TearGauge(avatar, avatar.neutral), ARMS["limits"]
    allowed = Tear(*(limits[f"arm_{k}"] for k in ("bare", "stretched", "folded", "parted")))
    turned = 0.0
    for t in np.arange(0, 7, 0.4):
        state = rig.state(gesture.onto(Motion(float(t))))
        turned = max(turned, float(np.linalg.norm(state.pose[JOINT["left_wrist"]])))
        assert gauge(state).within(allowed), t
    gauge.close()
    assert turned > np.radians(2)


def without_gaussians_on_arms(avatar: Avatar) -> Avatar:
    g = avatar.gaussians
    keep = avatar.part[g.face] != 22
    return replace(avatar, gaussians=replace(g, **{k: v[keep] for k, v in vars(g).items()}))


def test_an_arm_without_gaussians_is_bare_where_it_goes(open_hand: Path) -> None:
    result = arms.measure(without_gaussians_on_arms(asset.load(open_hand)))
    assert arms.broken(result)
