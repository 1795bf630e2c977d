"""From what evidence on a closure counts, set on speech that is neither trained on nor tested on.

Fitted heads say "shut" more or less readily by chance. As few closures are let through as a wanted recall allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from drivers.speech.head import Head
from drivers.speech.training.evaluation import Heard, events
from drivers.speech.visemes import PP

RECALL = 0.97  # of closure events: .04 above what is wanted of unknown voices, which are heard worse
START = 0.35  # evidence
THRESHOLDS = np.arange(0.75, 0.2, -0.005)  # closures tried


def calibrated(head: Head, hear: Callable[[Head], Sequence[Heard]]) -> tuple[Head, str]:
    """The head with its evidence set, and what was found; hear: the clips of choice through the driver."""
    first = replace(head, seal=START)
    heard = hear(first)
    found = ((t, *events([(c.articulation.closure > t, c.labels == PP) for c in heard])) for t in THRESHOLDS)
    threshold, count, recall, precision = next((f for f in found if f[2] >= RECALL), (THRESHOLDS[-1], 0, 0.0, 0.0))
    seal = first.evidence(float(threshold))
    said = f"closures count from evidence of {seal:.3f}: on {len(heard)} clips of choice, {count} events, "
    return replace(head, seal=seal), said + f"recall {recall:.3f} at precision {precision:.3f}"
