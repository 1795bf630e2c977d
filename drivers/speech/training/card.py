"""The card that goes with a trained head: what it is, what it was trained on, how it does."""

from __future__ import annotations

from pathlib import Path

from drivers.speech.ears import Ear
from drivers.speech.features import HOP, LOOKAHEAD
from drivers.speech.solver import SEAL_ON
from drivers.speech.training import flite
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.training.evaluation import Figures

COLUMNS = (
    ("seconds", "s", "{:.0f}"), ("mouth group accuracy", "group acc", "{:.3f}"),
    ("mouth group macro F1", "group F1", "{:.3f}"), ("viseme accuracy", "viseme acc", "{:.3f}"),
    ("viseme macro F1", "viseme F1", "{:.3f}"), ("closure frames recall", "closure frames r", "{:.2f}"),
    ("closure frames precision", "p", "{:.2f}"), ("closure events", "events", "{:.0f}"),
    ("closure events recall", "r", "{:.2f}"), ("closure events precision", "p", "{:.2f}"),
    ("mouth shut events recall", "shown r", "{:.2f}"), ("jaw correlation", "jaw corr", "{:.2f}"),
    ("onset error ms", "onset ms", "{:.0f}"), ("mouth lag ms", "lag ms", "{:.0f}"),
)  # fmt: skip

INTRODUCTION = """# {title}

`{name}`: {hears} -> 15 visemes, lip closure, jaw
opening, lip aperture, rounding. Each 20 ms frame is projected to {projection}; {past} frames before it, {ahead}
after it and itself go through {hidden} units (GELU); the head is the mean of nets that were fitted apart, joined into
one. Half floats, the features' normalisation folded in. Written by
`python -m drivers.speech.training --encoder {encoder}`.

**Licence**: Apache-2.0, as the project. {encoder_licence}

**Data**
- Speech synthesized by espeak-ng with the phoneme times of its own events ({shift:.0f} ms late, shifted back).
  espeak-ng is GPL-3; it ran as a program of its own and neither it nor its sound is distributed. English, German,
  French, Spanish, Italian, Russian and Mandarin; the commonest words of each, for English also the CMU dictionary's.
- Speech of flite's voices (BSD-style), with the times of its phones ({flite:.0f} ms late, shifted back): `slt`, `rms`,
  `awb`, built from CMU ARCTIC's recordings (free for any use), and `kal16`. Its windows are drawn 1.5 times as often.
- LJSpeech (public domain) LJ001-0009 to LJ001-0032, aligned with its text by pocketsphinx; each clip augmented several
  times, its windows drawn three times as often.
- Noise, mains hum, breath and typing, made on the spot, all of them silence to the head.
- Augmentation: tempo with pitch and formants .78-1.2, spectral tilt, small rooms, telephone band, mu-law, level, noise
  at 8-45 dB.
- Left out: Piper's voice `joe` (fine-tuned from `lessac`, whose recordings carry a research licence), and Kokoro (its
  licence would allow it; it takes half of real time, and its times agree with alignments in .6 of the frames only).

What the run said:

```
{log}
```

{seconds:.0f} CPU seconds in all, one thread.

**Test**: recorded speech through the driver as it runs live (window {window:.0f} s, hop {hop:.0f} ms, lookahead
{lookahead:.0f} ms). The labels are pocketsphinx alignments and carry its errors. *all* are voices that were neither
trained on nor used to choose anything: `sense` and `sonnet` (LibriVox readers), `grid` (seven speakers), `jfk`, `cards`
and `goforward` (pocketsphinx's own clips). Apart from them: `LJ` is the reader trained on (other sentences), `asterisk`
the speaker by whose other prompts (329 s), with a minute of Kokoro's voices, context, data, lookahead and the
evidence from which a closure counts ({seal:.2f}) were chosen. Events are runs of p, b or m, +-40 ms. *shown*: events
at which the driver's mouth really shuts. *lag*: of the shown opening behind the labels' (negative leads).

Clips: {clips}.

"""

WHISPER = "The encoder it sits on is Whisper {} (OpenAI, MIT) and is not part of it."


def line(figures: Figures) -> str:
    if "all" not in figures:
        return "no recorded speech to test on"
    all_ = figures["all"]
    return ", ".join(f"{key} {form.format(all_[key])}" for key, _, form in COLUMNS if key != "seconds")


def write(
    path: Path, ear: Ear, log: list[str], figures: dict[str, Figures], clips: list[Utterance], seconds: float
) -> None:
    from drivers.text.lips import LABEL_SHIFT

    head, mel = ear.head, ear.name == "mel"
    blocks = getattr(ear.encoder, "blocks", 0)
    text = INTRODUCTION.format(
        title="The viseme head" + {"tiny.en": "", "mel": " for weak machines"}.get(ear.name, f" of Whisper {ear.name}"),
        name=path.with_suffix(".npz").name,
        hears="a log-mel spectrogram (80 values per 20 ms)"
        if mel
        else f"Whisper {ear.name} features ({blocks} encoder blocks, {head.width} per 20 ms)",
        encoder=ear.name,
        encoder_licence="It holds all there is of the network." if mel else WHISPER.format(ear.name),
        projection=len(head.w0),
        hidden=len(head.w1),
        past=head.past,
        ahead=head.ahead,
        window=ear.window,
        seal=head.seal or SEAL_ON,
        shift=LABEL_SHIFT * 1000,
        flite=flite.LABEL_SHIFT * 1000,
        hop=HOP * 1000,
        lookahead=LOOKAHEAD * 1000,
        log="\n".join(log),
        seconds=seconds,
        clips=", ".join(f"{u.name} ({len(u.samples) / RATE:.1f} s)" for u in clips),
    )
    for title, by_voice in figures.items():
        text += f"{title}\n\n| | " + " | ".join(short for _, short, _ in COLUMNS) + " |\n"
        text += "|---|" + "--:|" * len(COLUMNS) + "\n"
        for voice, f in by_voice.items():
            cells = [form.format(f[key]) if key in f else "" for key, _, form in COLUMNS]
            text += f"| {voice} | " + " | ".join(cells) + " |\n"
        text += "\n"
    path.write_text(text.rstrip() + "\n", encoding="utf8")
