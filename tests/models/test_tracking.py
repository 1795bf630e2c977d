"""The tracker on the astronaut of scikit-image, turned, shrunk, darkened, doubled; and on shared photos and videos."""

from __future__ import annotations

from collections.abc import Iterator

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from models import person as landmarks
from models.crop import Crop
from models.head_crop import matrix_in_image
from models.motion import ARKIT, A
from models.person import Face, Person
from models.tracking import Tracker, with_face
from tests.conftest import shared_file as shared

U8 = NDArray[np.uint8]
MIRRORED = [  # landmarks of the person's right and their counterparts on the left
    (33, 263), (133, 362), (159, 386), (145, 374), (61, 291), (234, 454), (127, 356), (105, 334), (48, 278), (172, 397),
]  # fmt: skip


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    with Tracker() as tracker:
        yield tracker


@pytest.fixture(scope="module")
def astronaut() -> U8:
    return data.astronaut()


@pytest.fixture(scope="module")
def woman(tracker: Tracker, astronaut: U8) -> Person:
    persons = tracker.track(astronaut)
    assert len(persons) == 1
    return persons[0]


def face_of(person: Person) -> Face:
    assert person.face is not None
    return person.face


def error(face: Face, truth: NDArray, affine: NDArray) -> float:
    """Mean distance, per face height, of a face's landmarks from the truth's after an affine map of the picture."""
    moved = truth[:, :2] @ affine[:, :2].T + affine[:, 2]
    return float(np.linalg.norm(face.landmarks[:, :2] - moved, axis=1).mean()) / face.height


# --- the astronaut as she is


def test_face_lies_where_the_photo_shows_it(woman: Person) -> None:
    face = face_of(woman)
    assert face.landmarks.shape == (478, 3) and face.landmarks.dtype == np.float32
    assert np.linalg.norm(face.centre - [223, 117]) < 10
    assert 95 < face.height < 120 and 70 < face.width < 100
    assert abs(face.roll) < np.radians(8) and abs(face.yaw) < np.radians(12)
    assert face.cut((512, 512)) == 0


def test_landmarks_are_symmetric_about_the_face_axis(woman: Person) -> None:
    face = face_of(woman)
    p = face.landmarks[:, :2]
    axis = (p[landmarks.CHIN] - p[landmarks.FOREHEAD]) / face.height
    across = np.array([-axis[1], axis[0]]) * -1  # to the person's left, right of the picture
    right, left = np.array(MIRRORED).T
    assert np.abs((p[left] - p[right]) @ axis).max() < 0.08 * face.height  # pairs lie level
    middle = ((p[left] + p[right]) / 2 - p[landmarks.FOREHEAD]) @ across
    assert np.abs(middle).max() < 0.08 * face.height
    assert ((p[left] - p[right]) @ across > 0).all()  # the person's left is right of the picture


EYE_CORNERS = {"RIGHT": (33, 133), "LEFT": (362, 263)}  # right to left on screen
LIDS = {"RIGHT": (159, 145), "LEFT": (386, 374)}  # upper, lower rim at the middle


@pytest.mark.parametrize("side", ["RIGHT", "LEFT"])
def test_iris_lies_between_lids_and_corners(woman: Person, side: str) -> None:
    p = face_of(woman).landmarks
    x, y = p[getattr(landmarks, f"{side}_IRIS")[0], :2]
    first, second = p[list(EYE_CORNERS[side]), 0]
    upper, lower = p[list(LIDS[side]), 1]
    assert first < x < second and upper < y < lower


def test_blendshapes_see_the_smile(woman: Person) -> None:
    scores = face_of(woman).scores()
    assert tuple(scores) == tuple(ARKIT)
    assert scores["mouthSmileLeft"] > 0.5 and scores["mouthSmileRight"] > 0.5
    assert scores["mouthFrownLeft"] < 0.1 and scores["mouthPucker"] < 0.1 and scores["eyeBlinkLeft"] < 0.3


def test_body_and_its_mask(woman: Person) -> None:
    body = woman.body
    assert body is not None and body.mask is not None
    nose, left, right = (body.keypoints[k, :2] for k in (0, landmarks.LEFT_SHOULDER, landmarks.RIGHT_SHOULDER))
    assert np.linalg.norm(nose - face_of(woman).landmarks[1, :2]) < 12
    assert left[0] > right[0] + 100 and min(left[1], right[1]) > nose[1] + 60
    assert body.mask.shape == (512, 512) and body.mask[117, 223] > 0.9 and body.mask[50, 450] < 0.1
    assert 0.2 < np.linalg.norm(body.world[11] - body.world[12]) < 0.5  # m between the shoulders
    x0, y0, x1, y1 = woman.box
    assert 0 <= x0 < 223 < x1 <= 512 and 0 <= y0 < 117 < y1 <= 512


# --- the astronaut made difficult


@pytest.mark.parametrize("degrees", [-60, -40, -20, 20, 40, 60])
def test_tilted(tracker: Tracker, astronaut: U8, woman: Person, degrees: int) -> None:
    affine = cv2.getRotationMatrix2D((255.5, 255.5), -degrees, 0.8)
    turned = cv2.warpAffine(astronaut, affine, (512, 512), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    face = face_of(tracker.track(turned)[0])
    assert error(face, face_of(woman).landmarks, affine) < 0.02
    assert np.degrees(face.roll - face_of(woman).roll) == pytest.approx(degrees, abs=3)
    assert np.degrees(rotation_between(face, face_of(woman))) == pytest.approx(abs(degrees), abs=4)
    assert face.blendshapes[A["mouthSmileLeft"]] > 0.5


@pytest.mark.parametrize("height", [60, 40, 24])
def test_small_face_in_a_large_picture(tracker: Tracker, astronaut: U8, woman: Person, height: int) -> None:
    k = height / face_of(woman).height
    small = cv2.resize(astronaut, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    picture = cv2.copyMakeBorder(small, 100, 300, 500, 250, cv2.BORDER_CONSTANT, value=(90, 90, 90)).astype(np.uint8)
    face = face_of(tracker.track(picture)[0])
    assert face.height == pytest.approx(height, rel=0.06)
    assert error(face, face_of(woman).landmarks, np.array([[k, 0, 500], [0, k, 100]])) < 0.02
    assert face.blendshapes[A["mouthSmileLeft"]] > 0.5


def test_dark(tracker: Tracker, astronaut: U8, woman: Person) -> None:
    face = face_of(tracker.track((astronaut * 0.1).astype(np.uint8))[0])
    assert error(face, face_of(woman).landmarks, np.eye(2, 3)) < 0.02


def test_two_persons_come_largest_first_each_with_a_body(tracker: Tracker, astronaut: U8) -> None:
    small = cv2.resize(astronaut, (360, 360), interpolation=cv2.INTER_AREA)
    picture = np.full((512, 872, 3), 128, np.uint8)
    picture[152:, :360], picture[:, 360:] = small, astronaut
    persons = tracker.track(picture)
    assert len(with_face(persons)) == 2 and len(with_face(persons, least=0.9)) == 1
    large, little = persons[:2]
    assert face_of(large).centre[0] > 360 > face_of(little).centre[0]
    assert face_of(large).height == pytest.approx(face_of(little).height * 512 / 360, rel=0.06)
    for person in (large, little):
        assert person.body is not None
        assert np.linalg.norm(person.body.head_centre - face_of(person).centre) < 0.4 * person.size


def test_face_cut_by_the_border_says_so(tracker: Tracker, astronaut: U8, woman: Person) -> None:
    half = np.ascontiguousarray(astronaut[:, round(float(face_of(woman).centre[0])) + 8 :])
    persons = with_face(tracker.track(half))
    assert not persons or face_of(persons[0]).cut(half.shape) > 0.15


def test_face_that_fills_the_picture(tracker: Tracker, astronaut: U8, woman: Person) -> None:
    x, y = face_of(woman).centre.round().astype(int)
    close = cv2.resize(astronaut[y - 62 : y + 62, x - 62 : x + 62], (700, 700), interpolation=cv2.INTER_CUBIC)
    assert face_of(tracker.track(close.astype(np.uint8))[0]).height > 500


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_nobody(tracker: Tracker, name: str) -> None:
    assert tracker.track(getattr(data, name)()) == []


# --- geometry


def rotation_between(a: Face, b: Face) -> float:
    trace = np.trace(a.matrix[:3, :3] @ b.matrix[:3, :3].T)
    return float(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_crop_and_back() -> None:
    crop = Crop((210.0, 130.0), 90.0, roll=0.6, size=256)
    picture = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(picture, (225, 120), 3, (255, 255, 255), -1)
    rows, columns = np.nonzero(crop.cut(picture)[..., 0] > 128)
    seen = np.array([[columns.mean() + 0.5, rows.mean() + 0.5, 10.0]])
    back = crop.to_image(seen)[0]
    assert back[:2] == pytest.approx([225.5, 120.5], abs=0.2)  # the pixel's centre
    assert back[2] == pytest.approx(10 * 90 / 256)
    pasted = crop.paste(np.ones((256, 256), np.float32), picture.shape)
    assert pasted[130, 210] == 1 and pasted[20, 20] == 0
    assert pasted.sum() == pytest.approx(90 * 90, rel=0.02)


def test_shrinking_crop_keeps_places() -> None:
    picture = np.zeros((900, 1200, 3), np.uint8)
    cv2.circle(picture, (700, 300), 40, (255, 255, 255), -1)
    crop = Crop((650.0, 400.0), 800.0, size=128)
    rows, columns = np.nonzero(crop.cut(picture)[..., 0] > 128)
    assert crop.to_image(np.array([[columns.mean() + 0.5, rows.mean() + 0.5]]))[0] == pytest.approx([700, 300], abs=1.5)


def test_head_matrix_puts_the_face_where_it_is_seen() -> None:
    """A face 60 cm ahead in a crop stands, in the whole image's camera, behind the pixel where the crop shows it."""
    crop, shape = Crop((500.0, 200.0), 256.0, roll=0.3), (720, 1280)
    matrix = np.eye(4)
    matrix[:3, 3] = [4.0, -3.0, -60.0]
    out = matrix_in_image(matrix, crop, shape)
    focal = shape[0] / 2 / np.tan(np.radians(31.5))
    x, y, z = out[:3, 3]
    place = np.array([640 + focal * x / -z, 360 - focal * y / -z])
    focal_crop = 256 / np.tan(np.radians(31.5))
    expected = crop.to_image(np.array([[256 + focal_crop * 4 / 60, 256 + focal_crop * 3 / 60]]))[0]
    assert place == pytest.approx(expected, abs=0.01)
    assert focal / -z == pytest.approx(focal_crop / 60 / crop.scale)  # and as large
    assert out[:2, 0] == pytest.approx([np.cos(0.3), -np.sin(0.3)], abs=1e-6)  # turned clockwise on screen


# --- video


def frames_of(astronaut: U8, count: int, shift: float = 1.5) -> Iterator[tuple[U8, float, NDArray]]:
    """The astronaut nodding sideways and drifting."""
    for i in range(count):
        affine = cv2.getRotationMatrix2D((255.5, 255.5), 8 * np.sin(i / 6), 1 + 0.05 * np.sin(i / 5))
        affine[:, 2] += [shift * i, 6 * np.sin(i / 7)]
        frame = cv2.warpAffine(astronaut, affine, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        yield frame.astype(np.uint8), i / 25, affine


def test_video_follows_every_frame(astronaut: U8, woman: Person) -> None:
    errors = []
    with Tracker(video=True, body=False, hands=False) as tracker:
        for frame, time_s, affine in frames_of(astronaut, 40):
            persons = tracker.track(frame, time_s)
            assert len(persons) == 1 and persons[0].body is None
            errors.append(error(face_of(persons[0]), face_of(woman).landmarks, affine))
    assert np.median(errors) < 0.015 and max(errors) < 0.05


def test_video_recovers_after_a_loss_and_repeats_the_body(astronaut: U8) -> None:
    blank = np.full_like(astronaut, 60)
    moved = np.roll(astronaut, 120, axis=1)
    with Tracker(video=True, hands=False, body_every=3) as tracker:
        assert face_of(tracker.track(astronaut, 0.0)[0])
        assert tracker.track(astronaut, 0.04)[0].body is not None
        seen = [tracker.track(blank, 0.08 + 0.04 * i) for i in range(8)]
        assert not seen[-1]
        found = [tracker.track(moved, 1.0 + 0.04 * i) for i in range(6)]
        assert found[-1] and face_of(found[-1][0]).centre[0] == pytest.approx(223 + 120, abs=12)


def test_video_finds_a_small_face(astronaut: U8) -> None:
    small = cv2.resize(astronaut, (170, 170), interpolation=cv2.INTER_AREA)  # a face of 36 px
    picture = np.full((480, 640, 3), 110, np.uint8)
    with Tracker(video=True, body=False, hands=False) as tracker:
        for i in range(12):
            frame = picture.copy()
            frame[200:370, 20 + 25 * i : 190 + 25 * i] = small  # faster than a face and a half per second
            persons = tracker.track(frame, i / 25)
            assert persons and face_of(persons[0]).centre[0] == pytest.approx(20 + 25 * i + 223 / 3.01, abs=5)


def test_wrong_use_is_told(tracker: Tracker, astronaut: U8) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        tracker.track(astronaut.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="32 px or more"):
        tracker.track(astronaut[:20])
    with pytest.raises(ValueError, match="body_every"):
        Tracker(video=True, body_every=0)
    with Tracker(video=True, body=False, hands=False) as video:
        video.track(astronaut, 1.0)
        with pytest.raises(ValueError, match="must rise"):
            video.track(astronaut, 1.0)
    with pytest.raises(RuntimeError, match="closed"):
        video.track(astronaut, 2.0)


# --- shared photos and videos

PHOTOS = {  # name: faces of note, least height of the largest, hands (None: not counted)
    "wh_obama_official_halfbody.jpg": (1, 280, None),
    "wh_two_people.jpg": (2, 150, None),
    "flux_man_0056.png": (1, 180, 2),
    "flux_woman_0303.png": (1, 190, 2),
    "hagrid_four_07a5a144.jpg": (1, 35, 1),
    "hagrid_none_00c84257.jpg": (1, 55, 2),
    "lp_d8_glasses_curly.jpg": (1, 240, 0),
    "mimic_fullbody_woman.jpg": (1, 145, None),
    "noperson_cat.png": (0, 0, 0),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_shared_photo(tracker: Tracker, name: str) -> None:
    count, height, hands = PHOTOS[name]
    picture = cv2.imread(str(shared(f"photos/{name}")))
    assert picture is not None
    persons = with_face(tracker.track(np.ascontiguousarray(picture[..., ::-1])), least=0.5)
    assert len(persons) == count
    if count:
        assert face_of(persons[0]).height > height and persons[0].body is not None
        assert hands is None or len(persons[0].hands) == hands


def test_hands_are_on_their_side(tracker: Tracker) -> None:
    picture = cv2.imread(str(shared("photos/flux_woman_0303.png")))
    assert picture is not None
    person = tracker.track(np.ascontiguousarray(picture[..., ::-1]))[0]
    left, right = person.hand("left"), person.hand("right")
    assert left is not None and right is not None
    assert left.landmarks[:, 0].min() > face_of(person).centre[0] > right.landmarks[:, 0].max()
    assert left.cut(picture.shape) == 0


VIDEOS = {  # name: least share of frames with a face
    "lp_d13_selfie_man.mp4": 1.0,
    "sk_carphone.mp4": 0.95,
    "lp_s13_fullbody_dance.mp4": 0.9,
    "gr_noperson_globe.mp4": 0,
}


@pytest.mark.parametrize("name", VIDEOS)
def test_shared_video(name: str) -> None:
    least = VIDEOS[name]
    found, count = 0, 0
    with av.open(str(shared(f"videos/{name}"))) as video, Tracker(video=True, body=False, hands=False) as tracker:
        for count, frame in enumerate(video.decode(video=0), 1):
            rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            found += bool(tracker.track(rgb, count / 25))
            if count == 50:
                break
    assert found >= least * count
    assert least > 0 or found == 0
