"""A process of its own around the espeak-ng library: text in, sound and phoneme times out.

espeak-ng is GPL-3 and is never loaded into Talkshot itself; this program is started by `synthesis.py` for training
only. It reads one JSON object a line on stdin ({"text", "voice", "rate", "pitch", "range"}) and answers each with one
JSON line ({"rate", "samples", "phonemes": [[s, ipa], ...]}) followed by the samples, int16, on stdout.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import sys

import numpy as np

AUDIO_OUTPUT_SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA = 2, 1, 2
EVENT_END, EVENT_PHONEME = 0, 7
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
CHARS_UTF8 = 1


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("uid", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]  # fmt: skip


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Voice:
    def __init__(self) -> None:
        name = os.environ.get("ESPEAK_NG_LIBRARY") or ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        data = os.environ.get("ESPEAK_NG_DATA")
        self.library = ctypes.CDLL(name)
        options = PHONEME_EVENTS | PHONEME_IPA
        self.rate = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode() if data else None, options
        )
        self.callback = Callback(self._collect)
        self.library.espeak_SetSynthCallback(self.callback)
        self.samples: list[np.ndarray] = []
        self.phonemes: list[tuple[float, str]] = []

    def _collect(self, wave, count, events) -> int:
        if wave and count > 0:
            self.samples.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != EVENT_END:
            if events[i].type == EVENT_PHONEME:
                raw = ctypes.string_at(ctypes.addressof(events[i]) + Event.id.offset, 8)
                ipa = raw.split(b"\0")[0].decode("utf8", "ignore")
                self.phonemes.append((events[i].audio_position / 1000, ipa))
            i += 1
        return 0

    def say(self, request: dict) -> tuple[np.ndarray, list[tuple[float, str]]]:
        if self.library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {request['voice']!r}")
        for parameter, key in ((PARAMETER_RATE, "rate"), (PARAMETER_PITCH, "pitch"), (PARAMETER_RANGE, "range")):
            self.library.espeak_SetParameter(parameter, int(request[key]), 0)
        self.samples, self.phonemes = [], []
        text = request["text"].encode()
        self.library.espeak_Synth(text, len(text) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        self.library.espeak_Synchronize()
        return (np.concatenate(self.samples) if self.samples else np.zeros(0, np.int16)), self.phonemes


def main() -> None:
    voice = Voice()
    for line in sys.stdin:
        try:
            samples, phonemes = voice.say(json.loads(line))
            answer = {"rate": voice.rate, "samples": len(samples), "phonemes": phonemes}
        except ValueError as e:
            samples, answer = np.zeros(0, np.int16), {"rate": voice.rate, "samples": 0, "error": str(e)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + samples.astype("<i2").tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
