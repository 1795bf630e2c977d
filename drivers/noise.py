"""Randomness as a function: numbers that depend on (seed, stream, index) alone, so that any moment can be asked for."""

from __future__ import annotations

import math

_MASK = (1 << 64) - 1


def uniform(seed: int, stream: int, index: int) -> float:
    """0 <= u < 1, by two rounds of splitmix64 (Steele et al. 2014)."""
    z = _mix(seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + _mix(index & _MASK))
    return (z >> 11) / (1 << 53)


def between(low: float, high: float, seed: int, stream: int, index: int) -> float:
    return low + (high - low) * uniform(seed, stream, index)


def normal(seed: int, stream: int, index: int) -> float:
    """Mean 0, deviation 1 (Box and Muller), from streams `stream` and `stream` + 1."""
    u, v = uniform(seed, stream, index), uniform(seed, stream + 1, index)
    return math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)


def sway(seed: int, stream: int, time: float, slowest: float, octaves: int = 4) -> float:
    """Smooth drift of deviation near 1: sines of falling amplitude from `slowest` Hz up."""
    total = 0.0
    for k in range(octaves):
        frequency = slowest * 1.87**k * between(0.9, 1.1, seed, stream, k)
        total += math.sin(2 * math.pi * (frequency * time + uniform(seed, stream + 1, k))) / 1.6**k
    return total


def _mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
