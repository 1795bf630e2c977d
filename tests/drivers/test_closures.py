"""Closures as events: heard twice, over more than a frame, and no wider than they are."""

import numpy as np
import pytest

from drivers.speech.closures import Closures, evidence_at
from drivers.speech.head import Articulation
from drivers.speech.solver import SEAL_OFF, SEAL_ON
from drivers.speech.visemes import AA, N_VISEMES, PP

SEAL = 0.25


def articulation(closure, viseme=None):
    closure = np.asarray(closure, np.float32)
    p = np.zeros((len(closure), N_VISEMES), np.float32)
    p[:, PP] = closure if viseme is None else viseme
    p[:, AA] = 1 - p[:, PP]
    return Articulation(p, closure, np.zeros(len(closure), np.float32))


def shut(closure, viseme=None):
    heard = articulation(closure, viseme)
    return np.flatnonzero(Closures(SEAL)(heard, len(heard.closure)) > SEAL_ON).tolist()


def test_a_weak_closure_of_some_frames_counts_and_one_of_a_single_frame_does_not():
    weak = np.zeros(20)
    weak[8:11] = 0.35
    assert shut(weak) == [8, 9, 10]
    splinter = np.zeros(20)
    splinter[8] = 0.45
    assert shut(splinter) == []


def test_what_only_one_of_both_outputs_hears_does_not_count():
    heard = np.zeros(20)
    heard[8:11] = 0.9
    assert shut(heard, 0.05 * (heard > 0)) == [] and shut(0.05 * (heard > 0), heard) == []


def test_a_strong_closure_does_not_spread_over_its_flanks():
    flanked = np.zeros(20)
    flanked[6:13] = 0.4
    flanked[8:11] = 1.0
    assert shut(flanked) == [8, 9, 10]
    out = Closures(SEAL)(articulation(flanked), 20)
    assert (out[[6, 12]] < SEAL_OFF).all()  # the solver lets go there


@pytest.mark.parametrize("hop", [1, 2, 3, 7])
def test_how_it_is_cut_into_hops_changes_nothing(hop):
    closure = np.random.default_rng(0).random(60).astype(np.float32) ** 3
    whole = Closures(SEAL)(articulation(closure), 60)
    closures, out = Closures(SEAL), []
    for i in range(0, 60, hop):
        part = closure[i : i + hop + 3]  # three provisional ones are all that is looked ahead
        out.append(closures(articulation(part), min(hop, 60 - i))[:hop])
    np.testing.assert_allclose(np.concatenate(out), whole, atol=1e-6)


def test_evidence_is_given_out_as_the_solvers_threshold():
    assert evidence_at(SEAL_ON, SEAL) == pytest.approx(SEAL)
    steady = Closures(SEAL)(articulation(np.full(9, SEAL)), 9)
    np.testing.assert_allclose(steady[3:], SEAL_ON, atol=1e-6)


def test_reset_forgets():
    closures, quiet = Closures(SEAL), articulation(np.zeros(9))
    closures(articulation(np.ones(9)), 9)
    closures.reset()
    assert not closures(quiet, 9).any()
