"""Strange picture files: each is read upright as 8-bit sRGB, or refused in one clear sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avatar.build.photo import LONG_SIDE, Refused, read

SIZE = (96, 72)


def ramp(mode: str = "RGB") -> Image.Image:
    x = np.linspace(0, 255, SIZE[0], dtype=np.uint8)
    return Image.fromarray(np.repeat(np.repeat(x[None, :, None], SIZE[1], 0), 3, 2)).convert(mode)


def save(image: Image.Image, path: Path, **options) -> Path:  # type: ignore[no-untyped-def]
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "jpg"), ("CMYK", "jpg"), ("L", "jpg"), ("1", "png"), ("P", "png"), ("RGB", "webp"), ("RGB", "bmp")],
)
def test_modes_become_rgb(tmp_path: Path, mode: str, kind: str) -> None:
    photo = read(save(ramp(mode), tmp_path / f"x.{kind}"))
    assert photo.rgb.shape == (SIZE[1], SIZE[0], 3) and photo.rgb.dtype == np.uint8
    assert photo.rgb[:, -8:].mean() > photo.rgb[:, :8].mean() + 150


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    x = np.linspace(0, 65535, SIZE[0]).astype(np.uint16)
    path = save(Image.fromarray(np.repeat(x[None], SIZE[1], 0)), tmp_path / "x.png")
    rgb = read(path).rgb
    assert rgb[0, 0, 0] == 0 and rgb[0, -1, 0] == 255 and abs(int(rgb[0, 48, 0]) - 128) < 4


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = save(Image.new("RGBA", SIZE, (255, 0, 0, 0)), tmp_path / "x.png")
    assert (read(path).rgb == 255).all()


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # must be turned by 90 degrees clockwise
    photo = read(save(ramp(), tmp_path / "x.jpg", exif=exif))
    assert photo.rgb.shape[:2] == (SIZE[0], SIZE[1])
    assert photo.rgb[-4:].mean() > photo.rgb[:4].mean() + 150


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", SIZE, c) for c in ("red", "blue")]
    photo = read(save(frames[0], tmp_path / "x.gif", save_all=True, append_images=frames[1:]))
    assert photo.rgb[..., 0].min() > 200
    assert any("first frame" in w for w in photo.warnings)


def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    photo = read(save(Image.new("RGB", (5000, 2500), "green"), tmp_path / "x.jpg"))
    assert max(photo.rgb.shape) <= LONG_SIDE
    assert photo.scale == pytest.approx(photo.rgb.shape[1] / 5000)


def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "bomb.png"
    for side in (12_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
        with pytest.raises(Refused, match="at most 120 megapixels"):
            read(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not a picture"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 300, "picture|damaged"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(Refused, match=said):
        read(tmp_path / "x.jpg")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = save(Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)), tmp_path / "x.png")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Refused, match=r"x\.png is damaged"):
        read(path)


def test_a_tiny_picture_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="20 x 20"):
        read(save(Image.new("RGB", (20, 20)), tmp_path / "x.png"))
    with pytest.raises(Refused, match="cannot be read"):
        read(tmp_path / "nowhere.jpg")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.integers(0, 255), st.sampled_from(["jpg", "png", "webp", "gif", "tiff"]))
def test_a_broken_byte_never_raises_anything_else(tmp_path: Path, at: int, value: int, kind: str) -> None:
    path = save(ramp(), tmp_path / f"x.{kind}")
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        assert read(path).rgb.shape[2] == 3
    except Refused as e:
        assert str(e)
