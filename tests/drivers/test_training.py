"""The training's own parts: labels lie where the sound is, nothing of the test is trained on, scores score."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from drivers.speech.articulation import JAW_OPENING
from drivers.speech.head import OUTPUTS, Articulation, Head
from drivers.speech.training import corpus, evaluation, flite
from drivers.speech.training.augmentation import augment, not_speech
from drivers.speech.training.calibration import START, calibrated
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.training.fit import RECENT, Shape, curve_target, fit, frame_weights
from drivers.speech.training.synthesis import labels_of, utterance
from drivers.speech.training.windows import FRAMES, Windows, of_utterance
from drivers.speech.visemes import (
    AA,
    ARPABET_VISEME,
    FF,
    IY,
    MOUTH_GROUP,
    N_VISEMES,
    PP,
    SIL,
    TH,
    VISEMES,
    from_arpabet,
    from_ipa,
)
from drivers.text.espeak import Espeak

torch = pytest.importorskip("torch")


def test_phonemes_of_both_alphabets_map_alike():
    pairs = {"b": "B", "m": "M", "f": "F", "v": "V", "θ": "TH", "t": "T", "k": "K", "tʃ": "CH", "dʒ": "JH", "s": "S",
             "n": "N", "ɹ": "R", "iː": "IY", "uː": "UW", "oʊ": "OW", "ɛ": "EH", "æ": "AE", "ˈɑː": "AA"}  # fmt: skip
    for ipa, arpabet in pairs.items():
        assert from_ipa(ipa) == from_arpabet(arpabet), (ipa, arpabet)
    assert from_arpabet("AH0") == AA and from_arpabet("SIL") == SIL and from_arpabet("+NSN+") == SIL
    assert from_ipa("ˈ") is None and from_ipa("") is None
    assert len(ARPABET_VISEME) == 39 and set(ARPABET_VISEME.values()) == set(range(1, N_VISEMES))
    assert len(MOUTH_GROUP) == len(VISEMES)


def test_labels_start_with_their_phoneme_and_last_to_the_next():
    labels = labels_of([(0.01, "p"), (0.11, "ɑː"), (0.31, "ˌ"), (0.41, "")], RATE // 2)
    assert labels[0:10].tolist() == [PP] * 10
    assert labels[10:40].tolist() == [AA] * 30  # a bare mark changes nothing
    assert labels[40:].tolist() == [SIL] * 10


def test_espeak_says_its_phonemes_when_it_says_them():
    if not shutil.which("espeak-ng"):
        pytest.skip("needs espeak-ng (Debian: apt install espeak-ng)")
    espeak, other = Espeak(), Espeak()
    try:
        u = utterance(espeak, "papa", "en-us", 150, 50)
        again = utterance(other, "papa", "en-us", 150, 50)
        with pytest.raises(RuntimeError, match="no voice"):
            utterance(espeak, "hello", "xx-none", 150, 50)
    finally:
        espeak.close()
        other.close()
    assert np.array_equal(u.samples, again.samples) and len(u.labels) == len(u.samples) // 160
    assert {PP, AA} <= set(u.labels)
    level = np.sqrt(np.mean(u.samples[: len(u.labels) * 160].reshape(-1, 160) ** 2, 1))
    assert level[u.labels == AA].mean() > 2 * level[u.labels == PP].mean()  # the closure of a p is quiet


def test_flites_phones_last_to_their_ends():
    labels = flite.labels_of("pau:0.106 m:0.206 ax:0.306 p:0.406", RATE // 2)
    assert len(labels) == 50
    np.testing.assert_array_equal(labels[[5, 12, 22, 32]], [SIL, PP, AA, PP])
    assert (labels[10:20] == PP).all() and (labels[20:30] == AA).all() and (labels[41:] == SIL).all()


def test_augmentation_moves_labels_with_the_sound():
    n = RATE
    samples = np.zeros(n, np.float32)
    samples[4000:12000] = 0.5 * np.sin(np.arange(8000))
    labels = np.zeros(100, np.int64)
    labels[25:75] = AA
    for seed in range(20):
        u = augment(Utterance("x", samples, labels), np.random.default_rng(seed))
        assert np.isfinite(u.samples).all() and abs(len(u.labels) - len(u.samples) // 160) <= 1
        level = np.abs(u.samples[: len(u.labels) * 160].reshape(-1, 160)).mean(1)
        loud = np.flatnonzero(level > 0.5 * level.max())
        said = np.flatnonzero(u.labels == AA)
        assert abs(loud[0] - said[0]) <= 2 and abs(loud[-1] - said[-1]) <= 5  # a room rings on


def test_what_is_not_speech_is_labelled_silent_and_audible():
    kinds = set()
    for seed in range(24):
        u = not_speech(np.random.default_rng(seed), 2.0)
        kinds.add(u.name)
        assert not u.labels.any() and len(u.labels) == 200 and 1e-5 < u.samples.std() < 0.6
    assert len(kinds) == 4


def test_recordings_of_the_test_are_never_read(tmp_path, monkeypatch):
    for name in ("LJ001-0001", "LJ001-0008", "LJ001-0009", "LJ001-0010"):
        (tmp_path / f"{name}.wav").touch()
    monkeypatch.setattr(corpus, "load_sound", lambda path, rate: np.zeros(10))
    text = tmp_path / "transcripts.csv"
    text.write_text("LJ001-0001|one\nLJ001-0009|nine\n")
    assert [n for n, _, _ in corpus.recorded(tmp_path, text)] == ["LJ001-0009"]
    assert [n for n, _, _ in corpus.recorded(tmp_path)] == ["LJ001-0009", "LJ001-0010"]


class Position:
    """An encoder whose only feature is the first sample of the frame."""

    def features(self, window):
        return window[::320, None].repeat(384, 1)


def test_windows_pair_each_frame_with_the_label_at_its_time():
    labels = np.arange(300) % N_VISEMES
    samples = np.repeat(labels, 160).astype(np.float32)
    w = of_utterance(Utterance("u", samples, labels), Position(), np.random.default_rng(0), seconds=1.0)
    assert len(w.labels) > 8 and w.features.shape == (len(w.labels), FRAMES, 384)
    heard = w.features[:, :, 0].astype(int)
    inside = np.abs(w.features[:, :, 0]) >= 0.5  # not in the faint noise before the beginning
    assert np.array_equal(heard[inside], w.labels[inside])


def test_windows_are_kept_with_what_their_building_said(tmp_path):
    made = Windows(np.ones((2, FRAMES, 4), np.float16), np.zeros((2, FRAMES), int), np.array(["LJ", "espeak:en"]))
    made.save(tmp_path / "windows.npz", ["recorded: 1 min"], 7.0)
    kept, notes, spent = Windows.load(tmp_path / "windows.npz")
    assert np.array_equal(kept.features, made.features) and kept.source.tolist() == ["LJ", "espeak:en"]
    assert notes == ["recorded: 1 min"] and spent == 7


def test_the_fit_learns_what_can_be_learned_and_is_repeatable():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_VISEMES, (400, FRAMES))
    features = rng.normal(0, 0.3, (400, FRAMES, 384)).astype(np.float16)
    np.put_along_axis(features, labels[..., None], 3.0, 2)
    data = Windows(features, labels, np.full(400, "x"))
    head = fit(data, np.ones(400), 150, shape=Shape(64, 64, 1, 1))
    heard = head(np.pad(features.reshape(-1, 384).astype(np.float32), ((head.past, 0), (0, 0))))
    assert (heard.visemes.argmax(1) == labels.reshape(-1)).mean() > 0.97
    assert ((heard.closure > 0.5) == (labels.reshape(-1) == PP)).mean() > 0.97
    again = fit(data, np.ones(400), 150, shape=Shape(64, 64, 1, 1))
    assert np.array_equal(head.w1, again.w1) and np.array_equal(head.b2, again.b2)


def test_the_mean_of_heads_is_the_mean_of_what_they_say():
    rng = np.random.default_rng(0)
    data = Windows(
        rng.standard_normal((24, FRAMES, 8)).astype(np.float16),
        rng.integers(0, N_VISEMES, (24, FRAMES)),
        np.array(["x"] * 24),
    )
    heads = [fit(data, np.ones(24), 3, seed, Shape(projection=6, hidden=10)) for seed in (0, 1)]
    x = rng.standard_normal((12, 8)).astype(np.float32)
    both = Head.mean(heads)
    np.testing.assert_allclose(both.logits(x), np.mean([h.logits(x) for h in heads], 0), atol=1e-4)


def test_frames_that_are_used_live_count_more():
    weight = frame_weights(40).numpy()
    assert weight.mean() == pytest.approx(1) and (weight[-RECENT:] > 2 * weight[0]).all()


def test_the_jaw_target_is_smooth_and_keeps_held_vowels():
    y = torch.tensor([[SIL] * 6 + [AA] * 8 + [SIL] * 6])
    jaw = curve_target(y, JAW_OPENING)[0]
    assert jaw[10] == pytest.approx(0.9) and jaw[0] == 0 and jaw.diff().abs().max() < 0.4


def test_closures_count_from_the_evidence_that_the_wanted_recall_allows():
    """Ten true closures heard as .40, five false ones as .35: what counts comes to lie between."""
    said = np.array(([SIL] * 8 + [PP] * 2) * 10 + [AA] * 100)
    closure = np.zeros(len(said), np.float32)
    closure[said == PP] = 0.40
    closure[100 + 20 * np.arange(5)] = 0.35
    zero = np.zeros((1, 1), np.float32)
    head = Head(zero, zero[0], zero, zero[0], np.zeros((OUTPUTS, 1), np.float32), np.zeros(OUTPUTS, np.float32), 0, 0)
    asked: list[float | None] = []

    def heard(h: Head):  # type: ignore[no-untyped-def]
        asked.append(h.seal)
        return [clip(said, said, closure)]

    moved, found = calibrated(head, heard)
    assert asked == [START] and "recall 1.000 at precision 1.000" in found
    first = replace(head, seal=START)
    assert moved.seal is not None
    assert first.evidence(0.35) < moved.seal < first.evidence(0.40)


# ---- scores ---------------------------------------------------------------------------------------------------------


def clip(heard, said, closure=None):
    heard, said = np.array(heard), np.array(said)
    p = np.eye(N_VISEMES, dtype=np.float32)[heard]
    c = (heard == PP).astype(np.float32) if closure is None else closure
    jaw = np.array([0.0, 0, 0.1, 0.2, 0.2, 0.3, 0.1, 0.1, 0.2, 0.3, 0.9, 0.6, 0.3, 0.6, 0.3])[heard]
    return evaluation.Heard("clip", Articulation(p, c, jaw), jaw * (c < 0.5), said, np.zeros((len(said), 52)))


WORD = [SIL] * 12 + [PP] * 4 + [AA] * 10 + [FF] * 5 + [IY] * 9 + [PP] * 4 + [SIL] * 12


def test_perfect_hearing_scores_perfectly():
    s = evaluation.scores([clip(WORD, WORD)])
    for key in ("mouth group accuracy", "viseme accuracy", "viseme macro F1", "closure frames recall",
                "closure events recall", "closure events precision", "mouth shut events recall"):  # fmt: skip
        assert s[key] == 1, key
    assert s["closure events"] == 2 and s["onset error ms"] == 0 and s["mouth lag ms"] == 0


def test_late_hearing_shows_as_onset_error_and_lag():
    s = evaluation.scores([clip([SIL] * 3 + WORD[:-3], WORD)])
    assert s["onset error ms"] == pytest.approx(60, abs=10) and s["mouth lag ms"] == 60
    assert s["closure events recall"] == 1  # their ends still overlap
    assert s["closure frames recall"] < 0.5


def test_missed_and_invented_closures_count():
    deaf = clip([AA if v == PP else v for v in WORD], WORD)
    assert evaluation.scores([deaf])["closure events recall"] == 0
    wild = clip([PP if v == FF else v for v in WORD], WORD)
    assert evaluation.scores([wild])["closure events precision"] == pytest.approx(2 / 3)


def test_confusions_within_a_mouth_group_are_half_forgiven():
    s = evaluation.accuracy(np.array([FF, AA] * 3), np.array([TH, AA] * 3))
    assert s["viseme accuracy"] == 0.5 and s["mouth group accuracy"] == 1
