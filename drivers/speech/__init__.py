"""Speech to face: `SpeechDriver` while it is spoken, `track` for a whole sound, `load` for a file.

ring, vad, features, head -> what is heard; articulation, solver -> what the mouth does; driver joins them.
"""

from drivers.speech.audio import AudioError, load, resample
from drivers.speech.driver import Settings, SpeechDriver, track

__all__ = ["AudioError", "Settings", "SpeechDriver", "load", "resample", "track"]
