"""From what evidence on a closure counts, set on speech that is neither trained on nor tested on.

Fitted heads say "shut" more or less readily by chance. As many closures are let through as a wanted precision allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from drivers.speech.closures import evidence_at
from drivers.speech.head import Head
from drivers.speech.solver import SEAL_OFF
from drivers.speech.training.evaluation import Heard, events
from drivers.speech.visemes import PP

PRECISION = 0.82  # of closure events: .04 above what is wanted of unknown voices, which are heard worse
START = 0.25  # evidence
THRESHOLDS = np.arange(SEAL_OFF, 0.8, 0.005)  # closures tried


def calibrated(head: Head, hear: Callable[[Head], Sequence[Heard]]) -> tuple[Head, str]:
    """The head with its evidence set, and what was found; hear: the clips of choice through the driver."""
    heard = hear(replace(head, seal=START))
    found = [(t, *events([(c.articulation.closure > t, c.labels == PP) for c in heard])) for t in THRESHOLDS]
    threshold, count, recall, precision = next((f for f in found if f[3] >= PRECISION), found[-1])
    seal = evidence_at(float(threshold), START)
    said = f"closures count from evidence of {seal:.3f}: on {len(heard)} clips of choice, {count} events, "
    return replace(head, seal=seal), said + f"recall {recall:.3f} at precision {precision:.3f}"
