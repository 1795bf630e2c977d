"""MediaPipe's 478 face landmarks by name, and how far each is trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)  # a ring
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318), (191, 95), (415, 324))
LIP_CORNERS = (78, 308)
RIGHT_UPPER_LID = (246, 161, 160, 159, 158, 157, 173)  # of the person's right eye, outer to inner corner
RIGHT_LOWER_LID = (7, 163, 144, 145, 153, 154, 155)
LEFT_UPPER_LID = (466, 388, 387, 386, 385, 384, 398)
LEFT_LOWER_LID = (249, 390, 373, 374, 380, 381, 382)
RIGHT_CORNERS, LEFT_CORNERS = (33, 133), (263, 362)  # outer, inner
RIGHT_EYE = (*RIGHT_CORNERS, *RIGHT_UPPER_LID, *RIGHT_LOWER_LID)
LEFT_EYE = (*LEFT_CORNERS, *LEFT_UPPER_LID, *LEFT_LOWER_LID)
RIGHT_EYE_RING = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE_RING = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
SECOND_EYE_RING = (
    247, 30, 29, 27, 28, 56, 190, 25, 110, 24, 23, 22, 26, 112, 130, 243, 467, 260, 259, 257, 258, 286, 414, 255, 339,
    254, 253, 252, 256, 341, 359, 463,
)  # fmt: skip
RIGHT_BROW_EDGE, LEFT_BROW_EDGE = (46, 53, 52, 65, 55), (276, 283, 282, 295, 285)  # lower, outer to inner
RIGHT_IRIS, LEFT_IRIS = (468, 469, 470, 471, 472), (473, 474, 475, 476, 477)  # centre, then four on the rim

LANDMARK_WEIGHT = np.ones(468)
LANDMARK_WEIGHT[list(SECOND_EYE_RING)] = 0.2  # skin that folds: it does not stay where the first ring goes
LANDMARK_WEIGHT[list(OVAL)] = 0.5  # the contour slides over the surface as the head turns
LANDMARK_WEIGHT[[*LIPS_OUTER, *LIPS_INNER, *RIGHT_EYE, *LEFT_EYE]] = 1.5

# (468, 2) of the face's width, to the person's left and up in the head's own frame: where the net sees a landmark, from
# where the body model has it. Made by scripts/calibrate_landmarks.py on made-up people that no evaluation uses.
NET_BIAS = np.load(Path(__file__).with_name("landmark_bias.npy"))
