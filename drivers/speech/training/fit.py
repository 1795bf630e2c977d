"""Fit a head: per-frame projection, a few frames of context, one hidden layer (torch, one thread, seeded)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from drivers.speech.articulation import JAW_OPENING, LIP_OPENING, LIP_ROUNDING
from drivers.speech.head import APERTURE, CLOSURE, JAW, OUTPUTS, ROUNDING, Head
from drivers.speech.training.windows import Windows
from drivers.speech.visemes import N_VISEMES, PP

BATCH = 96  # windows
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05
CLOSURE_WEIGHT, REGRESSION_WEIGHT = 0.5, 2.0
RECENT, BEFORE = 6, 0.4  # the newest frames learned, those that are live, count 1; those before, which heard more, this
CURVES = {JAW: JAW_OPENING, APERTURE: LIP_OPENING, ROUNDING: LIP_ROUNDING}  # output -> its value in each viseme


@dataclass(frozen=True)
class Shape:
    """Of a head. A frame is handed out 60 ms after it was heard at least, so `ahead` may be 3 without any delay."""

    projection: int = 72
    hidden: int = 224
    past: int = 4
    ahead: int = 3
    dropout: float = 0.3  # of features
    hidden_dropout: float = 0.1


SHAPES = {"mel": Shape(projection=48, hidden=192, past=10, ahead=2, dropout=0.0)}  # by encoder; others as Shape()


class Net(nn.Module):
    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.w0 = nn.Linear(width, shape.projection)
        self.w1 = nn.Linear(shape.projection * (shape.past + 1 + shape.ahead), shape.hidden)
        self.w2 = nn.Linear(shape.hidden, OUTPUTS)
        self.drop = nn.Dropout(shape.dropout)
        self.drop_hidden = nn.Dropout(shape.hidden_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K, D) -> (N, K - past - ahead, OUTPUTS)"""
        frames = self.w0(self.drop(x))
        context = self.shape.past + self.shape.ahead
        n = frames.shape[1] - context
        around = torch.cat([frames[:, i : i + n] for i in range(context + 1)], -1)
        return self.w2(self.drop_hidden(F.gelu(self.w1(around))))


def curve_target(labels: torch.Tensor, values: tuple[float, ...]) -> torch.Tensor:
    """(N, K) visemes -> (N, K) of a part's movement, smoothed over about 100 ms, for jaw and lips have mass."""
    window = torch.hann_window(7, periodic=False)[1:-1]
    opening = torch.tensor(values)[labels]
    padded = F.pad(opening[:, None], (2, 2), mode="replicate")
    return F.conv1d(padded, (window / window.sum())[None, None])[:, 0]


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """Rare visemes count more, by the power .3 of their rarity."""
    count = torch.bincount(labels.reshape(-1), minlength=N_VISEMES).float() + 1
    weight = (count.mean() / count) ** 0.3
    return weight / weight.mean()


def fit(
    data: Windows,
    importance: np.ndarray,
    iterations: int = 2600,
    seed: int = 0,
    shape: Shape = Shape(),
) -> Head:
    """`importance` (N,): how often each window is drawn, relative to the others."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(data.features)
    y = torch.from_numpy(data.labels).long()
    learned = slice(shape.past, y.shape[1] - shape.ahead)
    curves = {k: curve_target(y, values)[:, learned] for k, values in CURVES.items()}
    weight = class_weights(y)
    sample = x[torch.from_numpy(rng.choice(len(x), min(2000, len(x)), replace=False))].float()
    mean, deviation = sample.mean((0, 1)), sample.std((0, 1)) + 1e-3
    net = Net(x.shape[2], shape)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, iterations, pct_start=0.1)
    p = importance / importance.sum()
    frames = frame_weights(learned.stop - learned.start)
    for _ in range(iterations):
        i = torch.from_numpy(rng.choice(len(x), BATCH, p=p))
        out = net((x[i].float() - mean) / deviation)
        loss = _loss(out, y[i][:, learned], {k: c[i] for k, c in curves.items()}, weight, frames)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    layers = [t.detach().numpy() for layer in (net.w0, net.w1, net.w2) for t in (layer.weight, layer.bias)]
    return Head.of(mean.numpy(), deviation.numpy(), layers, shape.past, shape.ahead)


def frame_weights(n: int) -> torch.Tensor:
    """(n,) of mean 1"""
    weight = torch.full((n,), BEFORE)
    weight[-RECENT:] = 1
    return weight / weight.mean()


def _loss(
    out: torch.Tensor, y: torch.Tensor, curves: dict[int, torch.Tensor], weight: torch.Tensor, frames: torch.Tensor
) -> torch.Tensor:
    logits = out[..., :N_VISEMES].transpose(1, 2)
    each = F.cross_entropy(logits, y, weight=weight, label_smoothing=LABEL_SMOOTHING, reduction="none")
    visemes = (each * frames).sum() / (weight[y] * frames).sum()
    shut, positive = (y == PP).float(), torch.tensor(2.0)
    each = F.binary_cross_entropy_with_logits(out[..., CLOSURE], shut, pos_weight=positive, reduction="none")
    closure = (each * frames).mean()
    regressions = torch.stack([((torch.sigmoid(out[..., k]) - c) ** 2 * frames).mean() for k, c in curves.items()])
    return visemes + CLOSURE_WEIGHT * closure + REGRESSION_WEIGHT * regressions.sum()
