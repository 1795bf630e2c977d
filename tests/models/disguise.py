"""The open human's head dressed up as a stranger's face model: another identity, place, vertex order, no names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import body
from models.motion import ARKIT

KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
SCALE = 1.04
LANDMARKS = ("lmk_faces_idx", "lmk_bary_coords")


def write(path: Path, components: int | None = None, landmarks: bool = True, seed: int = 0) -> np.ndarray:
    """Write a FLAME-format npz without names. Its expression space holds the open human's shapes as they are, or their
    first `components` principal components scaled at random. Returns order (n,): the open head's vertex of each.
    """
    rng = np.random.default_rng(seed)
    with np.load(body.OPEN_HUMAN_HEAD) as z:
        arrays = {k: z[k] for k in (*KEYS, *LANDMARKS, "face_part")}
    V = len(arrays["v_template"])
    shape, expression = (
        arrays["shapedirs"][:, :, :300].astype(np.float32),
        arrays["shapedirs"][:, :, 300:352].astype(np.float32),
    )
    identity = arrays["v_template"] + shape[:, :, :40] @ rng.normal(0, 0.8, 40).astype(np.float32)
    expression = np.delete(expression, ARKIT.index("jawOpen"), axis=2)  # a face model's jaw is a joint
    if components is not None:
        u, s, _ = np.linalg.svd(expression.reshape(-1, 51), full_matrices=False)
        expression = (u * s)[:, :components].reshape(V, 3, components) * rng.uniform(0.3, 2, components)
    keep = arrays.pop("face_part") < 3  # strangers have skin and eyeballs
    order = rng.permutation(np.unique(arrays["f"][keep]))
    number = np.full(V, -1)
    number[order] = np.arange(len(order))
    face_number = np.cumsum(keep) - 1
    directions = np.zeros((V, 3, 400), np.float32)
    directions[:, :, :300], directions[:, :, 300 : 300 + expression.shape[2]] = shape, expression
    arrays["v_template"] = (SCALE * identity + [0.02, 1.5, -0.03])[order].astype(np.float32)
    arrays["f"] = number[arrays["f"][keep]]
    arrays["shapedirs"], arrays["posedirs"] = directions[order], arrays["posedirs"][order]
    arrays["J_regressor"], arrays["weights"] = arrays["J_regressor"][:, order], arrays["weights"][order]
    arrays["lmk_faces_idx"] = face_number[arrays["lmk_faces_idx"]]
    arrays["J_regressor"] /= arrays["J_regressor"].sum(1, keepdims=True)
    if not landmarks:
        for key in LANDMARKS:
            del arrays[key]
    np.savez(path, **arrays)
    return order
