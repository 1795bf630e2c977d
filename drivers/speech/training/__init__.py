"""Training of the viseme head: `python -m drivers.speech.training`. Nothing here is needed to run Talkshot."""
