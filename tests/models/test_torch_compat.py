"""The packages that import torchvision can be imported, in a fresh interpreter, whatever torch is installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

IMPORTS = """
from models.torch_compat import ensure_torchvision
state = ensure_torchvision()
assert ensure_torchvision() == state, "a second call must change nothing"
import torchvision
import lpips
from diffusers import UNetSpatioTemporalConditionModel
from transformers import CLIPVisionModelWithProjection
import torch
net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
print(state, float(net(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))))
"""


def test_lpips_diffusers_and_transformers_import_after_the_guard():
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    state, distance = done.stdout.split()
    assert state in ("native", "declared")
    assert float(distance) == 0.0
