"""Photos: is each accepted, how well is it redrawn, and does the avatar stay the person while it talks?

A person's own pictures do not embed alike either. The yardstick is how like itself the photo is when it is shifted,
scaled and tilted a little: the mean cosine of an utterance's frames to the photo is given as a share of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.crop import to_width
from stage.evaluate import sheets
from stage.evaluate.metrics import U8, number
from stage.evaluate.protocol import PHOTOS, VERSION

if TYPE_CHECKING:
    from avatar.asset import Avatar


FPS = 25
SHOWN = 4  # which frames of the utterance the sheet shows, of each quarter: open mouths


@dataclass(frozen=True)
class Row:
    """Of one photo. What was not found is None."""

    name: str
    refused: str | None = None  # why, or None
    framing: str | None = None
    psnr: float | None = None  # dB, photo state against the photo inside the matte, at the avatar's resolution
    ssim: float | None = None
    identity: float | None = None  # mean cosine of the utterance's frames to the photo
    jitter: float | None = None  # mean cosine of the photo's jittered copies to it
    warnings: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        return None if self.identity is None or not self.jitter else self.identity / self.jitter

    @property
    def holds(self) -> bool:
        limits = PHOTOS["limits"]
        found = ((self.psnr, limits["psnr"]), (self.ssim, limits["ssim"]), (self.share, limits["identity_share"]))
        return self.refused is None and all(value is not None and value >= least for value, least in found)


def evaluate(
    photos: Sequence[Path],
    sheet: Path | None = None,
    film: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Row]:
    """A row for each photo; writes a contact sheet and a film of the utterances beside the photos where asked."""
    from avatar.build.builder import Refused, build

    rows, tiles = [], []
    with sheets.Film(film, Fraction(FPS), PHOTOS["film_height"]) as strip:
        for k, photo in enumerate(photos):
            try:
                avatar, report = build(photo)
            except Refused as e:
                rows.append(Row(photo.name, str(e)))
            else:
                identity, jitter, shown = likeness(avatar, _picture(photo, avatar), strip)
                rest = (report.rest_psnr, report.rest_ssim)
                rows.append(Row(photo.name, None, report.framing, *rest, identity, jitter, report.warnings))
                tiles.append(shown)
            progress((k + 1) / len(photos))
    if sheet and tiles:
        sheets.write(sheet, sheets.grid(tiles))
    return rows


def likeness(avatar: Avatar, photo: U8, film: sheets.Film) -> tuple[float | None, float | None, list[U8]]:
    """Mean cosine to the photo of an utterance's frames, of the photo's jittered copies, and pictures to look at."""
    from models import identity
    from stage.evaluate.twin import utterance

    own = identity.embed(photo)
    if own is None:
        return None, None, [sheets.tile(photo, "no face for YuNet")]
    cosines: list[float] = []
    for copy in jittered(photo, _face_centre(photo)):
        found = identity.embed(copy)
        cosines += [] if found is None else [identity.similarity(own, found)]
    x0, y0, w, h = (round(v) for v in avatar.view)
    view = np.s_[y0 : y0 + h, x0 : x0 + w]
    shown = [sheets.tile(photo[view], "photo")]
    draw = _drawer(avatar)
    frames = []
    for k, pose in enumerate(utterance(PHOTOS["frames"])):
        frame = draw(pose.motion)
        found = identity.embed(frame)
        frames.append(0.0 if found is None else identity.similarity(own, found))
        film.add((photo[view], "photo"), (frame[view], f"{frames[-1]:.2f}"))
        if k % (PHOTOS["frames"] // 4) == SHOWN:
            shown.append(sheets.tile(frame[view], f"{frames[-1]:.2f}"))
    return float(np.mean(frames)), float(np.mean(cosines)) if cosines else None, shown


def jittered(photo: U8, centre: NDArray) -> list[U8]:
    """Copies shifted, scaled and tilted a little about the face's centre (2,) px; the same for the same photo."""
    random = np.random.default_rng(0)
    j, size = PHOTOS["jitter"], photo.shape[1::-1]
    out = []
    for _ in range(j["copies"]):
        turn, zoom = random.uniform(-j["tilt_deg"], j["tilt_deg"]), 1 + random.uniform(-j["zoom"], j["zoom"])
        M = np.asarray(cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), turn, zoom), np.float64)
        M[:, 2] += random.uniform(-j["shift_px"], j["shift_px"], 2)
        copy = cv2.warpAffine(photo, M, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        out.append(np.asarray(copy, np.uint8))
    return out


def _face_centre(photo: U8) -> NDArray:
    from models import identity

    return np.asarray(identity.detect(photo)[0].points.mean(0))


def _picture(photo: Path, avatar: Avatar) -> U8:
    """The photo at the avatar's resolution."""
    from avatar.build.photo import read

    return np.asarray(to_width(read(photo).rgb, avatar.camera.width, avatar.camera.height), np.uint8)


def _drawer(avatar: Avatar) -> Callable[[Any], U8]:
    """Motion -> the whole picture over the photo's background."""
    from avatar.render import compose
    from avatar.render.cpu import Rasterizer
    from avatar.rig import Rig

    rig, rasterizer = Rig(avatar), Rasterizer(avatar, threads=2)

    def draw(motion: Any) -> U8:
        picture = rasterizer.draw(rig.vertices(rig.state(motion)), avatar.camera)
        return np.asarray(compose.over(picture, avatar.background), np.uint8)

    return draw


def table(rows: Sequence[Row]) -> str:
    """As text: ! marks what misses a limit."""
    limits = PHOTOS["limits"]
    lines = [
        f"protocol {VERSION}; limits: PSNR {limits['psnr']}, SSIM {limits['ssim']}, "
        f"identity {limits['identity_share']} of the jittered photo's, over {PHOTOS['frames']} frames",
        f"  {'':34}{'framing':>8}{'PSNR':>7}{'SSIM':>7}{'identity':>10}{'jitter':>8}{'share':>7}",
    ]
    for r in rows:
        mark = " " if r.holds else "!"
        if r.refused is not None:
            lines.append(f"{mark} {r.name[:33]:34}refused: {r.refused}")
            continue
        figures = number(r.psnr, 1, 7) + number(r.ssim, 3, 7) + number(r.identity, 3, 10) + number(r.jitter, 3, 8)
        lines.append(f"{mark} {r.name[:33]:34}{r.framing:>8}{figures}{number(r.share, 2, 7)}")
    return "\n".join([*lines, f"{sum(r.holds for r in rows)} of {len(rows)} hold"])


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    return {"protocol": VERSION, "photos": [asdict(r) | {"share": r.share, "holds": r.holds} for r in rows]}
