"""What the evaluation of speech measures: do its figures move as they should?"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avatar import asset
from drivers import mood
from drivers.mood import MOODS, Mood
from drivers.prosody import VOWEL
from drivers.speech import ears
from drivers.speech.articulation import SEALED, SHAPES
from drivers.speech.solver import sealed
from drivers.speech.training import baselines
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.visemes import AA, PP, SIL
from models.motion import ARKIT, A
from stage.evaluate import beats, lips, speech
from tests.drivers.test_prosody import syllables


def test_a_mouth_that_follows_late_is_found_at_its_lag() -> None:
    t = np.arange(200) / 50
    track = np.sin(7 * t) + np.sin(11 * t)
    film = np.arange(80) / 25
    seen = np.interp(film, t + 0.1, track)
    assert lips.correlation(film, seen, t, track, 0.1) > 0.99
    assert lips.correlation(film, seen, t, track, 0.0) < 0.8
    assert lips.correlation(film, seen, t, np.zeros(200), 0.0) == 0
    early = np.interp(np.arange(95) / 25, t - 0.1, track)
    assert lips.correlation(np.arange(95) / 25, early, t, track, -0.1) > 0.99


def test_the_gap_is_none_on_sealed_lips_and_grows_with_the_jaw(demo_avatar_path: Path) -> None:
    gap = lips.LipGap(asset.load(demo_avatar_path))
    faces = np.zeros((4, len(ARKIT)), np.float32)
    faces[1, A["jawOpen"]] = 0.1
    faces[2, A["jawOpen"]] = 0.5
    faces[3] = SEALED  # pressed and rolled in, behind them a jaw that is a little open
    faces[3, A["jawOpen"]] = faces[3, A["mouthClose"]] = 0.05
    mm = gap.track(faces)
    assert mm[0] == pytest.approx(0, abs=1e-3) and 1 < mm[1] < mm[2] < 60 and mm[3] < 1


def test_energy_only_knows_loudness_alone() -> None:
    n = RATE
    sound = np.zeros(n, np.float32)
    sound[4000:12000] = 0.3 * np.sin(np.arange(8000))
    u = Utterance("tone", sound, np.zeros(100, np.int64))
    visemes, opening = baselines.energy_only(u), baselines.energy_opening(u)
    assert (visemes[15:35] == AA).all() and (visemes[40:] == SIL).all() and PP not in visemes
    assert opening[20] > 0.9 and opening[45] == 0


def test_a_foreseen_peak_keeps_the_noise_before_a_word_shut() -> None:
    sound = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    sound[8000:12000] += 0.3 * np.sin(np.arange(4000, dtype=np.float32))
    u = Utterance("late", sound, np.zeros(50, np.int64))
    assert baselines.energy_opening(u)[2:20].min() > 0.7
    assert baselines.energy_opening(u, foreseen=True)[2:20].max() < 0.2


def test_mouths_in_films_are_timed_from_their_sound(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    with av.open(str(path), "w") as film:
        sound, picture = film.add_stream("aac", 16000), film.add_stream("mpeg4", 25)
        picture.width = picture.height = 64
        picture.time_base = Fraction(1, 1000)
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * k, np.uint8))
            frame.pts, frame.time_base = 40 * k + 200, Fraction(1, 1000)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        samples.rate = 16000
        film.mux(sound.encode(samples))
        film.mux(sound.encode(None))
    times, values = lips.openings(path, lambda rgb: float(rgb.mean()))
    assert times[0] == pytest.approx(0.2, abs=0.03) and len(values) == 20


def test_latency_counts_hop_lookahead_and_the_time_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(speech.SPEECH, "drift_seconds", 4)
    bench = object.__new__(speech.Bench)
    bench.ear = ears.open_ear("mel")
    silent = Utterance("x", np.zeros(2 * RATE, np.float32), np.zeros(200, np.int64))
    monkeypatch.setattr(speech.Bench, "fresh", [(silent, None)])
    f = speech.drift(bench)[""]
    assert 119 < f["latency p95 ms"] < 180 and f["skew p95 ms"] == 0
    owed = 4 % speech.SPEECH["hop"] + speech.SPEECH["lookahead"]  # s
    assert f["frames owed at the end ms"] == pytest.approx(1000 * owed, abs=1)


def test_the_sheet_shows_each_language_once_and_digits_first(tmp_path: Path) -> None:
    rows = [("speech/a.wav", "fr", 1), ("speech/a_digits.wav", "fr", 9), ("speech/c.wav", "it", 7),
            ("speech/b.wav", "it", 6), ("speech/gone.wav", "de", 3), ("speech/none.wav", "", 3),
            ("videos/d.mp4", "es", 3)]  # fmt: skip
    (tmp_path / "speech").mkdir()
    for name, _, _ in rows[:4]:
        (tmp_path / name).touch()
    lines = [f"{name},{language},{seconds}" for name, language, seconds in rows]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,lang,seconds", *lines]))
    assert [p.name for p in speech.shown(tmp_path)] == ["a_digits.wav", "b.wav"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no manifest\.csv"):
        speech.evaluate(speech.Task(tmp_path))
    with pytest.raises(ValueError, match="no part is called 'singing'"):
        speech.evaluate(speech.Task(tmp_path), ("singing",))


def test_beats_near_stressed_vowels_score_and_others_do_not() -> None:
    stresses = np.array([1.0, 2.0, 3.0])
    assert beats.nearness(stresses, stresses).mean() == 1
    assert beats.nearness(stresses + 0.1, stresses).mean() == pytest.approx(np.exp(-0.5))
    assert beats.nearness(stresses + 0.5, stresses).mean() < 1e-4
    assert not len(beats.nearness(np.zeros(0), stresses))


def test_a_kinematic_beat_is_where_a_stroke_ends() -> None:
    t = np.arange(0, 4, 1 / beats.FRAMES)
    speed = sum(np.exp(-(((t - at) / 0.08) ** 2)) for at in (1.0, 1.4, 3.0)) + 0.002 * np.cos(40 * t) ** 2
    found = beats.kinematic_beats(speed)
    assert len(found) == 3 and found[0] == pytest.approx(1.2, abs=0.05) and 3.0 < found[2] < 3.3


def test_the_driver_s_strokes_fall_on_the_syllables_that_stand_out() -> None:
    at = [1.0, 1.8, 2.6, 3.5]
    said = [beats.Said("made", syllables(at, 5.0), np.array(at) - VOWEL)]
    f = beats.figures(said)
    assert f["strokes"]["strokes"] == 4 and abs(f["strokes"]["apex after the vowel's beginning, median ms"]) < 30
    assert f["strokes, microphone"]["apex after the vowel's beginning, median ms"] > 100
    assert f["head"]["driver"] > f["head"]["shifted at random"]


def test_the_stressed_vowel_of_a_word_is_told_and_weak_words_have_none() -> None:
    class Dictionary:
        def phonemes(self, texts: list[str], voice: str) -> list[str]:
            return [{"america": "ɐmˈɛɹɪkə", "the": "ðə", "go": "ɡˈo^ʊ"}[t] for t in texts]

    words = [
        ("the", [(0.0, "DH"), (0.1, "AH")]),
        ("america", [(0.2, "AH"), (0.3, "M"), (0.4, "EH"), (0.5, "R"), (0.6, "IH"), (0.7, "K"), (0.8, "AH")]),
        ("go", [(1.0, "ɡ"), (1.1, "oʊ")]),
    ]
    np.testing.assert_allclose(beats.stressed(words, Dictionary()), [0.4, 1.1])  # type: ignore[arg-type]


def test_lips_rest_shut_and_close_in_every_mood_of_a_smiling_photo(demo_avatar_path: Path) -> None:
    gap = lips.LipGap(asset.load(demo_avatar_path))
    closures = [sealed(np.zeros(len(ARKIT), np.float32), 1.0), SHAPES[PP], sealed(SHAPES[AA].copy(), 1.0)]
    for name in MOODS:
        look = mood.look(Mood(name))[:-3]
        assert max(gap.mm(mood.spoken(face, look)) for face in closures) < 0.5
        assert (gap.mm(look) < 1) != (name == "surprised")
