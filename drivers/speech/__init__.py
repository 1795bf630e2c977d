"""Speech to face: `SpeechDriver` while it is spoken, `track` for a whole sound, `load` for a file.

ring, vad, features, ears (an encoder with its head) -> what is heard; articulation, solver -> what the mouth does;
driver joins them.
"""

from drivers.speech.audio import AudioError, load, resample
from drivers.speech.driver import AudioToFace, Relievable, Settings, SpeechDriver, create, track

__all__ = ["AudioError", "AudioToFace", "Relievable", "Settings", "SpeechDriver", "create", "load", "resample", "track"]
