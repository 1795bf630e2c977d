"""Reading a stranger's picture file: any kind Pillow opens becomes upright 8-bit sRGB, or is refused in plain words."""

from __future__ import annotations

import io
import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

MAX_BYTES = 64 << 20
MAX_PIXELS = 120_000_000  # larger than any camera's; a small file that claims more is a decompression bomb
LEAST_SIDE = 64  # px
FILM_DIAGONAL = 43.27  # mm of 35 mm film, to which EXIF's equivalent focal length refers (CIPA DCG-001)
SHORTEST_LENS, LONGEST_LENS = 15.0, 300.0  # mm, equivalent; others are slips or no portraits
CROPPED = 0.02  # by which the aspect ratio may differ from what the camera wrote
LONG_SIDE = 2048  # px that are kept: more than any stage uses


class Refused(ValueError):
    """A photo that no avatar can be made of; the message tells a layman why and what to do."""


@dataclass(frozen=True)
class Photo:
    rgb: NDArray[np.uint8]  # (H, W, 3) sRGB, upright
    scale: float  # pixels here per pixel of the file
    warnings: tuple[str, ...] = ()
    focal: float | None = None  # of the longer side, where EXIF tells it

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file, upright."""
        return round(self.rgb.shape[1] / self.scale), round(self.rgb.shape[0] / self.scale)


def read(path: Path) -> Photo:
    """Raises Refused when the file is no picture, is too small or too large, or is damaged."""
    name = path.name
    try:
        size = path.stat().st_size
        if size == 0:
            raise Refused(f"{name} is empty (0 bytes)")
        if size > MAX_BYTES:
            raise Refused(f"{name} is {size >> 20} MB; use a picture of at most {MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as e:
        raise Refused(f"{name} cannot be read: {e.strerror}") from e
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # of size: checked here
            image: Image.Image = Image.open(io.BytesIO(data))
            _check_size(name, image)
            found = (
                ("the picture is animated; only its first frame is used",) if getattr(image, "n_frames", 1) > 1 else ()
            )
            image.draft("RGB", (LONG_SIDE, LONG_SIDE))  # a JPEG decodes to a half or a quarter, when that is enough
            full = Image.open(io.BytesIO(data)).size
            focal = focal_length(image, full)
            image.load()
            image = _to_srgb(_upright(image))
    except Refused:
        raise
    except Image.DecompressionBombError as e:
        raise Refused(
            f"{name} claims too many pixels; use a picture of at most {MAX_PIXELS // 10**6} megapixels"
        ) from e
    except UnidentifiedImageError as e:
        raise Refused(f"{name} is not a picture that can be read; use JPEG, PNG or WebP") from e
    except Exception as e:  # Pillow's decoders raise nearly anything on damaged files
        raise Refused(f"{name} is damaged and cannot be read ({type(e).__name__})") from e
    if max(image.size) > LONG_SIDE:
        image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS, reducing_gap=3)
    return Photo(np.asarray(image, np.uint8), max(image.size) / max(full), found, focal)


def _check_size(name: str, image: Image.Image) -> None:
    w, h = image.size
    if w * h > MAX_PIXELS:
        raise Refused(f"{name} claims {w} x {h} pixels; use a picture of at most {MAX_PIXELS // 10**6} megapixels")
    if min(w, h) < LEAST_SIDE:
        raise Refused(f"{name} is {w} x {h} pixels; it must be at least {LEAST_SIDE} each way")


def focal_length(image: Image.Image, size: tuple[int, int]) -> float | None:
    """Focal length over the picture's longer side from EXIF, or None.

    It counts where the picture is whole: of the size that EXIF says the camera wrote, or at least of its shape.
    """
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        equivalent = float(tags.get(ExifTags.Base.FocalLengthIn35mmFilm) or 0)
        written = [float(tags.get(t) or 0) for t in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    except Exception:  # EXIF is anything; without it the photo is as good as any other
        return None
    if not SHORTEST_LENS <= equivalent <= LONGEST_LENS:
        return None
    if min(written) > 0 and abs(max(written) / min(written) * min(size) / max(size) - 1) > CROPPED:
        return None
    return equivalent / FILM_DIAGONAL * float(np.hypot(*size)) / max(size)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF is no reason to refuse the picture
        return image


def _to_srgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: the embedded colour profile applied, transparency laid on white, 16 bits scaled to 8."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        a = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(np.nanmax(a)), 1e-9)
        image = Image.fromarray((np.nan_to_num(a) / top * 255).clip(0, 255).round().astype(np.uint8))
    profile = image.info.get("icc_profile")
    if image.mode in ("RGB", "CMYK", "L") and profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that cannot be read is ignored, as viewers do
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image.convert("RGB")


def demo() -> Path:
    """The demo's photo: the public-domain portrait of an astronaut that scikit-image carries."""
    import skimage.data

    return Path(str(skimage.data.__file__)).with_name("astronaut.png")
