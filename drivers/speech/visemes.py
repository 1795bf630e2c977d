"""The 15 visemes, the mouth groups they are scored in, and the phonemes that map to them.

Names are those of the Oculus/Meta viseme set (as used by VRM, Ready Player Me and MPEG-4 tables); phonemes come in IPA
(espeak-ng) and in ARPABET (CMU pronouncing dictionary, pocketsphinx).
"""

from __future__ import annotations

import re

VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")
VISEME = {name: i for i, name in enumerate(VISEMES)}
SIL, PP, FF, TH, DD, KK, CH, SS, NN, RR, AA, EH, IY, OH, UW = range(15)
N_VISEMES = 15

# What a viewer tells apart; the seven groups in which accuracy is given: silence, bilabial, dental and sibilant,
# tongue, open, spread, round.
MOUTH_GROUP = (0, 1, 2, 2, 3, 3, 2, 2, 3, 3, 4, 4, 5, 6, 6)

_IPA = {
    "PP": "p b m ɱ ɓ", "FF": "f v ʋ pf", "TH": "θ ð", "DD": "t d ɾ l ɫ ʔ ᵊ ʎ ʈ ɖ ɭ",
    "kk": "k ɡ g h x ɣ q ç ɦ χ ʁ ʀ", "CH": "ʃ ʒ tʃ dʒ ʤ ʧ ɕ ʑ ʂ ʐ tɕ dʑ", "SS": "s z ʦ ʣ ts dz", "nn": "n ŋ ɲ ɴ ɳ",
    "RR": "ɹ r ɚ ɝ ɜ ɻ", "aa": "a æ ɑ ʌ ɐ ä aɪ", "E": "ɛ e eɪ ə ɪ ᵻ ɘ ɤ", "I": "i j ɨ",
    "O": "o ɔ oʊ ɒ aʊ ɔɪ ø œ", "U": "u ʊ w ɯ ʉ ɰ y ʏ ɥ",
}  # fmt: skip
IPA_VISEME = {p: VISEME[v] for v, phonemes in _IPA.items() for p in phonemes.split()}

_ARPABET = {
    "PP": "P B M", "FF": "F V", "TH": "TH DH", "DD": "T D L", "kk": "K G HH", "CH": "CH JH SH ZH", "SS": "S Z",
    "nn": "N NG", "RR": "R ER", "aa": "AA AE AH AY", "E": "EH EY IH", "I": "IY Y", "O": "AO AW OW OY", "U": "UH UW W",
}  # fmt: skip
ARPABET_VISEME = {p: VISEME[v] for v, phonemes in _ARPABET.items() for p in phonemes.split()}

_MARKS = re.compile("[ˈˌːˑʲʰʷ͡\u0300-\u036f]")  # stress, length, secondary articulation, combining diacritics


def from_ipa(phoneme: str) -> int | None:
    """The viseme of one IPA phoneme; None for a bare mark or a symbol of no known mouth shape."""
    p = _MARKS.sub("", phoneme)
    if not p:
        return None
    for key in (p, p[:2], p[0]):
        if key in IPA_VISEME:
            return IPA_VISEME[key]
    return None


def from_arpabet(phone: str) -> int:
    """The viseme of one ARPABET phone; silence and noise marks are `sil`."""
    return ARPABET_VISEME.get(phone.rstrip("012"), SIL)
