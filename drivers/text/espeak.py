"""The espeak-ng program beside ours: started when it is first needed, asked over a pipe, ended with us."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REMEDY = "install espeak-ng (Debian: apt install espeak-ng)"
PATIENCE = 20.0  # s for one answer; a sentence takes some ten milliseconds


class EspeakError(RuntimeError):
    """espeak-ng is not there, has ended, or has no such voice; the message says which, and the remedy."""


@dataclass(frozen=True)
class Speech:
    """What was said: samples, and what began when."""

    samples: NDArray[np.int16]  # (n,)
    rate: int  # Hz
    phonemes: list[tuple[float, str]]  # s, IPA; empty where there is silence
    words: list[tuple[float, int]]  # s, characters of the text before it


class Espeak:
    """One process; threads take turns. After it was lost, the next question starts another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.rate = 0

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int = 50) -> Speech:
        """rate in words a minute, pitch and its range 0..99. Raises EspeakError."""
        request = {"text": text.replace("\0", " "), "voice": voice, "rate": rate, "pitch": pitch, "range": pitch_range}
        with self._lock:
            answer, pcm = self._ask(request)
        samples = np.frombuffer(pcm, np.int16)
        return Speech(samples, self.rate, [(t, p) for t, p in answer["phonemes"]], [(t, n) for t, n in answer["words"]])

    def phonemes(self, texts: Sequence[str], voice: str) -> list[str]:
        """The IPA of each text without its sound, compound sounds tied by ^. Raises EspeakError."""
        request = {"ipa": [text.replace("\0", " ") for text in texts], "voice": voice}
        with self._lock:
            return list(self._ask(request)[0]["ipa"])

    def voices(self) -> list[tuple[str, list[str], str, int]]:
        """(name, languages, file, gender: 0 unknown, 1 male, 2 female) of each. Raises EspeakError."""
        with self._lock:
            return [tuple(v) for v in self._ask({"voices": True})[0]["voices"]]

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            process, self._process = self._process, None
        if process and process.stdin:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        process = self._process or self._start()
        try:
            answer, sound = _exchange(process, json.dumps(request).encode() + b"\n")
        except (OSError, ValueError) as e:
            self._process = None
            process.kill()
            process.wait()
            raise EspeakError(f"the espeak-ng process ended; {REMEDY}") from e
        if "error" in answer:
            raise EspeakError(answer["error"])
        return answer, sound

    def _start(self) -> subprocess.Popen[bytes]:
        worker = Path(__file__).with_name("espeak_worker.py")
        # A session of its own, so that an interrupt from the keyboard reaches us alone; end of input ends it.
        command = [sys.executable, "-I", "-S", str(worker)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **pipes)
        try:
            hello, _ = _exchange(process, b"")
        except (OSError, ValueError) as e:
            hello = {"error": f"the espeak-ng process does not start ({e})"}
        if "error" in hello:
            process.kill()
            process.wait()
            raise EspeakError(f"{hello['error']}; {REMEDY}")
        self._process, self.rate = process, hello["rate"]
        return process


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> tuple[dict[str, Any], bytes]:
    """Send a line, read the answer and its samples. Raises OSError or ValueError where there is none in time."""
    assert process.stdin and process.stdout
    alarm = threading.Timer(PATIENCE, process.kill)
    alarm.start()
    try:
        process.stdin.write(request)
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        n = 2 * answer.get("samples", 0)
        sound = process.stdout.read(n)
    finally:
        alarm.cancel()
    if len(sound) != n:
        raise ValueError("the answer breaks off")
    return answer, sound
