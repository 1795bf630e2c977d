"""The card that goes with a trained head: what it is, what it was trained on, how it does."""

from __future__ import annotations

from pathlib import Path

from drivers.speech.solver import SEAL_ON
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

INTRODUCTION = """# The viseme head

`{name}`: Whisper tiny.en features (three encoder blocks, 384 per 20 ms) -> 15 visemes, lip closure, jaw opening. A
perceptron 384-{hidden}-17 with GELU, half floats, the features' normalisation folded in. Written by
`python -m drivers.speech.training`.

**Licence**: Apache-2.0, as the project. The encoder it sits on is Whisper tiny.en (OpenAI, MIT) and is not part of it.

**Data**
- Speech synthesized by espeak-ng with the phoneme times of its own events ({shift:.0f} ms late, shifted back).
  espeak-ng is GPL-3; it ran as a program of its own and neither it nor its sound is distributed. Words: the commonest
  of each language, and for English words drawn from the CMU dictionary.
- LJSpeech (public domain) LJ001-0009 to LJ001-0032, aligned with its text by pocketsphinx; each clip augmented several
  times, its windows drawn three times as often.
- Noise, mains hum, breath and typing, made on the spot, all of them silence to the head.
- Augmentation: tempo with pitch .86-1.16, spectral tilt, small rooms, telephone band, mu-law, level, noise at 8-45 dB.
- Left out: Piper's voice `joe` (fine-tuned from `lessac`, whose recordings carry a research licence), and Kokoro (its
  licence would allow it; at 1.2 times real time it would have taken most of the training's time).

What the run said:

```
{log}
```

{seconds:.0f} CPU seconds in all, one thread.

**Test**: recorded speech that was not trained on, through the streaming path as it runs live (window 2 s, lookahead
40 ms). The labels are pocketsphinx alignments and carry its errors; LJSpeech's reader is also the training's. Events
are runs of p, b or m, +-40 ms. *shown*: events at which the driver's mouth really shuts. *lag*: of the shown opening
behind the labels' (negative leads). Closure counts above {seal:.2f}. Before the last fit, the layer's width and dropout
were chosen on LJSpeech clips held out of the training, and the closure threshold on espeak voices held out of it.
`sense_and_sensibility` is LibriVox (public domain), out of pocketsphinx's source package. Clips: {clips}.

"""


def line(figures: Figures) -> str:
    if "all" not in figures:
        return "no recorded speech to test on"
    all_ = figures["all"]
    return ", ".join(f"{key} {form.format(all_[key])}" for key, _, form in COLUMNS if key != "seconds")


def write(path: Path, log: list[str], figures: dict[str, Figures], clips: list[Utterance], seconds: float) -> None:
    from drivers.speech.training.fit import HIDDEN
    from drivers.speech.training.synthesis import LABEL_SHIFT

    names = ", ".join(f"{u.name} ({len(u.samples) / RATE:.1f} s)" for u in clips)
    text = INTRODUCTION.format(
        name=path.with_suffix(".npz").name,
        hidden=HIDDEN,
        seal=SEAL_ON,
        shift=LABEL_SHIFT * 1000,
        log="\n".join(log),
        seconds=seconds,
        clips=names,
    )
    for title, by_voice in figures.items():
        text += f"{title}\n\n| | " + " | ".join(short for _, short, _ in COLUMNS) + " |\n"
        text += "|---|" + "--:|" * len(COLUMNS) + "\n"
        for voice, f in by_voice.items():
            cells = [form.format(f[key]) if key in f else "" for key, _, form in COLUMNS]
            text += f"| {voice} | " + " | ".join(cells) + " |\n"
        text += "\n"
    path.write_text(text.rstrip() + "\n", encoding="utf8")
