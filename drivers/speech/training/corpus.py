"""What the head is trained and tested on: utterances with a viseme label every 10 ms, and the texts behind them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drivers.speech.audio import load as load_sound

RATE = 16000  # Hz
LABEL_RATE = 100  # Hz; a label's bin starts at its index / LABEL_RATE
TEST_CLIPS = {f"LJ001-{i:04d}" for i in range(1, 9)}  # never trained on

# The commonest English words carry most of running speech; words drawn from the dictionary carry the rare sequences.
COMMON_WORDS = (
    "the a of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part maybe please "
    "problem above both move voice five very example simple happen"
)

OTHER_WORDS = {
    "de": "der die das und ist nicht ein wir haben sprechen bitte immer zwischen schön über fünf vier wollen aber auch "
    "mutter vater papier baum buch problem möglich leben blume frage kommen heute morgen abend straße",
    "fr": "le la les un deux et est nous vous avons parler beaucoup peut être homme femme petit pain problème vie jour "
    "nuit rouge bleu vert chaque fois venir aimer monde voiture maison bonjour merci public",
    "es": "el la los un dos y es nosotros hablamos mucho puede hombre mujer poco pan problema vida día noche rojo azul "
    "verde cada vez venir mundo familia casa buenos gracias público poder bebé",
    "it": "il la gli un due e è noi parliamo molto può uomo donna poco pane problema vita giorno notte rosso blu verde "
    "ogni volta venire mondo famiglia casa buongiorno grazie pubblico potere bambino",
    "ru": "и в не на я быть он с что этот по мы человек говорить много может мужчина женщина хлеб проблема жизнь день "
    "ночь красный мама папа книга большой время вопрос работа первый вода",
    "cmn-latn-pinyin": "ni3 hao3 wo3 men5 jin1 tian1 peng2 you3 zhong1 guo2 ma1 ba4 bu2 shi4 ba1 mei2 ming2 xue2 xiao4 "
    "lao3 shi1 gong1 zuo4 xi3 huan5 chi1 fan4 shui3 shu1 fei1 ji1 ping2 guo3 pao3 dian4 ying3 fang1 fa3 ke3 yi3 piao4 "
    "liang4 bei3 jing1 men2 shan1 feng1 yue4 mi3 mian4 bao1 nv3",
}


@dataclass
class Utterance:
    name: str
    samples: np.ndarray  # (n,) f32 at RATE
    labels: np.ndarray  # (n / 160,) viseme per 10 ms


def english_text(rng: np.random.Generator, dictionary: list[str]) -> str:
    n = int(rng.integers(5, 12))
    common = rng.random(n) < 0.5
    words = COMMON_WORDS.split()
    return " ".join(str(rng.choice(words if c else dictionary)) for c in common)


def other_text(rng: np.random.Generator, language: str) -> str:
    return " ".join(str(w) for w in rng.choice(OTHER_WORDS[language].split(), int(rng.integers(4, 9))))


def dictionary_words(path: Path) -> list[str]:
    """Plain words of 2-9 letters from a CMU pronouncing dictionary."""
    words = {line.split()[0].split("(")[0] for line in path.read_text().splitlines() if line}
    return sorted(w for w in words if w.isalpha() and 2 <= len(w) <= 9)


def recorded(folder: Path, transcripts: Path | None = None) -> list[tuple[str, np.ndarray, str]]:
    """(name, samples, text) of the LJSpeech clips in `folder` that have a transcript and are not test material."""
    transcripts = transcripts or Path(__file__).with_name("transcripts.csv")
    with transcripts.open(encoding="utf8", newline="") as f:
        texts = {row[0]: row[-1] for row in csv.reader(f, delimiter="|", quoting=csv.QUOTE_NONE) if len(row) > 1}
    clips = [(p.stem, p) for p in sorted(folder.glob("*.wav")) if p.stem in texts and p.stem not in TEST_CLIPS]
    return [(name, load_sound(path, RATE), texts[name]) for name, path in clips]
