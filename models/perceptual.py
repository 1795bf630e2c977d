"""Perceptual distance of two images: the graph of LPIPS (Zhang et al. 2018) with weights that may be had.

LPIPS proper needs ImageNet weights of AlexNet or VGG-16, which no package carries. The default takes the trained
weights of ST-LPIPS (Ghildyal and Liu 2022), which have the same shapes, into the `lpips` package's graph. That is
neither of the two metrics: the strides are LPIPS's, the weights were trained for ST-LPIPS's blurred stride-1 graph. It
orders distortions sensibly (tests/models/test_perceptual.py) and serves as a loss; its numbers compare only with each
other, under `PerceptualDistance.name`. Who has torchvision's weights passes their file and gets LPIPS 0.1 itself.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import weights
from models.torch_compat import ensure_torchvision

NETS = ("alex", "vgg")
BACKBONE_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}  # torchvision's; sha256 starts so
MIN_SIDE = 32  # pixels; below, the last feature map is empty


class PerceptualDistance:
    """A frozen distance net. Differentiable in its images; safe for several threads, for it holds no state."""

    def __init__(self, net: str = "alex", backbone: Path | None = None, device: str | None = None) -> None:
        """net: "alex" (fast, for training and crops) or "vgg" (over ten times the work).

        backbone: torchvision's file of the net's ImageNet weights, `BACKBONE_FILES[net]`, for LPIPS itself.
        WeightsError if a file is absent or another than named.
        """
        if net not in NETS:
            raise ValueError(f"net is {net!r}; known are {', '.join(NETS)}")
        ensure_torchvision()
        import lpips

        # On the meta device: nothing is allocated for, nor wasted on, random values that are replaced at once.
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # lpips calls torchvision by arguments it has deprecated
            model = lpips.LPIPS(net=net, pnet_rand=True, pretrained=False, verbose=False)
        names = list(model.state_dict())
        state = _st_lpips(net, names) if backbone is None else _lpips(net, names, backbone)
        model.load_state_dict(state, assign=True)
        self.net = net
        self.name = f"LPIPS 0.1 {net}" if backbone else f"ST-LPIPS weights in LPIPS graph, {net}"
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model = model.eval().requires_grad_(False).to(self.device)

    def distance(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
        """Distance of two pictures (H, W, 3) uint8 RGB, 0 for equal ones."""
        if a.shape != b.shape:
            raise ValueError(f"images of shape {a.shape} and {b.shape}; wanted (H, W, 3) uint8 twice")
        return self.between(self.features(a), self.features(b))

    def features(self, image: NDArray[np.uint8]) -> list[torch.Tensor]:
        """What the net sees in a picture (H, W, 3) uint8 RGB, for `between`: a truth is looked at once."""
        import lpips

        tensor = _to_tensor(image)
        if min(tensor.shape[2:]) < MIN_SIDE:
            raise ValueError(
                f"an image of {tensor.shape[3]} x {tensor.shape[2]} pixels; wanted {MIN_SIDE} at least each way"
            )
        with torch.inference_mode():
            seen = self._model.net.forward(self._model.scaling_layer(tensor.to(self.device)))
            return [lpips.normalize_tensor(layer) for layer in seen]

    def between(self, a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
        """Distance of two pictures of one size by their features."""
        with torch.inference_mode():
            heads = zip(self._model.lins, a, b, strict=True)
            return float(sum(head((p - q) ** 2).mean() for head, p, q in heads))

    def distances(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """a, b (B, 3, H, W) float32 RGB in -1..1 -> (B,); gradients flow to a and b."""
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise ValueError(f"images of shape {tuple(a.shape)} and {tuple(b.shape)}; wanted (B, 3, H, W) twice")
        if min(a.shape[2:]) < MIN_SIDE:
            raise ValueError(f"images of {a.shape[3]} x {a.shape[2]} pixels; wanted {MIN_SIDE} at least each way")
        return self._model(a.to(self.device), b.to(self.device)).flatten()


def _to_tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype}; wanted (H, W, 3) uint8")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


State = dict[str, Any]  # name -> tensor


def _load(file: Path) -> State:
    return torch.load(file, map_location="cpu", weights_only=True)


def _with_lists(names: list[str], state: State) -> State:
    """The graph knows its heads by two names, lin0 and lins.0; the files give the first."""
    return {name: state["lin" + name[5:] if name.startswith("lins.") else name] for name in names}


def _st_lpips(net: str, names: list[str]) -> State:
    """ST-LPIPS's tensors under the graph's names: convolutions by their order, the rest by name, blurs left out."""
    state = _load(weights.path(f"stlpips_{net}"))
    theirs = [name for name in state if name.startswith("net.") and not name.endswith(".filt")]
    ours = [name for name in names if name.startswith("net.")]
    convolutions = {name: state[other] for name, other in zip(ours, theirs, strict=True)}
    return _with_lists(names, {**state, **convolutions})


def _lpips(net: str, names: list[str], backbone: Path) -> State:
    """LPIPS 0.1: torchvision's convolutions, whose indices the graph keeps, and the heads that `lpips` carries."""
    import lpips

    wanted = BACKBONE_FILES[net]
    if not backbone.is_file():
        raise weights.WeightsError(f"{backbone} is not there; LPIPS with {net} needs torchvision's {wanted}")
    digest = weights.sha256_of(backbone)
    if not digest.startswith(wanted.rpartition("-")[2].removesuffix(".pth")):
        raise weights.WeightsError(f"{backbone} is not torchvision's {wanted}: its sha256 is {digest}")
    state = _load(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth")
    scaling = {f"scaling_layer.{name}": tensor for name, tensor in lpips.ScalingLayer().state_dict().items()}
    source = _load(backbone)
    convolutions = {name: source["features." + name.split(".", 2)[2]] for name in names if name.startswith("net.")}
    return _with_lists(names, {**state, **scaling, **convolutions})
