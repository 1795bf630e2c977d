"""A user's matte and landmarks: taken as they are, or refused with what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar.build import corrections, observe
from avatar.build.builder import Corrections
from avatar.build.observe import Observation
from avatar.build.photo import Refused, focal_length, read

SIZE = (512, 512)


@pytest.fixture(scope="module")
def seen(nets: None, astronaut: Path) -> Observation:
    return observe.observe(read(astronaut))


def points_file(path: Path, points: dict, size: tuple = SIZE) -> Path:
    path.write_text(json.dumps({"width": size[0], "height": size[1], "points": points}))
    return path


def matte_file(path: Path, size: tuple[int, int] = SIZE, white: int = 200) -> Path:
    image = np.zeros((size[1], size[0]), np.uint8)
    image[:, : white * size[0] // SIZE[0]] = 255
    Image.fromarray(image).save(path)
    return path


def test_what_is_written_comes_back_as_it_was(seen: Observation, astronaut: Path, tmp_path: Path) -> None:
    corrections.write(seen, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a.landmarks.json", "a.matte.png"]
    by_hand = Corrections(tmp_path / "a.matte.png", tmp_path / "a.landmarks.json")
    again = observe.observe(read(astronaut), by_hand)
    assert np.abs(again.landmarks - seen.landmarks).max() < 0.06
    assert np.abs(again.alpha - seen.alpha).max() < 0.01


def test_a_corrected_photo_is_observed_with_them(seen: Observation, astronaut: Path, tmp_path: Path) -> None:
    matte = np.array(Image.fromarray((seen.alpha * 255).astype(np.uint8)).resize(SIZE))
    matte[:, :100] = 0
    Image.fromarray(matte).save(tmp_path / "m.png")
    x, y = seen.landmarks[61] / seen.scale
    file = points_file(tmp_path / "l.json", {"61": [float(x) - 4, float(y)]})
    o = observe.observe(read(astronaut), Corrections(tmp_path / "m.png", file))
    assert o.alpha[:, : round(95 * o.scale)].max() == 0 and o.alpha[:, round(110 * o.scale) :].max() == 1
    assert o.landmarks[61] == pytest.approx(seen.landmarks[61] - [4 * seen.scale, 0], abs=1e-3)


def test_neighbours_follow_and_the_rest_stays() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 200, 22), np.linspace(0, 200, 22)), -1).reshape(-1, 2)[:478]
    file_points = {"200": (grid[200] + [10, 0]).tolist()}
    out = corrections.read_landmarks(_file(file_points), grid, 1.0, SIZE)
    way = np.linalg.norm(out - grid, axis=1)
    near = np.linalg.norm(grid - grid[200], axis=1)
    assert way[200] == pytest.approx(10, abs=1e-4)
    assert way[(near > 0) & (near < 10)].min() > 3 and way[near > 60].max() < 0.01


def _file(points: dict) -> Path:
    import tempfile

    return points_file(Path(tempfile.mkdtemp()) / "l.json", points)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2", "no JSON"),
        ('{"points": {}}', "wanted"),
        ('{"width": 9, "height": 9, "points": {"1": [1, 1]}}', "512 x 512"),
        ('{"width": 512, "height": 512, "points": {"478": [1, 1]}}', "numbered 0 to 477"),
        ('{"width": 512, "height": 512, "points": {"3": [1]}}', "landmark 3"),
        ('{"width": 512, "height": 512, "points": {"3": [1, NaN]}}', "outside"),
        ('{"width": 512, "height": 512, "points": {"3": [500, 9]}}', "from where the net sees it"),
    ],
)
def test_wrong_landmarks_are_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "l.json").write_text(text)
    seen = np.random.default_rng(0).uniform(100, 200, (478, 2))
    with pytest.raises(Refused, match=says) as e:
        corrections.read_landmarks(tmp_path / "l.json", seen, 1.0, SIZE)
    assert "l.json" in str(e.value)


def test_wrong_mattes_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="another shape"):
        corrections.read_matte(matte_file(tmp_path / "a.png", (400, 512)), *SIZE)
    with pytest.raises(Refused, match="nearly nothing is white"):
        corrections.read_matte(matte_file(tmp_path / "b.png", white=0), *SIZE)
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(Refused, match="cannot be read"):
        corrections.read_matte(tmp_path / "c.png", *SIZE)


def test_a_matte_may_be_an_alpha_channel_of_another_size(tmp_path: Path) -> None:
    rgba = np.full((256, 256, 4), 255, np.uint8)
    rgba[:, 100:, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    alpha = corrections.read_matte(tmp_path / "a.png", *SIZE)
    assert alpha.shape == (512, 512) and alpha[:, :198].min() == 1 and alpha[:, 202:].max() == 0


def test_the_focal_length_comes_from_exif(tmp_path: Path, seen: Observation, astronaut: Path) -> None:
    image = Image.open(astronaut).convert("RGB")
    exif = image.getexif()
    exif.get_ifd(0x8769)[0xA405] = 50
    image.save(tmp_path / "x.jpg", exif=exif)
    photo = read(tmp_path / "x.jpg")
    assert photo.focal == pytest.approx(50 / 43.27 * 2**0.5, rel=1e-3)
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 4000, 3000  # then it was cropped
    image.save(tmp_path / "y.jpg", exif=exif)
    assert read(tmp_path / "y.jpg").focal is None
    assert focal_length(Image.new("RGB", (8, 8)), (8, 8)) is None
    o = observe.observe(replace(read(astronaut), focal=2.0))
    assert o.camera.focal == 2.0 * max(o.camera.width, o.camera.height)
