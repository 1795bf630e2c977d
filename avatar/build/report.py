"""What a build did, as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    seconds: float
    stages: dict[str, float]  # name -> seconds
    processor: dict[str, float]  # name -> seconds of processor time, all threads
    framing: str
    gaussians: int
    rest_psnr: float  # dB, photo state against the photo inside the matte, at the avatar's own resolution
    rest_ssim: float
    view_psnr: float  # dB, the same in the default view at 512 px
    view_ssim: float
    holes: dict[str, float]  # yaw in degrees -> share of the surface's pixels that nothing covers
    landmark_error: float  # % of the face's width between fitted model and landmarks
    lip_gap_mm: float  # largest distance between the rims of the lips in the neutral state
    lid_gap_mm: float  # the same of the lids when they blink
    width: int  # of the avatar's picture, px
    height: int
    face_width: float  # px
    seed: int
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    scale: float = 1.0  # avatar pixels per pixel of the photo
    focal: float = 0.0  # of the photo's longer side: EXIF's, or the usual one
    peak_memory_mb: float = 0.0  # of the process that built it

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON; nothing half written stays."""
        path = Path(path)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as f:
            try:
                f.write(self.json() + "\n")
                f.close()
                os.replace(f.name, path)
            except BaseException:
                Path(f.name).unlink(missing_ok=True)
                raise


def peak_memory_mb() -> float:
    """The most memory this process has ever held, MB."""
    with contextlib.suppress(OSError):  # getrusage would also count what this process was forked from
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
