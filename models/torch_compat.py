"""torchvision beside a torch of another build: make it importable, so that lpips, diffusers and transformers are.

The package index has one torchvision per version, built for CUDA. Its native library does not load beside a CPU torch,
and then `import torchvision` fails at its first operator, and with it every package that imports torchvision. Here the
two operators that it asks for while importing are declared, without an implementation: models and transforms work,
`torchvision.ops.nms`, `roi_align` and torchvision's image files do not, and nobody here uses them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

MISSING = ("nms", "qnms")  # operators that torchvision registers shapes for while it is imported
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_library: torch.library.Library | None = None  # declarations live as long as this does


def ensure_torchvision() -> str:
    """Call before the first import of torchvision, lpips, diffusers or transformers; again does no harm.

    -> "absent" (no torchvision, nothing to mend), "native" (its own library loads) or "declared".
    """
    global _library
    if _library is not None:
        return "declared"
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return "absent"
    try:
        torch.ops.load_library(str(Path(spec.origin).with_name("_C.so")))
        return "native"
    except OSError:  # built against a torch that is not this one
        pass
    _library = torch.library.Library("torchvision", "DEF")
    for name in MISSING:
        _library.define(name + _SCHEMA)
    return "declared"
