"""Metrics, baselines and made-up people: does each measure what it says?"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from avatar import asset
from avatar.rig import Rig
from models import identity, tracking
from models.motion import Motion
from stage.evaluate import baselines, metrics, people, refine_pose, sheets, twin
from stage.evaluate.metrics import Cutout, Meter, box_of
from stage.evaluate.penetration import Penetration
from stage.evaluate.people import Human
from stage.evaluate.protocol import TWIN
from stage.evaluate.reenact import Drawer
from stage.evaluate.truth import Studio
from stage.film import count_frames, read_frames


@pytest.fixture(scope="module")
def meter() -> Meter:
    return Meter("alex")


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(Human(1, TWIN["side"]))


def test_plain_scores_of_a_known_error(meter: Meter) -> None:
    truth = np.full((80, 70, 3), 100, np.uint8)
    drawn = truth.copy()
    drawn[:40] += 51  # a fifth of the range over one half
    s = meter.plain(truth, drawn, None)
    assert (s.mse, s.l1) == (pytest.approx(0.02), pytest.approx(0.1))
    assert s.psnr == pytest.approx(16.99, abs=0.01)
    below = np.zeros((80, 70), bool)
    below[40:] = True
    assert meter.plain(truth, drawn, below).mse == 0


def test_correlation_leaves_gaps_out_and_needs_variation() -> None:
    assert metrics.correlation([0, 1, None, 3], [0, 2, 9, 6]) == pytest.approx(1)
    assert metrics.correlation([0, 1, 2], [5, 5, 5]) is None
    assert metrics.correlation([0, None, 2], [1, 2, 3]) is None


def test_warp_moves_the_picture_with_its_landmarks() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(60, 140, (478, 2)).astype(np.float32)
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[95:106, 95:106] = 255
    photo = Cutout(picture, np.ones((200, 200), np.float32), (picture / 255).astype(np.float32), points)
    assert np.array_equal(baselines.warped(photo, points), picture)  # type: ignore[arg-type]
    moved = baselines.warped(photo, points + np.array([8, 0]))
    assert moved is not None
    assert np.nonzero(moved[..., 0] > 128)[1].mean() == pytest.approx(108, abs=0.7)


def test_sampled_colours_are_the_photos_own(demo_avatar_path: Path) -> None:
    avatar = asset.load(demo_avatar_path)
    flat = np.full((avatar.camera.height, avatar.camera.width, 3), 0.25, np.float32)
    g = baselines.sampled(avatar, flat).gaussians
    seen = avatar.gaussians.confidence == baselines.SEEN
    assert seen.any() and np.allclose(g.colour[seen], 0.25)
    assert np.array_equal(g.colour[~seen], avatar.gaussians.colour[~seen])


def test_the_nets_take_a_made_up_person_for_one(studio: Studio) -> None:
    truth = studio.draw(Motion())
    photo = studio.photo(truth)
    assert len(identity.detect(photo)) == 1
    with tracking.Tracker() as tracker:
        face = tracker.track(photo)[0].face
    assert face is not None
    off = np.linalg.norm(face.landmarks[:468, :2] - truth.landmarks, axis=1).mean() / np.ptp(truth.landmarks[:, 0])
    assert off < 0.04, "the true landmarks lie where a detector sees them"


def test_people_are_themselves_and_off_the_shape_space(studio: Studio) -> None:
    again = Studio(Human(1, TWIN["side"]))
    assert np.array_equal(again.human.posed(Motion()).vertices, studio.human.posed(Motion()).vertices)
    model = studio.human.model
    head = model.weights[:, 15] > 0.9
    basis = model.shapedirs[head].reshape(-1, model.shapedirs.shape[2]).astype(np.float64)
    away = (studio.human.rest_body - model.v_template)[head].reshape(-1)
    left = away - basis @ np.linalg.lstsq(basis, away, rcond=None)[0]
    assert np.linalg.norm(left.reshape(-1, 3), axis=1).max() > 0.001


def test_poses_cover_the_protocol() -> None:
    poses = twin.poses()
    assert len({p.name for p in poses}) == len(poses)
    assert {p.kind for p in poses} == {"near", "far", "pitch", "face", "speech"}
    assert len(TWIN["expressions"]) == 20 and sum(p.kind == "speech" for p in poses) == 60
    assert set(twin.QUICK) <= {p.name for p in poses}


def test_one_twin_from_photo_to_scores(meter: Meter) -> None:
    """The whole path, with a pose and two frames of speech; the figures only have to be possible ones."""
    poses = [p for p in twin.poses() if p.name in ("yaw -10", "speech 0", "speech 1")]
    person = twin.one(1, poses, meter, film=True)
    scores = person.scores["yaw -10"]
    assert set(scores) == set(twin.METHODS)
    for by_box in scores.values():
        assert set(by_box) == {"person", "face", "mouth", "eyes"}
        assert all(5 < s.psnr < 60 and 0 < s.st_lpips < 1.5 for s in by_box.values() if s.psnr and s.st_lpips)
    assert person.rest_psnr > 30
    assert set(person.scores["speech 1"]) == {twin.TRUE, twin.FITTED}, "baselines only in sampled frames"
    assert person.scores["speech 1"][twin.TRUE]["face"].st_lpips is None
    assert len(person.film) == 2 and person.film[0].shape[0] == twin.FILM_HEIGHT
    targets = twin._targets(twin._means([person]))
    assert "dB, target 27" in targets["near"] and "ST-LPIPS, face" in targets


def test_there_is_no_film_of_people_who_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quick"):
        twin.evaluate(1, quick=True, film=tmp_path / "b.mp4")


def test_paint_near_a_cloud_falls_off_with_distance() -> None:
    cloud = cKDTree(np.zeros((1, 3)))
    points = np.array([[0, 0, 0], [0.001, 0, 0], [0.0014, 0, 0], [0.003, 0, 0], [1, 0, 0]])
    assert people._near(points, cloud, 0.001) == pytest.approx([1, 0.8, 0.4, 0, 0])
    line = np.array([[0.0, 0, 0], [0.01, 0, 0]])
    assert (
        people._from_line(points, line, 0.01)[:4] == pytest.approx(0) and people._from_line(points, line, 0.01)[4] > 0.9
    )


def test_a_truth_looked_at_once_scores_as_two_pictures_do(meter: Meter) -> None:
    random = np.random.default_rng(1)
    a, b = (random.integers(0, 255, (90, 80, 3)).astype(np.uint8) for _ in range(2))
    reference = meter.reference(a, (5, 10, 75, 85))
    scores, plain = meter.scores(reference, b), meter.plain(a[10:85, 5:75], b[10:85, 5:75], None)
    assert scores.st_lpips == pytest.approx(plain.st_lpips, rel=1e-4)
    assert scores.psnr == plain.psnr and scores.identity is None


def test_a_film_holds_every_frame_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    dark, light = (np.full((50, 41, 3), v, np.uint8) for v in (40, 200))
    with sheets.Film(file, Fraction(25), 48) as film:
        for _ in range(7):
            film.add((dark, ""), (light, ""))
    frames = [rgb for _, rgb in read_frames(file)]
    assert len(frames) == count_frames(file) == 7
    middle = frames[3].shape[1] // 2
    assert frames[3][:, : middle - 4].mean() == pytest.approx(40, abs=4)
    assert frames[3][:, middle + 4 :].mean() == pytest.approx(200, abs=4)


def test_a_film_fits_pictures_of_another_shape_in(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    with sheets.Film(file, Fraction(25), 64) as film:
        for width in (96, 32):
            film.add((np.full((64, width, 3), 200, np.uint8), ""))
    _, second = (rgb for _, rgb in read_frames(file))
    assert second.shape == (64, 96, 3) and second[:, 40:56].mean() > 180 and second[:, :24].mean() < 20


def test_refining_finds_a_pose_again(demo_avatar_path: Path) -> None:
    avatar = asset.load(demo_avatar_path)
    drawer, photo = Drawer(avatar), avatar.photo
    true = Motion(pose=photo.pose.copy(), translation=photo.translation, expression=photo.expression)
    true.face_model, true.weight = avatar.body_model["sha256"], np.ones(8, np.float32)
    true.pose[15, 1] += 0.05
    start = replace(true, pose=photo.pose.copy())
    W, H = avatar.camera.width, avatar.camera.height
    truth = drawer.draw(true, W, H)
    box = box_of(truth.min(2) < 250)
    found = refine_pose.refined(drawer, start, truth, box)
    error = [float(((drawer.draw(m, W, H) / 255.0 - truth / 255.0) ** 2).mean()) for m in (start, found)]
    assert error[1] < 0.3 * error[0]


def test_a_hand_in_the_head_is_seen(demo_avatar_path: Path) -> None:
    avatar = asset.load(demo_avatar_path)
    look = Penetration(avatar)
    v = Rig(avatar).vertices(avatar.photo).astype(np.float64)
    head = v[np.unique(look.head)]
    look.hand = np.array([avatar.mesh.faces[0, 0]])
    for place, deep in ((head.mean(0), True), (head.max(0) + 0.1, False)):
        v[look.hand] = place
        found = look(v)
        assert found is not None and (found > 0.02) == deep
    look.hand = look.hand[:0]
    assert look(v) is None


def test_a_sheets_columns_stand_one_below_the_other() -> None:
    tile = lambda width, value: np.full((4, width, 3), value, np.uint8)  # noqa: E731
    picture = sheets.grid([[tile(5, 1), tile(8, 2)], [tile(9, 3), tile(4, 4), tile(2, 5)]])
    assert picture.shape == (8, 19, 3)
    assert picture[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0, *[2] * 8, 0, 0]
    assert picture[4, :, 0].tolist() == [*[3] * 9, 0, 0, 4, 4, 4, 4, 0, 0, 5, 5]
