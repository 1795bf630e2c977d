"""The identity of a face survives what a camera or a codec does to it, and differs between people."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import identity
from models.onnx_edit import keep_inputs

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "photos"


@pytest.fixture(scope="module")
def astronaut():
    from skimage.data import astronaut

    return astronaut()


def photo(name):
    path = PHOTOS / name
    if not path.is_file():
        pytest.skip(f"test data is absent: {path.name}")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path.name} cannot be read"
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def embed(image):
    vector = identity.embed(image)
    assert vector is not None, "no face was found"
    return vector


def recoded(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)


DAMAGE = {
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 2),
    "recoded": recoded,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "small": lambda image: cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA),
    "dark": lambda image: image // 2,
    "turned": lambda image: cv2.warpAffine(image, cv2.getRotationMatrix2D((256, 256), 15, 1), (512, 512)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_same_face_is_recognized_after(damage, astronaut):
    whole = embed(astronaut)
    harmed = embed(DAMAGE[damage](astronaut))
    assert identity.similarity(whole, harmed) > 0.8


def test_an_embedding_is_a_unit_vector(astronaut):
    vector = embed(astronaut)
    assert vector.shape == (identity.WIDTH,) and vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert identity.similarity(vector, vector) == pytest.approx(1, abs=1e-5)


def test_the_astronauts_face_is_found_where_it_is(astronaut):
    faces = identity.detect(astronaut)
    assert len(faces) == 1
    left, top, width, height = faces[0].box
    assert left < 200 < left + width and top < 110 < top + height
    eyes, nose, mouth = faces[0].points[:2], faces[0].points[2], faces[0].points[3:]
    assert eyes[0, 0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()


def test_points_are_given_in_the_pixels_of_a_large_picture(astronaut):
    small = identity.detect(astronaut)[0]
    large = identity.detect(cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))[0]
    np.testing.assert_allclose(large.points / 3, small.points, atol=0.08 * small.box[2])
    np.testing.assert_allclose(large.box / 3, small.box, atol=0.15 * small.box[2])


def test_no_face_gives_none():
    assert identity.embed(np.full((200, 300, 3), 128, np.uint8)) is None


def test_a_picture_of_a_wrong_kind_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        identity.embed(np.zeros((64, 64, 3), np.float32))


@pytest.mark.parametrize("other", ["flux_man_0101.png", "wh_lacamoire_frame.png", "wh_obama_official_halfbody.jpg"])
def test_another_face_is_clearly_another(other, astronaut):
    assert identity.similarity(embed(astronaut), embed(photo(other))) < 0.4


def test_one_man_in_two_photos_is_more_alike_than_two_men():
    official = embed(photo("wh_obama_official_halfbody.jpg"))
    podium = embed(photo("wh_obama_podium_mic.jpg"))
    other = embed(photo("wh_lacamoire_frame.png"))
    assert identity.similarity(official, podium) > identity.similarity(official, other) + 0.3


def test_the_transform_takes_points_to_their_targets():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(5, 2)) * 40
    turn, scale, shift = 0.7, 1.8, np.array([12.0, -3.0])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = identity.similarity_transform(source, scale * source @ rotation.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([scale * rotation, shift]), atol=1e-9)
    mirrored = identity.similarity_transform(source, source * [-1, 1])
    assert np.linalg.det(mirrored[:, :2]) > 0, "a face is never mirrored into place"


def field(number, payload):
    return bytes([number << 3 | 2, len(payload)]) + payload


def test_inputs_are_dropped_from_an_onnx_graph_and_all_else_stays():
    def graph(*inputs):
        return field(1, b"node") + b"".join(field(11, field(1, name)) for name in inputs) + field(12, field(1, b"out"))

    def model(*inputs):
        return b"\x08\x07" + field(7, graph(*inputs)) + field(2, b"tool")

    assert keep_inputs(model(b"data", b"weight", b"bias"), {"data"}) == model(b"data")
    with pytest.raises(ValueError):
        keep_inputs(model(b"data")[:-3], {"data"})
