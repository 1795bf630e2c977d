"""Vertex numbers: SMPL-X software reads nose, eyes, fingertips and feet at fixed numbers, so ours are swapped there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.motion import JOINT, LEFT_EYE, RIGHT_EYE
from models.open_human.makehuman import F64
from models.open_human.skeleton import FINGERS

SMPLX_VERTEX = {  # the joint-like vertices of the SMPL-X format
    "nose": 9120, "reye": 9929, "leye": 9448, "rear": 616, "lear": 6,
    "rthumb": 8079, "rindex": 7669, "rmiddle": 7794, "rring": 7905, "rpinky": 8022,
    "lthumb": 5361, "lindex": 4933, "lmiddle": 5058, "lring": 5169, "lpinky": 5286,
    "LBigToe": 5770, "LSmallToe": 5780, "LHeel": 8846, "RBigToe": 8463, "RSmallToe": 8474, "RHeel": 8635,
}  # fmt: skip


def order(template: F64, joints: F64, weights: F64, skin: NDArray) -> NDArray[np.int64]:
    """(V,) new number -> old number, with the anatomy of SMPLX_VERTEX in its places and all else unmoved but swaps."""
    new_to_old = np.arange(len(template))
    old_to_new = np.arange(len(template))
    for name, old in anatomy(template, joints, weights, skin).items():
        new = SMPLX_VERTEX[name]
        displaced, vacated = new_to_old[new], old_to_new[old]
        new_to_old[new], new_to_old[vacated] = old, displaced
        old_to_new[old], old_to_new[displaced] = new, vacated
    return new_to_old


def anatomy(template: F64, joints: F64, weights: F64, skin: NDArray) -> dict[str, int]:
    """The vertex of each name of SMPLX_VERTEX on our mesh."""

    def best(candidates: NDArray, key: Callable[[F64], F64]) -> int:
        return int(candidates[np.argmax(key(template[candidates]))])

    found = {}
    head = skin[weights[skin][:, [12, 15, 22, 23, 24]].sum(1) > 0.9]
    eye_height = joints[[LEFT_EYE, RIGHT_EYE], 1].mean()
    p = template[head]
    middle = head[(abs(p[:, 0]) < 0.02) & (p[:, 1] < eye_height) & (p[:, 1] > eye_height - 0.06)]
    found["nose"] = best(middle, lambda p: p[:, 2])
    for name, joint in (("leye", LEFT_EYE), ("reye", RIGHT_EYE)):
        found[name] = best(np.flatnonzero(weights[:, joint] > 0.99), lambda p: p[:, 2])
    found["lear"], found["rear"] = best(head, lambda p: p[:, 0]), best(head, lambda p: -p[:, 0])
    for side, sign in (("left", 1), ("right", -1)):
        for finger in FINGERS:
            tip = JOINT[f"{side}_{finger}3"]
            own = skin[weights[skin, tip] > 0.6]
            along = joints[tip] - joints[tip - 1]
            found[side[0] + finger] = int(own[np.argmax((template[own] - joints[tip]) @ along)])
        found |= _foot(template, weights, skin, side, sign, best)
    return found


def _foot(template: F64, weights: F64, skin: NDArray, side: str, sign: int, best: Callable) -> dict[str, int]:
    toes = skin[weights[skin, JOINT[side + "_foot"]] > 0.5]
    x = sign * template[toes, 0]
    inner = toes[x < sign * np.median(template[toes, 0])]
    heel = skin[weights[skin, JOINT[side + "_ankle"]] > 0.5]
    s = side[0].upper()
    return {
        s + "BigToe": best(inner, lambda p: p[:, 2] - 0.3 * sign * p[:, 0]),
        s + "SmallToe": best(toes, lambda p: sign * p[:, 0] + 0.3 * p[:, 2]),
        s + "Heel": best(heel, lambda p: -p[:, 2] - 0.5 * p[:, 1]),
    }
