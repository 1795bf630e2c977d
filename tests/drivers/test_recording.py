"""Recordings: what iPhones and motion files hold comes in whole; what is wrong is named with its place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.recording import RecordingError, load
from models.motion import ARKIT, GROUP, HEAD, NECK, A, Motion, MotionTrack, compose_rotations
from tests.conftest import shared_file as shared

NAMES = [n[0].upper() + n[1:] for n in sorted(ARKIT, reverse=True)]  # the app's own order is not ARKIT's
TURNS = ["HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"]


def csv_text(codes, values=None, names=NAMES, turns=None):
    values = np.zeros((len(codes), len(names))) if values is None else values
    turns = np.zeros((len(codes), len(TURNS))) if turns is None else turns
    rows = [",".join(["Timecode", "BlendshapeCount", *names, *TURNS])]
    for code, v, t in zip(codes, values, turns):
        rows.append(",".join([code, "61", *(f"{x:.10f}" for x in (*v, *t))]))
    return "\n".join(rows) + "\n"


def codes(n, fps=60, start=0):
    return [f"10:20:{(i + start) // fps:02d}:{(i + start) % fps:02d}.000" for i in range(n)]


def written(tmp_path, text, name="take.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf8")
    return path


def test_a_csv_keeps_every_coefficient_by_name_and_its_times(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (130, 52))
    track = load(written(tmp_path, csv_text(codes(130), values)))
    assert len(track) == 130 and track.time[0] == 0 and track.time[-1] == pytest.approx(129 / 60)
    for i, name in enumerate(NAMES):
        assert np.allclose(track.face[:, ARKIT.index(name[0].lower() + name[1:])], values[:, i], atol=1e-6)
    said = {g for g in GROUP if track.weight[0, GROUP[g]]}
    assert said == {"mouth", "brows", "lids", "gaze"}  # a head of zeros was not captured


def test_a_captured_head_turns_neck_and_head_together(tmp_path):
    turns = np.zeros((3, len(TURNS)))
    turns[:, 0] = [0, 0.3, -0.3]  # yaw to the person's right is positive in the file
    turns[:, 1] = [0.2, 0, 0]
    track = load(written(tmp_path, csv_text(codes(3), turns=turns)))
    total = compose_rotations(track.pose[:, HEAD], track.pose[:, NECK])
    assert np.allclose(total, [[0.2, 0, 0], [0, -0.3, 0], [0, 0.3, 0]], atol=1e-5)
    assert (track.weight[:, GROUP["head"]] == 1).all()
    assert np.linalg.norm(track.pose[1, NECK]) < np.linalg.norm(track.pose[1, HEAD])


def test_midnight_repeated_and_out_of_range_values(tmp_path):
    times = ["23:59:59:58.0", "23:59:59:59.0", "23:59:59:59.0", "00:00:00:00.0"]
    values = np.zeros((4, 52))
    values[1] = 7
    track = load(written(tmp_path, csv_text(times, values)))
    assert np.allclose(track.time, [0, 1 / 60, 2 / 60]) and track.face.max() == 1


def test_no_tongue_and_other_line_ends_are_fine(tmp_path):
    names = [n for n in NAMES if n != "TongueOut"]
    path = written(tmp_path, "\ufeff" + csv_text(codes(5), names=names).replace("\n", "\r\n"))
    assert load(path).face[:, A["tongueOut"]].max() == 0


def edit(row, column, value):
    def apply(text):
        lines = [line.split(",") for line in text.splitlines()]
        lines[row][column] = value
        return "\n".join(",".join(x) for x in lines)

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "is empty"),
        (lambda t: t.splitlines()[0], "no frames"),
        (lambda t: "a letter\n" * 9, "neither a motion npz nor a Live Link Face csv"),
        (lambda t: t.replace("JawOpen", "Chin"), "1 of 52 ARKit columns are missing: jawOpen"),
        (edit(3, 5, "wide"), r"line 4, \w+: 'wide' is not a number"),
        (edit(3, 5, "nan"), "line 4, .* is not a finite number"),
        (edit(2, 0, "yesterday"), "line 3: timecode 'yesterday'"),
        (edit(2, 0, "10:20"), "line 3: timecode '10:20'"),
        (edit(5, 0, "10:19:00:00.0"), "line 6: time runs backwards"),
        (edit(5, 0, "10:20:00:999"), "frame 999"),
        (lambda t: t[: len(t) - 300], "fields; the heading has"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, change, words):
    path = written(tmp_path, change(csv_text(codes(8))))
    with pytest.raises(RecordingError, match=words) as e:
        load(path)
    assert "take.csv" in str(e.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "picture.npz").write_bytes(b"\x89PNG" + bytes(range(256)))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    np.savez(tmp_path / "other.npz", pixels=np.zeros((4, 4)))
    for name in ("picture.npz", "broken.npz", "other.npz"):
        with pytest.raises(RecordingError, match=name):
            load(tmp_path / name)


def test_a_motion_file_comes_back_from_time_zero(tmp_path):
    motions = [Motion(time=5 + i / 30) for i in range(4)]
    for i, m in enumerate(motions):
        m.face[A["jawOpen"]], m.weight[GROUP["mouth"]] = i / 4, 1
    MotionTrack.of(motions).save(tmp_path / "m.npz")
    track = load(tmp_path / "m.npz")
    assert np.allclose(track.time, np.arange(4) / 30) and np.allclose(track.face[:, A["jawOpen"]], np.arange(4) / 4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_csv_loads_finite_or_is_refused(tmp_path_factory, data):
    raw = bytearray(csv_text(codes(4)).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("csv") / "take.csv"
    path.write_bytes(raw)
    try:
        track = load(path)
    except RecordingError:
        return
    assert np.isfinite(track.face).all() and np.isfinite(track.pose).all() and (np.diff(track.time) > 0).all()


@pytest.mark.parametrize(
    ("name", "frames", "seconds"),
    [("llf_164.csv", 1895, 31.6), ("llf_neutral_idle_50s.csv", 3046, 50.8), ("llf_161_fearful.csv", 1846, 30.8),
     ("llf_167_sad.csv", 1825, 30.4)],
)  # fmt: skip
def test_real_captures(name, frames, seconds):
    track = load(shared(f"motion/{name}"))
    assert abs(len(track) - frames) < 5 and track.time[-1] == pytest.approx(seconds, abs=0.2)
    assert np.median(np.diff(track.time)) == pytest.approx(1 / 60, rel=0.05)
    assert track.face[:, A["eyeBlinkLeft"]].max() > 0.5 and track.face.min() >= 0 and track.face.max() <= 1
