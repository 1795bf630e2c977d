"""A program of its own around the espeak-ng library: text in, sound with the times of its phonemes and words out.

espeak-ng is GPL-3 and is never loaded into Talkshot itself; `espeak.py` starts this file as a separate process. It
needs nothing but Python, so that it is up in a moment. It says hello with one JSON line, {"rate": Hz} or
{"error": ...}. Then it reads one JSON object a line on stdin:

{"voices": true} is answered by {"voices": [[name, languages, file, gender], ...]}
{"ipa": [text, ...], "voice"} by {"ipa": [phonemes, ...]}, in IPA with compound sounds tied by ^
{"text", "voice", "rate", "pitch", "range"} by {"samples", "phonemes": [[s, ipa], ...], "words": [[s, position], ...]},
    a position counting the characters before the word, and then that many samples, 16-bit, in the machine's byte order
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import sys

AUDIO_OUTPUT_SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 2, 1, 2, 0x8000
EVENT_END, EVENT_WORD, EVENT_PHONEME = 0, 1, 7
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
CHARS_UTF8 = 1
IPA_TIED = 0x02 | 0x80 | ord("^") << 8  # espeak_TextToPhonemes: in IPA, with this character in compound sounds
LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.1.dylib", "libespeak-ng.dll")


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("uid", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]  # fmt: skip


class VoiceEntry(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("languages", ctypes.c_void_p), ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte), ("age", ctypes.c_ubyte), ("variant", ctypes.c_ubyte), ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int), ("spare", ctypes.c_void_p),
    ]  # fmt: skip


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Voice:
    def __init__(self) -> None:
        """Raises OSError where there is no library, or no data for it."""
        self.library = _load()
        data = os.environ.get("ESPEAK_NG_DATA")
        options = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
        self.rate = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode() if data else None, options
        )
        if self.rate <= 0:
            raise OSError("espeak-ng finds no voice data")
        self.callback = Callback(self._collect)
        self.library.espeak_SetSynthCallback(self.callback)
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(VoiceEntry))

    def _collect(self, wave, count, events) -> int:
        if wave and count > 0:
            self.samples.append(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type != EVENT_END:
            time = events[i].audio_position / 1000
            if events[i].type == EVENT_PHONEME:
                raw = ctypes.string_at(ctypes.addressof(events[i]) + Event.id.offset, 8)
                self.phonemes.append((time, raw.split(b"\0")[0].decode("utf8", "ignore")))
            elif events[i].type == EVENT_WORD:
                self.words.append((time, events[i].text_position - 1))
            i += 1
        return 0

    def voices(self) -> list[tuple[str, list[str], str, int]]:
        found, i = [], 0
        entries = self.library.espeak_ListVoices(None)
        while entries[i]:
            v = entries[i].contents
            found.append((v.name.decode(), _languages(v.languages), (v.identifier or b"").decode(), v.gender))
            i += 1
        return found

    def choose(self, voice: str) -> None:
        """By its name, or by its language tag, with a variant after a plus. Raises ValueError on an unknown voice."""
        tag, plus, variant = voice.partition("+")
        files = (file + plus + variant for _, languages, file, _ in self.voices() if languages[:1] == [tag])
        for name in (voice, *files):
            if self.library.espeak_SetVoiceByName(name.encode()) == 0:
                return
        raise ValueError(f"espeak-ng has no voice {voice!r}")

    def ipa(self, text: str) -> str:
        rest, found = ctypes.c_char_p(text.encode()), []
        while rest.value:
            part = self.library.espeak_TextToPhonemes(ctypes.byref(rest), CHARS_UTF8, IPA_TIED)
            found.append(part.decode("utf8", "ignore") if part else "")
        return " ".join(found)

    def say(self, request: dict) -> bytes:
        """The samples; their times are left in `phonemes` and `words`."""
        for parameter, key in ((PARAMETER_RATE, "rate"), (PARAMETER_PITCH, "pitch"), (PARAMETER_RANGE, "range")):
            self.library.espeak_SetParameter(parameter, int(request[key]), 0)
        self.samples: list[bytes] = []
        self.phonemes: list[tuple[float, str]] = []
        self.words: list[tuple[float, int]] = []
        text = request["text"].encode()
        self.library.espeak_Synth(text, len(text) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        self.library.espeak_Synchronize()
        return b"".join(self.samples)


def _load() -> ctypes.CDLL:
    """The library by its usual names first: asking the linker for it takes longer than all the rest."""
    for name in (os.environ.get("ESPEAK_NG_LIBRARY"), *LIBRARIES):
        try:
            if name:
                return ctypes.CDLL(name)
        except OSError:
            continue
    return ctypes.CDLL(ctypes.util.find_library("espeak-ng") or LIBRARIES[0])


def _languages(address: int) -> list[str]:
    """A list in C: for each language a byte of priority and its name; an empty entry ends it."""
    found = []
    while address and ctypes.string_at(address, 1) != b"\0":
        name = ctypes.string_at(address + 1)
        found.append(name.decode())
        address += len(name) + 2
    return found


def main() -> None:
    try:
        voice = Voice()
    except OSError as e:
        return _answer({"error": f"the espeak-ng library cannot be used ({e})"})
    _answer({"rate": voice.rate})
    for line in sys.stdin:
        request = json.loads(line)
        if "voices" in request:
            _answer({"voices": voice.voices()})
            continue
        try:
            voice.choose(request["voice"])
            if "ipa" in request:
                _answer({"ipa": [voice.ipa(text) for text in request["ipa"]]})
                continue
            sound = voice.say(request)
        except ValueError as e:
            _answer({"error": str(e)})
            continue
        _answer({"samples": len(sound) // 2, "phonemes": voice.phonemes, "words": voice.words}, sound)


def _answer(answer: dict, sound: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + sound)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
