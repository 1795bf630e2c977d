"""Tiny random body models in SMPL-X and FLAME format, as npz or as pickles like those of licensed files."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from models.open_human.head import PARENTS as FLAME_PARENTS
from models.open_human.skeleton import PARENTS as SMPLX_PARENTS


def arrays(kind: str, vertices: int = 200, directions: int = 400, seed: int = 0) -> dict[str, Any]:
    """Plausible sizes: shapes of centimetres, expressions of millimetres, sparse weights."""
    rng = np.random.default_rng(seed)
    parents = np.array(SMPLX_PARENTS if kind == "smplx" else FLAME_PARENTS)
    J = len(parents)
    weights = np.zeros((vertices, J))
    for row in weights:
        row[rng.choice(J, 4, replace=False)] = rng.dirichlet(np.ones(4))
    regressor = rng.dirichlet(np.full(vertices, 0.05), J)
    table = np.array([parents, range(J)], np.int64)
    table[0, 0] = 4294967295  # as licensed files have it
    out = {
        "v_template": rng.normal(0, 0.3, (vertices, 3)),
        "f": rng.integers(0, vertices, (2 * vertices, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, directions)),
        "posedirs": rng.normal(0, 0.002, (vertices, 3, 9 * (J - 1))),
        "J_regressor": regressor,
        "kintree_table": table,
        "weights": weights,
    }
    if kind == "smplx":
        hands = {f"hands_components{s}": np.eye(45) for s in "lr"} | {f"hands_mean{s}": np.zeros(45) for s in "lr"}
        out |= hands | {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3)}
    return out


def write_npz(path: Path, data: dict[str, Any]) -> Path:
    np.savez(path, **data)
    return path


def write_licensed_pickle(path: Path, data: dict[str, Any], protocol: int = 2) -> Path:
    """A pickle as FLAME's are: chumpy objects, a sparse regressor, strings."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x, self._cache, self.dterms = x, {"r": None}, ("x",)

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch  # type: ignore[attr-defined]
    tree = dict(data, bs_style="lbs", bs_type="lrotmin", J_regressor=scipy.sparse.csc_matrix(data["J_regressor"]))
    for name in ("v_template", "shapedirs", "posedirs"):
        tree[name] = Ch(tree[name])
    saved = {name: sys.modules.get(name) for name in ("chumpy", "chumpy.ch")}
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        path.write_bytes(pickle.dumps(tree, protocol=protocol))
    finally:
        for name, old in saved.items():
            sys.modules.pop(name, None)
            if old is not None:
                sys.modules[name] = old
    return path
