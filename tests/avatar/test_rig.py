"""What drivers say, as the avatar understands it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from avatar.asset import Avatar, State
from avatar.limbs import Axes
from avatar.rig import KNEE, Rig, compose, soft_clamp
from models import motion
from models.motion import FACE_GROUP, GROUPS, HEAD, JAW, JOINT, LEFT_EYE, NECK, A, Motion
from models.skinning import F32, SparseDirections
from tests.avatar import synthetic


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return synthetic.avatar(2_000, "half", 128)


def live(**face: float) -> Motion:
    """A motion with every group but arms and hands at full weight."""
    m = Motion(weight=np.array([g not in ("arms", "hands") for g in GROUPS], np.float32))
    for name, value in face.items():
        m.face[A[name]] = value
    return m


def with_neutral(avatar: Avatar, **expression: float) -> Avatar:
    e = avatar.neutral.expression.copy()
    for name, value in expression.items():
        e[np.flatnonzero(avatar.face_map.expression[A[name]])] = value
    return replace(avatar, neutral=replace(avatar.neutral, expression=e))


def channel(avatar: Avatar, state: State, name: str) -> float:
    return float(state.expression[np.flatnonzero(avatar.face_map.expression[A[name]])][0])


def test_compose_is_the_product_of_rotations() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 3)).astype(np.float32) * rng.uniform(0, 2, (2, 200, 1)).astype(np.float32)
    a[:5], b[3:8] = 0, 0
    R = motion.matrix_from_axis_angle
    np.testing.assert_allclose(R(compose(a, b)), R(b) @ R(a), atol=2e-6)


def test_saying_nothing_gives_the_neutral_in_the_photos_pose(avatar: Avatar) -> None:
    s = Rig(avatar).state(Motion())
    np.testing.assert_allclose(s.pose, avatar.neutral.pose, atol=1e-6)
    np.testing.assert_allclose(s.expression, avatar.neutral.expression, atol=1e-6)
    np.testing.assert_array_equal(s.translation, avatar.photo.translation)
    np.testing.assert_array_equal(s.correction, avatar.neutral.correction)


def test_the_photos_face_is_not_in_the_live_one(avatar: Avatar) -> None:
    assert avatar.photo.correction[0] == 1
    assert avatar.photo.expression.max() > 0.3
    s = Rig(avatar).state(live())
    assert s.correction[0] == 0
    np.testing.assert_allclose(s.expression, 0, atol=1e-6)


def test_a_negative_coefficient_takes_away_what_the_neutral_holds(avatar: Avatar) -> None:
    rig = Rig(with_neutral(avatar, mouthSmileLeft=0.4))
    for c, held in ((0.0, 0.4), (-0.5, 0.2), (-1.0, 0.0), (-3.0, 0.0), (0.5, 0.7)):
        assert channel(avatar, rig.state(live(mouthSmileLeft=c)), "mouthSmileLeft") == pytest.approx(held, abs=1e-5)
        assert channel(avatar, rig.state(live(mouthSmileRight=min(c, 0))), "mouthSmileRight") == pytest.approx(
            0, abs=1e-5
        )


def test_head_turns_from_the_photos_pose(avatar: Avatar) -> None:
    m = live()
    m.pose[HEAD] = (0.05, 0.1, 0)
    s = Rig(avatar).state(m)
    np.testing.assert_allclose(s.pose[HEAD], motion.compose_rotations(avatar.photo.pose[HEAD], m.pose[HEAD]), atol=1e-6)
    np.testing.assert_allclose(s.pose[NECK], avatar.photo.pose[NECK], atol=1e-6)


def test_limits_bend_and_are_never_passed(avatar: Avatar) -> None:
    rig, last = Rig(avatar), 0.0
    for turn in np.linspace(0, 3, 200):
        m = live()
        m.pose[HEAD, 1] = turn
        s = rig.state(m)
        R = motion.matrix_from_axis_angle
        y = motion.axis_angle_from_matrix(R(s.pose[HEAD]) @ R(avatar.photo.pose[HEAD]).T)[1]
        assert last - 1e-6 <= y <= 0.3 + 1e-5
        last = y
    assert last > 0.299
    m.pose[HEAD, 1] = KNEE * 0.3
    assert abs(motion.compose_rotations(avatar.photo.pose[HEAD], m.pose[HEAD])[1] - rig.state(m).pose[HEAD, 1]) < 1e-6


def test_soft_clamp_is_smooth() -> None:
    x = np.linspace(-2, 2, 20001)
    y = soft_clamp(x, np.full_like(x, -0.5), np.full_like(x, 0.3))
    slope, bend = np.gradient(y, x), np.gradient(np.gradient(y, x), x)
    assert (y > -0.5).all()
    assert (y < 0.3 + 1e-12).all()
    assert (slope >= -1e-9).all()
    assert np.abs(np.diff(slope)).max() < 0.005
    assert np.abs(np.diff(bend)).max() < 0.5
    assert soft_clamp(np.array([0.2]), np.array([0.0]), np.array([0.0]))[0] == 0
    assert soft_clamp(np.array([-0.4]), np.array([-0.4]), np.array([1.0]), -0.4)[0] == -0.4  # rest at a limit stays


def test_coefficients_end_at_one_whatever_the_neutral(avatar: Avatar) -> None:
    a = with_neutral(avatar, eyeBlinkLeft=0.4, mouthSmileLeft=0.25)
    rig = Rig(a)
    for name, n in (("eyeBlinkLeft", 0.4), ("mouthSmileLeft", 0.25), ("browInnerUp", 0.0)):
        for c in (0.0, 0.3, 1.0, 1.7):
            value = channel(a, rig.state(live(**{name: c})), name)
            assert value == pytest.approx(n + min(c, 1) * (1 - n), abs=1e-5), (name, c)


def test_a_blink_of_squinting_eyes_closes_once(avatar: Avatar) -> None:
    a = with_neutral(avatar, eyeSquintLeft=0.5, eyeSquintRight=0.5)
    rig = Rig(a)
    closed = rig.state(live(eyeBlinkLeft=1.0, eyeSquintLeft=0.8, eyeLookDownLeft=0.6))
    assert channel(a, closed, "eyeBlinkLeft") == pytest.approx(1)
    assert channel(a, closed, "eyeSquintLeft") == pytest.approx(0, abs=1e-5)
    assert channel(a, closed, "eyeLookDownLeft") == pytest.approx(0, abs=1e-5)
    assert channel(a, closed, "eyeSquintRight") == pytest.approx(0.5, abs=1e-5)
    half = rig.state(live(eyeBlinkLeft=0.5))
    assert channel(a, half, "eyeSquintLeft") == pytest.approx(0.25, abs=1e-5)


def test_a_smile_gives_way_to_rounded_lips(avatar: Avatar) -> None:
    """The photo's smile is in the neutral; "who" needs the corners of the mouth."""
    smiling = with_neutral(avatar, mouthSmileLeft=0.4, mouthSmileRight=0.4)
    rig = Rig(smiling)
    smile = lambda **face: channel(smiling, rig.state(live(**face)), "mouthSmileLeft")  # noqa: E731
    assert smile() == pytest.approx(0.4, abs=1e-3)
    assert smile(mouthPucker=0.75) == pytest.approx(0.1, abs=1e-3)
    assert smile(mouthPucker=1.0, mouthSmileLeft=1.0) == pytest.approx(0, abs=1e-3)


def test_a_smile_gives_way_to_a_frown_on_its_side(avatar: Avatar) -> None:
    smiling = with_neutral(avatar, mouthSmileLeft=0.4, mouthSmileRight=0.4)
    state = Rig(smiling).state(live(mouthFrownLeft=0.75))
    assert channel(smiling, state, "mouthSmileLeft") == pytest.approx(0.1, abs=1e-3)
    assert channel(smiling, state, "mouthSmileRight") == pytest.approx(0.4, abs=1e-3)


def test_jaw_opens_to_the_face_maps_angle_within_limits(avatar: Avatar) -> None:
    free = replace(avatar, limits={})
    full = avatar.face_map.jaw[A["jawOpen"], 0]
    assert full > 0.2
    assert Rig(free).state(live(jawOpen=1)).pose[JAW, 0] == pytest.approx(full, abs=1e-5)
    tight = replace(avatar, limits={"jaw": ((0.0, 0.2), (-0.1, 0.1), (0.0, 0.0))})
    assert 0.15 < Rig(tight).state(live(jawOpen=1)).pose[JAW, 0] <= 0.2
    assert Rig(tight).state(live(jawOpen=0.4)).pose[JAW, 0] == pytest.approx(0.4 * full, abs=1e-5)


def test_a_photo_with_an_open_mouth_falls_shut(avatar: Avatar) -> None:
    pose = avatar.photo.pose.copy()
    pose[JAW, 0] = 0.2
    limits = avatar.limits | {"jaw": ((-0.2, 0.16), (-0.1, 0.1), (0.0, 0.0))}
    a = replace(avatar, photo=replace(avatar.photo, pose=pose), limits=limits)
    assert Rig(a).state(live()).pose[JAW, 0] == pytest.approx(0, abs=1e-6)
    assert 0.3 < Rig(a).state(live(jawOpen=1)).pose[JAW, 0] <= 0.36 + 1e-6


def test_gaze_is_absolute(avatar: Avatar) -> None:
    pose = avatar.photo.pose.copy()
    pose[LEFT_EYE] = (0, 0.3, 0)  # the photo looks aside
    a = replace(avatar, photo=replace(avatar.photo, pose=pose))
    np.testing.assert_allclose(Rig(a).state(live()).pose[LEFT_EYE], 0, atol=1e-6)
    up = Rig(a).state(live(eyeLookUpLeft=1.0)).pose[LEFT_EYE]
    np.testing.assert_allclose(up, a.face_map.eyes[A["eyeLookUpLeft"], :3], atol=1e-6)


def test_weights_scale_what_a_group_says(avatar: Avatar) -> None:
    m = live(mouthSmileLeft=1.0, browInnerUp=1.0)
    m.pose[HEAD, 1] = 0.2
    m.translation[:] = (0.02, 0, 0)
    m.weight[[GROUPS.index("mouth"), GROUPS.index("head"), GROUPS.index("torso")]] = (0.5, 0.5, 0)
    rig = Rig(avatar)
    s = rig.state(m)
    assert channel(avatar, s, "mouthSmileLeft") == pytest.approx(0.5, abs=1e-6)
    assert channel(avatar, s, "browInnerUp") == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(
        s.pose[HEAD], compose(avatar.photo.pose[HEAD], np.array([0, 0.1, 0], np.float32))[0], atol=1e-6
    )
    np.testing.assert_array_equal(s.translation, avatar.photo.translation)
    m.weight[GROUPS.index("torso")] = 1
    np.testing.assert_allclose(rig.state(m).translation - avatar.photo.translation, m.translation, atol=1e-6)


def test_arms_are_absolute_and_stay_put_unless_spoken_of(avatar: Avatar) -> None:
    j = JOINT["left_elbow"]
    m = live()
    m.pose[j] = (0, -0.8, 0)
    np.testing.assert_allclose(Rig(avatar).state(m).pose[j], avatar.neutral.pose[j], atol=1e-6)
    m.weight[GROUPS.index("arms")] = 1
    s = Rig(avatar).state(m)
    np.testing.assert_allclose(s.pose[j], m.pose[j], atol=1e-6)
    np.testing.assert_allclose(s.pose[JOINT["left_shoulder"]], 0, atol=1e-6)


def test_limits_of_an_arm_are_about_the_photos_axes(avatar: Avatar) -> None:
    j = JOINT["left_elbow"]
    pose = avatar.photo.pose.copy()
    pose[JOINT["left_shoulder"]] = (0.2, -0.4, -1.1)
    photo = replace(avatar.photo, pose=pose)
    limited = replace(avatar, photo=photo, neutral=photo, limits={"left_elbow": ((0, 0), (0, 0), (-0.3, 0.3))})
    frame = Axes(limited).of_limits[j]
    m = live()
    m.weight[GROUPS.index("arms")] = 1
    for turn, kept in (((0, 0, 1.0), (0, 0, 0.295)), ((0.5, 0.5, 0), (0, 0, 0)), ((0, 0, -0.1), (0, 0, -0.1))):
        m.pose[j] = compose(pose[j], frame.T @ np.array(turn))[0]
        found = frame @ compose(-pose[j], Rig(limited).state(m).pose[j])[0]
        np.testing.assert_allclose(found, kept, atol=0.01)


def own_expression(avatar: Avatar, values: F32, sha: str | None = None) -> Motion:
    m = live(jawOpen=0.5)
    m.expression, m.face_model = values, avatar.body_model["sha256"] if sha is None else sha
    m.pose[JAW] = (0.1, 0, 0)
    return m


def test_an_expression_of_the_same_face_model_counts(avatar: Avatar) -> None:
    values = np.linspace(0, 0.5, len(avatar.neutral.expression)).astype(np.float32)
    s = Rig(avatar).state(own_expression(avatar, values))
    np.testing.assert_allclose(s.expression, values, atol=1e-6)
    assert s.pose[JAW, 0] == pytest.approx(0.1, abs=1e-5)


def test_an_expression_of_another_face_model_is_left_out_or_refused(avatar: Avatar) -> None:
    values = np.full(len(avatar.neutral.expression), 0.5, np.float32)
    m, rig = own_expression(avatar, values, "f" * 64), Rig(avatar)
    with pytest.warns(UserWarning, match="ffffffffffff"):
        s = rig.state(m)
    np.testing.assert_allclose(s.expression, 0, atol=1e-6)
    assert s.pose[JAW, 0] == pytest.approx(0.5 * avatar.face_map.jaw[A["jawOpen"], 0], abs=1e-3)
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        rig.state(m)
    with pytest.raises(ValueError, match="ARKit"):
        rig.state(m, absolute=True)
    with pytest.warns(UserWarning, match="3 values"):
        Rig(avatar).state(own_expression(avatar, np.zeros(3, np.float32)))


def test_absolute_takes_the_motion_as_it_is(avatar: Avatar) -> None:
    m = Motion(pose=avatar.photo.pose.copy(), translation=avatar.photo.translation.copy())
    m.weight[:] = 1
    m.expression, m.face_model = avatar.photo.expression.copy(), avatar.body_model["sha256"]
    rig = Rig(avatar)
    photo = rig.vertices(avatar.photo).copy()
    np.testing.assert_allclose(rig.vertices(rig.state(m, absolute=True)), photo, atol=1e-6)
    m.pose[HEAD, 1] = 2.0  # far past the limits
    assert rig.state(m, absolute=True).pose[HEAD, 1] == 2
    m.expression = avatar.neutral.expression.copy()
    assert rig.state(m, absolute=True).correction[0] == pytest.approx(0)
    m.expression = 0.5 * (avatar.photo.expression + avatar.neutral.expression)
    assert rig.state(m, absolute=True).correction[0] == pytest.approx(0.5, abs=1e-5)


def test_teeth_behind_closed_lips_come_into_place_as_the_jaw_opens(avatar: Avatar) -> None:
    """They are out of the way in the photo's state, wherever the expression has gone."""
    two = np.ones(2, np.float32)
    a = replace(
        avatar,
        correction=SparseDirections.from_dense(np.repeat(avatar.correction.to_dense(len(avatar.mesh.vertices)), 2, 2)),
        photo=replace(avatar.photo, correction=two),
        neutral=replace(avatar.neutral, correction=0 * two),
    )
    m = own_expression(a, a.photo.expression.copy())
    m.pose = a.photo.pose.copy()
    m.weight[:] = 1
    np.testing.assert_allclose(Rig(a).state(m, absolute=True).correction, [1, 1], atol=1e-5)
    m.expression = a.neutral.expression.copy()
    np.testing.assert_allclose(Rig(a).state(m, absolute=True).correction, [0, 1], atol=1e-5)
    m.pose[JAW, 0] += 0.1
    m.expression = a.photo.expression.copy()
    np.testing.assert_allclose(Rig(a).state(m, absolute=True).correction, [1, 0], atol=1e-5)


def test_absolute_silence_is_the_photo(avatar: Avatar) -> None:
    rig = Rig(avatar)
    np.testing.assert_array_equal(
        rig.vertices(rig.state(Motion(), absolute=True)).copy(), rig.vertices(avatar.photo).copy()
    )
    m = live(jawOpen=1.0)
    s = rig.state(m, absolute=True)
    np.testing.assert_allclose(s.pose[JAW], avatar.face_map.jaw[A["jawOpen"]], atol=1e-6)


def test_the_state_is_new_and_the_avatar_untouched(avatar: Avatar) -> None:
    before = avatar.neutral.pose.copy(), avatar.photo.pose.copy(), avatar.neutral.expression.copy()
    rig, m = Rig(avatar), live(jawOpen=1.0, mouthSmileLeft=1.0)
    m.weight[:] = 1
    m.pose[:] = 0.1
    first = rig.state(m)
    kept = first.pose.copy()
    rig.state(live())
    rig.state(m, absolute=True)
    np.testing.assert_array_equal(first.pose, kept)
    for now, then in zip((avatar.neutral.pose, avatar.photo.pose, avatar.neutral.expression), before):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("name", ["pose", "face", "translation", "weight", "expression"])
def test_motion_that_is_not_finite_is_refused(avatar: Avatar, name: str) -> None:
    m = own_expression(avatar, avatar.neutral.expression.copy())
    getattr(m, name).flat[1] = np.nan
    for absolute in (False, True):
        with pytest.raises(ValueError, match=name):
            Rig(avatar).state(m, absolute)


def test_every_coefficient_moves_something_and_stays_in_its_group(avatar: Avatar) -> None:
    rig = Rig(avatar)
    rest = rig.vertices(rig.state(live())).copy()
    for name, k in A.items():
        m = live(**{name: 1.0})
        moved = np.abs(rig.vertices(rig.state(m)) - rest).max()
        assert moved > 2e-4, name
        m.weight[FACE_GROUP[k]] = 0
        assert np.abs(rig.vertices(rig.state(m)) - rest).max() < 1e-6, name
