"""Arms that move: fitted, told apart, cut out, completed, and kept within what does not tear."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from avatar.asset import Avatar
from avatar.build import anatomy, fit, observe, refine
from avatar.build import mesh as meshing
from avatar.build.arms import classify, gaps, limits, owner
from avatar.build.arms import plan as planning
from avatar.build.arms.fit import _Arm
from avatar.build.arms.plan import Plan
from avatar.build.arms.tear import TearGauge
from avatar.build.observe import Observation
from avatar.limbs import FORESHORTENED, FREE, OUT_OF_VIEW, PAIR, Gesture, Limbs
from avatar.render import cpu
from avatar.rig import Rig
from models import body
from models.motion import JOINT
from models.person import Body, Hand
from tests.avatar.build.made_up import SIDE, TOWARDS, Scene, built, observed, scene
from tests.conftest import shared_file

MODEL = body.load()


@pytest.fixture(scope="module")
def made_up() -> Scene:
    return scene()


@pytest.fixture(scope="module")
def observation(made_up: Scene) -> Observation:
    return observed(made_up)


@pytest.fixture(scope="module")
def fitted(observation: Observation) -> fit.Fit:
    return fit.fit(MODEL, observation.camera, observation.face, observation.person.body)


@pytest.fixture(scope="module")
def plan(observation: Observation, fitted: fit.Fit) -> Plan:
    refined = refine.refine(MODEL, fitted, observation.landmarks, observation.alpha)
    return planning.plan(MODEL, observation, fitted, refined)


@pytest.fixture(scope="module")
def avatar(observation: Observation) -> Avatar:
    return built(observation, 45_000)


def arm_of(plan: Plan, side: str) -> classify.Arm:
    return next(a for a in plan.arms if a.side == side)


# ---- fit ------------------------------------------------------------------------------------------------------------


def test_derivatives_are_those_of_the_residuals(made_up: Scene, fitted: fit.Fit) -> None:
    hand = made_up.person.hand("left")
    assert hand is not None and made_up.person.body is not None
    arm = _Arm(MODEL, fitted, "left", made_up.person.body, hand)
    x = arm.mean + np.random.default_rng(0).normal(0, 0.1, len(arm.mean))
    r, J = arm(x)
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = 1e-6
        np.testing.assert_allclose(J[:, k], (arm(x + step)[0] - r) / 1e-6, atol=2e-4 * np.abs(J[:, k]).max() + 1e-5)


def test_a_raised_arm_is_found_where_it_is(made_up: Scene, plan: Plan) -> None:
    arm = arm_of(plan, "left")
    assert arm.kind == FREE and arm.fit is not None
    assert made_up.person.body is not None
    width = np.linalg.norm(made_up.person.body.keypoints[11, :2] - made_up.person.body.keypoints[12, :2])
    assert arm.fit.hand_error.mean() < 0.02 * width
    assert np.linalg.norm(arm.fit.pixels[1] - made_up.person.body.keypoints[13, :2]) < 0.02 * width
    assert 1.7 < -arm.fit.pose[JOINT["left_elbow"], 1] < 2.6  # bent by 2.3


# ---- classes --------------------------------------------------------------------------------------------------------


def moved(o: Observation, **points: tuple[float, ...]) -> Observation:
    """The observation with body keypoints (by number, as k13=...) elsewhere."""
    assert o.person.body is not None
    k = o.person.body.keypoints.copy()
    for name, value in points.items():
        k[int(name[1:]), : len(value)] = value
    return replace(o, person=replace(o.person, body=replace(o.person.body, keypoints=k)))


def kinds(o: Observation, fitted: fit.Fit) -> tuple[str, str]:
    left, right = classify.classify(MODEL, o, fitted)
    return left.kind, right.kind


def test_a_hidden_arm_is_out_of_view(observation: Observation, fitted: fit.Fit) -> None:
    assert kinds(observation, fitted) == (FREE, OUT_OF_VIEW)
    x, y = observation.person.body.keypoints[13, :2]  # type: ignore[union-attr]
    assert kinds(moved(observation, k13=(x, y, 0, 0.1)), fitted)[0] == OUT_OF_VIEW
    assert kinds(moved(observation, k15=(SIDE - 1.0, 300.0)), fitted)[0] == OUT_OF_VIEW
    no_hand = replace(observation, person=replace(observation.person, hands=()))
    assert kinds(no_hand, fitted)[0] == OUT_OF_VIEW
    nobody = replace(observation, person=replace(observation.person, body=None))
    assert kinds(nobody, fitted) == (OUT_OF_VIEW, OUT_OF_VIEW)


def test_hands_that_touch_are_a_pair(observation: Observation, fitted: fit.Fit) -> None:
    x, y = observation.person.body.keypoints[15, :2]  # type: ignore[union-attr]
    assert kinds(moved(observation, k14=(x - 60, y + 60, 0, 1), k16=(x - 5, y + 5, 0, 1)), fitted) == (PAIR, PAIR)


def test_a_hand_at_the_face_is_not_free(observation: Observation, fitted: fit.Fit) -> None:
    hand = observation.person.hands[0]
    shift = observation.landmarks[:468].mean(0) - hand.landmarks[:, :2].mean(0)
    at_face = replace(hand, landmarks=hand.landmarks + np.append(shift, 0).astype(np.float32))
    o = replace(observation, person=replace(observation.person, hands=(at_face,)))
    assert kinds(o, fitted)[0] == PAIR


def test_a_hand_that_fits_no_arm_stays(observation: Observation, fitted: fit.Fit) -> None:
    hand = observation.person.hands[0]
    rng = np.random.default_rng(1)
    noise = np.pad(rng.normal(0, 25, (21, 2)), ((0, 0), (0, 1))).astype(np.float32)
    o = replace(
        observation, person=replace(observation.person, hands=(replace(hand, landmarks=hand.landmarks + noise),))
    )
    arm = classify.classify(MODEL, o, fitted)[0]
    assert (arm.kind == OUT_OF_VIEW and "no arm fits" in arm.why) or "matte" in arm.why or "border" in arm.why


def test_a_forearm_towards_the_viewer_is_foreshortened(
    made_up: Scene, observation: Observation, fitted: fit.Fit
) -> None:
    """The same hand, but at the end of a forearm that shows a third of its length."""
    assert made_up.person.body is not None
    k, world = made_up.person.body.keypoints.copy(), made_up.person.body.world.copy()
    hand = observation.person.hands[0]
    wrist = k[13, :2] + (k[15, :2] - k[13, :2]) * 0.3
    shift = np.append(wrist - k[15, :2], 0).astype(np.float32)
    k[15, :2] = wrist
    world[15] = world[13] + [0.02, -0.06, -0.23]
    person = replace(observation.person, body=Body(k, world), hands=(Hand("left", hand.landmarks + shift, hand.world),))
    assert kinds(replace(observation, person=person), fitted)[0] == FORESHORTENED


# ---- cutting out ----------------------------------------------------------------------------------------------------


def test_the_arms_pixels_are_the_arms(made_up: Scene, plan: Plan) -> None:
    region = plan.regions[0]
    lower = region.mask & (region.sway > 0.9)
    assert (made_up.arm & lower).sum() > 0.93 * made_up.arm.sum()
    x, y = made_up.person.body.keypoints[12, :2].astype(int)  # type: ignore[union-attr]
    assert not region.mask[y - 5 : y + 5, x - 5 : x + 5].any()  # the other shoulder
    face = plan.photo.landmarks[:468].astype(int)
    assert not region.mask[face[:, 1], face[:, 0]].any()


def test_the_trunk_is_complete_without_its_arm(made_up: Scene, plan: Plan) -> None:
    trunk, region = plan.trunk, plan.regions[0]
    outside = region.mask & (region.sway > 0.95)
    x = np.nonzero(outside)[1]
    tip = outside.copy()
    tip[:, : int(np.quantile(x, 0.5))] = False  # far from the body there is none of it
    assert trunk.alpha[tip].mean() < 0.1
    untouched = ~cv2.dilate(region.mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    np.testing.assert_array_equal(trunk.alpha[untouched], plan.photo.alpha[untouched])


def test_background_taken_for_hand_is_given_back(observation: Observation, fitted: fit.Fit) -> None:
    arms = [a for a in classify.classify(MODEL, observation, fitted) if a.kind == FREE]
    hand = arms[0].fit.hand_pixels  # type: ignore[union-attr]
    about = np.zeros(observation.alpha.shape, np.uint8)
    cv2.circle(about, np.round(hand.mean(0)).astype(int).tolist(), 40, 1, -1)
    webbed = np.where(about, cv2.dilate(observation.alpha, np.ones((11, 11))), observation.alpha)
    wrong = (webbed > 0.9) & (observation.alpha < 0.05)
    assert wrong.sum() > 60
    opened = gaps.open_gaps(replace(observation, alpha=webbed), arms)
    assert opened.alpha[wrong].mean() < 0.5
    kept = observation.alpha > 0.95
    assert opened.alpha[kept].mean() > 0.97


def test_watershed_needs_no_arm(observation: Observation) -> None:
    trunk, regions = owner.split(observation, [], np.zeros(observation.alpha.shape, bool))
    assert trunk is observation and regions == []


def test_a_spit_of_trunk_under_an_upper_arm_is_the_arms(plan: Plan) -> None:
    """The watershed followed the shadow of an armpit along a sleeve; a lifted arm left it standing there."""
    region, o = plan.regions[0], plan.photo
    f, px = region.fit, region.per_metre
    label = np.where(region.mask, owner.LABEL["left"], np.where(o.alpha > 0.02, owner.TRUNK, 0)).astype(np.int32)
    assert not owner._spits(o, f, label, region.sway, px).any()
    tip = f.pixels[0] + 0.75 * (f.pixels[1] - f.pixels[0])
    drawn = np.zeros(label.shape, np.uint8)
    owner.draw_line(drawn, f.pixels[0], tip, 1, 0.03 * px[0])
    spit = (drawn > 0) & region.mask & (o.alpha > 0.5)
    label[spit] = owner.TRUNK
    beyond = spit & (region.sway > 0.55)
    found = owner._spits(o, f, label, region.sway, px)
    assert beyond.sum() > 30 and found[beyond].mean() > 0.95 and not found[~spit & (o.alpha > 0.5)].any()


def test_trunk_goes_on_under_what_a_lifted_arm_uncovers(plan: Plan) -> None:
    region, o = plan.regions[0], plan.photo
    label = owner.owners(o, [region.arm])
    y, x = np.nonzero((label == owner.TRUNK) & (cv2.dilate(region.mask.astype(np.uint8), np.ones((3, 3))) > 0))
    at = np.stack([x, y], 1) + 0.5
    way, shoulder = region.fit.pixels[1] - region.fit.pixels[0], region.fit.pixels[0]
    cut = at[(region.sway[y, x] > 0.6) & (np.linalg.norm(at - shoulder, axis=1) < 0.12 * region.per_metre[0])]
    assert len(cut) > 3
    by = 0.18 * np.linalg.norm(cut - shoulder, axis=1)[:, None] * way / np.linalg.norm(way)
    q = np.floor(cut + by).astype(int)
    q = q[region.mask[q[:, 1], q[:, 0]]]
    assert len(q) > 3 and (plan.trunk.alpha[q[:, 1], q[:, 0]] > 0.5).mean() > 0.9


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_the_photo_is_redrawn(avatar: Avatar) -> None:
    assert avatar.arms == {"left": FREE, "right": OUT_OF_VIEW}
    assert avatar.capabilities["arms"] and avatar.capabilities["hands"]
    assert avatar.quality["rest_psnr"] > 33
    assert (avatar.part == anatomy.ARM).any()


def test_limits_let_the_arm_beat_and_hold_the_other_still(avatar: Avatar) -> None:
    for joint, degrees in (("shoulder", 6), ("elbow", 8), ("wrist", 8)):
        low, high = np.degrees(avatar.limits[f"left_{joint}"][2])
        assert low <= -degrees and high >= degrees, joint
    assert np.abs(avatar.limits["left_index1"][2]).min() >= 0.2
    for name, ranges in avatar.limits.items():
        if name.startswith("right_") and JOINT[name] > 11 and "eye" not in name:
            assert ranges == ((0.0, 0.0),) * 3, name


def test_within_its_limits_nothing_tears(avatar: Avatar) -> None:
    limbs, rig, gauge = Limbs(avatar), Rig(avatar), TearGauge(avatar)
    ends = {j: limbs.range("left", j) for j in ("shoulder", "elbow", "wrist")}
    for gesture in limits.corners(ends, limbs.range("left", "fingers")[2]):
        assert gauge(rig.state(limbs.motion(0.0, {"left": gesture}), absolute=True)).within(limits.ALLOWED)
    gauge.close()


def test_the_gauge_sees_what_is_torn(avatar: Avatar) -> None:
    limbs, rig = Limbs(avatar), Rig(avatar)
    far = rig.state(limbs.motion(0.0, {"left": Gesture(fingers=1.6)}), absolute=True)
    gauge = TearGauge(avatar)
    assert not gauge(far).within(limits.ALLOWED)
    gauge.close()
    g = avatar.gaussians
    bald = replace(avatar, gaussians=replace(g, **{k: v[avatar.part[g.face] != 20] for k, v in vars(g).items()}))
    raised = rig.state(limbs.motion(0.0, {"left": Gesture({"shoulder": (0, 0, 0.1)})}), absolute=True)
    whole, bare = TearGauge(avatar), TearGauge(replace(bald, photo=raised))
    assert whole(raised).bare <= limits.ALLOWED.bare
    assert bare._usual > 20 * max(whole._usual, 1)


def test_the_gauge_sees_an_arm_that_comes_off_the_trunk(avatar: Avatar) -> None:
    """Without what the arm hides of the trunk a lifted arm shows the wall between them."""
    limbs, rig, g = Limbs(avatar), Rig(avatar), avatar.gaussians
    rest = rig.vertices(avatar.photo).copy()
    arm = avatar.part == anatomy.ARM
    c = avatar.camera
    _, ids = cpu.zbuffer(c.project(rest), avatar.mesh.faces, c.width, c.height)
    q = (
        np.floor(c.project(rest[avatar.mesh.faces[g.face]].mean(1))[:, :2])
        .astype(int)
        .clip(0, [c.width - 1, c.height - 1])
    )
    under = ~arm[g.face] & arm[ids[q[:, 1], q[:, 0]]]
    cut = replace(avatar, gaussians=replace(g, **{k: v[~under] for k, v in vars(g).items()}))
    raised = rig.state(limbs.motion(0.0, {"left": Gesture({"shoulder": (0, 0, 0.1)})}), absolute=True)
    whole, parted = TearGauge(avatar), TearGauge(cut)
    assert whole(raised).parted <= limits.ALLOWED.parted < parted(raised).parted
    whole.close()
    parted.close()


def test_arms_do_not_move_the_trunk_nor_the_trunk_tear_the_arms(avatar: Avatar) -> None:
    limbs, rig = Limbs(avatar), Rig(avatar)
    rest = rig.vertices(avatar.photo).copy()
    up = rig.state(limbs.motion(0.0, {"left": Gesture({"shoulder": (0, 0, 0.1)}, 0.2)}), absolute=True)
    now = rig.vertices(up).copy()
    arm = np.zeros(len(rest), bool)
    arm[avatar.mesh.faces[avatar.part == anatomy.ARM]] = True
    np.testing.assert_array_equal(now[~arm], rest[~arm])
    assert np.linalg.norm(now - rest, axis=1).max() > 0.03


def test_sheets_cover_their_region_and_nothing_is_edge_on(
    plan: Plan, fitted: fit.Fit, observation: Observation
) -> None:
    refined = refine.refine(MODEL, fitted, observation.landmarks, observation.alpha)
    union = meshing.build(MODEL, fitted, refined, plan)
    front = union.sheets[0]
    p = observation.camera.project(front.vertices)[:, :2]
    drawn = np.zeros(observation.alpha.shape, np.uint8)
    for triangle in p[front.faces]:
        cv2.fillConvexPoly(drawn, np.round(triangle).astype(np.int32), 1)
    region = plan.regions[0]
    inside = region.mask & (region.sway > 0.5) & (plan.photo.alpha > 0.9)
    assert drawn[inside].mean() > 0.99
    np.testing.assert_allclose(front.weights.sum(1), 1, atol=1e-9)
    assert ((front.weights > 0).sum(1) <= 4).all()


# ---- a forearm that points at the viewer ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pointing() -> tuple[Plan, Avatar]:
    o = observed(scene(TOWARDS))
    f = fit.fit(MODEL, o.camera, o.face, o.person.body)
    return planning.plan(MODEL, o, f, refine.refine(MODEL, f, o.landmarks, o.alpha)), built(o, 45_000)


def test_a_pointing_forearm_moves_as_its_hidden_length_would(pointing: tuple[Plan, Avatar]) -> None:
    """The hand of a forearm that shows next to nothing of its length rises by the sine of that length."""
    plan, avatar = pointing
    assert avatar.arms["left"] == FORESHORTENED
    low, high = np.degrees(avatar.limits["left_elbow"][0])
    assert low <= -2.5 and high >= 2.5
    limbs, rig = Limbs(avatar), Rig(avatar)
    palm = _of_hand(avatar)
    was = rig.vertices(avatar.photo)[palm, 1].mean()
    up = rig.state(limbs.motion(0.0, {"left": Gesture({"elbow": (np.radians(-2.5), 0.0, 0.0)})}), absolute=True)
    rise = rig.vertices(up)[palm, 1].mean() - was
    elbow, wrist = plan.regions[0].fit.places[2:4]
    hidden = wrist[2] - elbow[2]
    assert 0.2 < hidden < 0.32  # m: a forearm
    before = 0.2  # m that the sheet lies before the wrist: fingers that point at the viewer, clear of the sleeve
    assert 0.8 * hidden < rise / np.sin(np.radians(2.5)) < hidden + before


def _of_hand(avatar: Avatar) -> np.ndarray:
    """Vertices that the left hand moves."""
    mesh = avatar.mesh
    hand = [JOINT["left_wrist"], *range(25, 40)]
    return np.flatnonzero(np.where(np.isin(mesh.joint_index, hand), mesh.joint_weight, 0).sum(1) > 0.9)


def test_what_a_pointing_forearm_hides_is_completed(pointing: tuple[Plan, Avatar]) -> None:
    plan, avatar = pointing
    region = plan.regions[0]
    front, *behind = plan.sheets(np.full(plan.photo.alpha.shape, np.inf))
    assert len(behind) == 1 and behind[0].behind
    assert not (behind[0].alpha[~region.mask] > 0.5).any()  # at rest nothing of it shows
    assert behind[0].vertices[:, 2].max() < front.vertices[:, 2].max()
    share = behind[0].weights[:, JOINT["left_elbow"]]
    assert share.min() < sum(owner.FADE[FORESHORTENED]) and share.max() > 0.9  # from where the trunk ends to the hand
    assert avatar.quality["rest_psnr"] > 33


def test_a_pointing_forearm_tears_nothing(pointing: tuple[Plan, Avatar]) -> None:
    avatar = pointing[1]
    limbs, rig, gauge = Limbs(avatar), Rig(avatar), TearGauge(avatar)
    for ends in limits.corners({j: limbs.range("left", j) for j in ("elbow", "wrist")}, np.zeros(2)):
        assert gauge(rig.state(limbs.motion(0.0, {"left": ends}), absolute=True)).within(limits.ALLOWED)
    gauge.close()


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("photos/hagrid_four_07fdea90.jpg", (FREE, OUT_OF_VIEW)),
        ("photos/flux_woman_0303.png", (FORESHORTENED, FORESHORTENED)),
        ("photos/wh_obama_official_halfbody.jpg", (PAIR, PAIR)),
    ],
)
def test_real_arms_are_told_apart(nets: None, photo: str, expected: tuple[str, str]) -> None:
    from avatar.build.photo import read

    o = observe.observe(read(shared_file(photo)))
    assert kinds(o, fit.fit(MODEL, o.camera, o.face, o.person.body)) == expected
