"""Figures for Prometheus: how many, how fast, how far out of step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PER_SESSION = {  # metric -> (key of Session.state(), unit factor, help)
    "talkshot_fps": ("fps", 1, "Frames a second that are sent."),
    "talkshot_render_seconds": ("render_ms", 1e-3, "Smoothed time to pose and draw a frame."),
    "talkshot_encode_seconds": ("encode_ms", 1e-3, "Smoothed time to encode a frame."),
    "talkshot_skew_seconds": ("skew_ms", 1e-3, "Audio minus video lateness on the wire, median of the last frames."),
    "talkshot_skew_p95_seconds": ("skew_p95_ms", 1e-3, "95th percentile of the size of that skew."),
    "talkshot_frames_dropped": ("dropped", 1, "Frames left out because drawing was late."),
    "talkshot_degraded_steps": ("degraded", 1, "Steps of detail and rate given up to keep up; 0: none."),
    "talkshot_bitrate_bits": ("bitrate", 1, "Video bit rate aimed at, bit/s."),
    "talkshot_session_viewers": ("viewers", 1, "Viewers of the session."),
}


class _Sessions(Collector):
    """Reads the sessions when it is asked, so that nothing is counted in the frame's way."""

    def __init__(self, states: Callable[[], Iterable[dict[str, Any]]], waiting_jobs: Callable[[], int]) -> None:
        self._states, self._waiting_jobs = states, waiting_jobs

    def collect(self) -> Iterator[Metric]:
        states = list(self._states())
        yield GaugeMetricFamily("talkshot_sessions", "Sessions that are open.", value=len(states))
        yield GaugeMetricFamily("talkshot_viewers", "Viewers of all sessions.", value=sum(s["viewers"] for s in states))
        yield GaugeMetricFamily("talkshot_jobs", "Builds that wait or run.", value=self._waiting_jobs())
        for name, (key, factor, text) in PER_SESSION.items():
            family = GaugeMetricFamily(name, text, labels=["session"])
            for state in states:
                # The first characters tell sessions apart without giving their address away.
                family.add_metric([state["id"][:6]], state[key] * factor)
            yield family


class Metrics:
    def __init__(self, states: Callable[[], Iterable[dict[str, Any]]], waiting_jobs: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Sessions(states, waiting_jobs))

    def text(self) -> bytes:
        return generate_latest(self._registry)
