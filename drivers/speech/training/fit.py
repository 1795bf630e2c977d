"""Fit the head: a multilayer perceptron on single encoder frames (torch, one thread, seeded)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from drivers.speech.articulation import JAW_OPENING
from drivers.speech.head import CLOSURE, JAW, OUTPUTS, Head
from drivers.speech.training.windows import Windows
from drivers.speech.visemes import N_VISEMES, PP

HIDDEN = 256  # with this much dropout, better than 128 on recordings held out of the training
BATCH = 96  # windows
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
DROPOUT = 0.3
LABEL_SMOOTHING = 0.05
CLOSURE_WEIGHT, JAW_WEIGHT = 0.5, 4.0


def jaw_target(labels: torch.Tensor) -> torch.Tensor:
    """(N, K) visemes -> (N, K) jaw opening smoothed over about 100 ms, for a jaw has mass."""
    window = torch.hann_window(7, periodic=False)[1:-1]
    opening = torch.tensor(JAW_OPENING)[labels]
    padded = F.pad(opening[:, None], (2, 2), mode="replicate")
    return F.conv1d(padded, (window / window.sum())[None, None])[:, 0]


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """Rare visemes count more, by the power .3 of their rarity."""
    count = torch.bincount(labels.reshape(-1), minlength=N_VISEMES).float() + 1
    weight = (count.mean() / count) ** 0.3
    return weight / weight.mean()


def fit(data: Windows, importance: np.ndarray, iterations: int = 1300, seed: int = 0) -> Head:
    """`importance` (N,): how often each window is drawn, relative to the others."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(data.features)
    y = torch.from_numpy(data.labels).long()
    jaw, weight = jaw_target(y), class_weights(y)
    sample = x[torch.from_numpy(rng.choice(len(x), min(2000, len(x)), replace=False))].float()
    mean, deviation = sample.mean((0, 1)), sample.std((0, 1)) + 1e-3
    first, second = nn.Linear(x.shape[2], HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
    net = nn.Sequential(nn.Dropout(DROPOUT), first, nn.GELU(), second)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, iterations, pct_start=0.1)
    p = importance / importance.sum()
    for _ in range(iterations):
        i = torch.from_numpy(rng.choice(len(x), BATCH, p=p))
        loss = _loss(net((x[i].float() - mean) / deviation), y[i], jaw[i], weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    layers = (mean, deviation, first.weight, first.bias, second.weight, second.bias)
    return Head.of(*(t.detach().numpy() for t in layers))


def _loss(out: torch.Tensor, y: torch.Tensor, jaw: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    logits = out[..., :N_VISEMES].reshape(-1, N_VISEMES)
    visemes = F.cross_entropy(logits, y.reshape(-1), weight=weight, label_smoothing=LABEL_SMOOTHING)
    closure = F.binary_cross_entropy_with_logits(out[..., CLOSURE], (y == PP).float(), pos_weight=torch.tensor(2.0))
    return visemes + CLOSURE_WEIGHT * closure + JAW_WEIGHT * F.mse_loss(torch.sigmoid(out[..., JAW]), jaw)
