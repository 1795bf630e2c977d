"""The FLAME-format head: the body's head cut off at the neck, vertex for vertex, with a shape space of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.motion import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE
from models.open_human.joints import INERT, mean_weights, near_ring
from models.open_human.shape_space import COMPONENTS, principal_components

HEAD_JOINTS = [NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE]
PARENTS = [-1, 0, 1, 1, 1]
PER_VERTEX = ("mirror", "vertex_region")
PER_FACE = ("ft", "face_part")
LANDMARKS = ("lmk", "mp468", "iris")


def cut(body: dict[str, Any], samples: NDArray[np.float32]) -> dict[str, Any]:
    """The head's arrays from the body's and from the sampled bodies (S, V, 3), both in the body's vertex order."""
    weights = body["weights"].astype(np.float64)
    keep_face = (weights[:, HEAD_JOINTS].sum(1) > 0.5)[body["f"]].all(1)
    vertices = np.unique(body["f"][keep_face])
    number = np.full(len(weights), -1)
    number[vertices] = np.arange(len(vertices))
    joints = body["J_regressor"].astype(np.float64) @ body["v_template"]
    template, shape = _shape_space(body, samples, vertices)
    expression = body["shapedirs"][vertices, :, 300:]
    own = _weights(weights[vertices])
    shapedirs = np.zeros((len(vertices), 3, 400), np.float32)
    shapedirs[:, :, :COMPONENTS], shapedirs[:, :, 300:] = shape, expression
    posedirs = np.zeros((len(vertices), 3, 36), np.float32)
    posedirs[:, :, 9:18] = body["posedirs"][vertices, :, 9 * (JAW - 1) : 9 * JAW]
    out = {
        "v_template": template.astype(np.float32),
        "f": number[body["f"][keep_face]].astype(np.int32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": _regressor(template, joints[HEAD_JOINTS] - joints[HEAD], own, abs(expression).max((1, 2))),
        "kintree_table": np.array([PARENTS, range(5)], np.int64),
        "weights": own.astype(np.float32),
        "smplx_vertex": vertices.astype(np.int32),
    }
    out |= {k: body[k][vertices] for k in PER_VERTEX} | {k: body[k][keep_face] for k in PER_FACE}
    out["mirror"] = number[out["mirror"]].astype(np.int32)
    out |= {k: body[k] for k in ("vt", "expr_names", "licence", "mp468_mirror")}
    face_number = np.cumsum(keep_face) - 1
    for prefix in LANDMARKS:
        on_body = body[f"{prefix}_faces_idx"]
        if not keep_face[on_body].all():
            raise ValueError(f"{prefix}: a landmark lies outside the head")
        out[f"{prefix}_faces_idx"] = face_number[on_body].astype(on_body.dtype)
        out[f"{prefix}_bary_coords"] = body[f"{prefix}_bary_coords"]
    return out


def _shape_space(body: dict[str, Any], samples: NDArray, vertices: NDArray) -> tuple[NDArray, NDArray]:
    """Mean head (n, 3) and its components, about the head joint of each sample."""
    head_joint = np.einsum("v,sva->sa", body["J_regressor"][HEAD].astype(np.float32), samples)
    heads = samples[:, vertices] - head_joint[:, None]
    mean = heads.mean(0, dtype=np.float64)
    return mean, principal_components((heads - mean).astype(np.float32), np.ones(len(vertices)))


def _weights(weights: NDArray) -> NDArray:
    """(n, 55) -> (n, 5): what follows none of the head's joints follows FLAME's root, at the neck's base."""
    upper = weights[:, HEAD_JOINTS[1:]]
    out = np.concatenate([1 - upper.sum(1, keepdims=True), upper], axis=1).clip(0, 1)
    return out / out.sum(1, keepdims=True)


def _regressor(template: NDArray, joints: NDArray, weights: NDArray, moved: NDArray) -> NDArray[np.float32]:
    out = np.zeros((len(joints), len(template)))
    for j, joint in enumerate(joints):
        rigid = HEAD_JOINTS[j] in (LEFT_EYE, RIGHT_EYE)
        ring = np.flatnonzero(weights[:, j] > 0.99 if rigid else moved < INERT)
        if not rigid:
            ring = ring[near_ring(template[ring], joint)]
        out[j, ring] = mean_weights(template[ring], joint)
    return out.astype(np.float32)
