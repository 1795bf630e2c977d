"""The voice timeline: what is appended is heard once, in order, and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stage.sound import RATE
from stage.voice import FADE, Voice


def ramp(n: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + n).astype(np.int16)


def test_silence_then_voice_then_silence() -> None:
    v = Voice()
    start, _ = v.append(ramp(100), 50, closed=True)
    assert start == 50 and v.end == 150
    x = v.read(0, 200)
    assert not x[:50].any() and np.array_equal(x[50:150], ramp(100)) and not x[150:].any()


def test_utterances_queue_one_after_the_other() -> None:
    v = Voice()
    assert v.append(ramp(100), 0, True)[0] == 0
    assert v.append(ramp(100), 0, True)[0] == 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 3000)), min_size=1, max_size=8), st.integers(1, 700))
def test_any_reading_hears_each_sample_once(clips: list[tuple[int, int]], step: int) -> None:
    v, expected = Voice(), np.zeros(0, np.int16)
    for n, not_before in clips:
        start, _ = v.append(ramp(n), not_before, closed=False)
        expected = np.concatenate([expected, np.zeros(start - len(expected), np.int16), ramp(n)])
    heard = np.concatenate([v.read(t, step) for t in range(0, len(expected), step)])[: len(expected)]
    assert np.array_equal(heard, expected)


def test_the_net_gets_all_of_it_and_hears_where_it_begins_and_ends() -> None:
    v = Voice()
    v.append(np.ones(4800, np.int16), 0, closed=True)
    v.append(np.ones(2400, np.int16), 9600, closed=False)
    v.append(np.ones(2400, np.int16), 0, closed=False)  # follows the live chunk before
    pieces = []
    while (taken := v.take(0.02))[0] is not None:
        pieces.append(taken[0])
    assert sum(len(p.samples) for p in pieces) == (4800 + 2400 + 2400) // 3
    assert [p.start for p in pieces if p.begins] == [0, 9600]
    assert [p.start + 3 * len(p.samples) for p in pieces if p.ends] == [4800]
    assert max(len(p.samples) for p in pieces) == 320


def test_a_microphone_does_not_continue_a_finished_utterance() -> None:
    v = Voice()
    v.append(np.ones(480, np.int16), 0, closed=True)
    v.append(np.ones(480, np.int16), 0, closed=False)
    v.take(1.0)
    piece, _ = v.take(1.0)
    assert piece is not None and piece.begins and piece.start == 480


def test_cut_fades_within_30_ms_and_forgets() -> None:
    v = Voice()
    v.append(np.full(RATE, 10_000, np.int16), 0, closed=True)
    v.read(0, 960)
    assert v.cut() == 1
    x = v.read(960, 2 * FADE).astype(int)
    assert x[0] > 9_900 and (np.diff(x[:FADE]) <= 0).all() and not x[FADE:].any()
    assert v.take(1.0) == (None, 1)


def test_cut_in_silence_leaves_silence() -> None:
    v = Voice()
    v.read(0, 960)
    v.cut()
    assert not v.read(960, 4800).any() and not v.sounding(960, 4800)
