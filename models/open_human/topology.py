"""Which parts of the base mesh become the open human, as triangles over compact vertex numbers, mirror-symmetric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.open_human.makehuman import F64, MakeHuman, Polygons

PARTS = (  # the code of face_part is the position here
    "body",
    "helper-l-eye",
    "helper-r-eye",
    "helper-tongue",
    "helper-upper-teeth",
    "helper-lower-teeth",
    "helper-l-eyelashes-1",
    "helper-l-eyelashes-2",
    "helper-r-eyelashes-1",
    "helper-r-eyelashes-2",
)
NIPPLES = np.r_[1778:1794, 8450:8466]  # vertices left out; the quads below close the holes
CAPS = np.array(
    [
        [8437, 8438, 8439, 8440], [8436, 8437, 8440, 8441], [8435, 8436, 8441, 8442], [8434, 8435, 8442, 8443],
        [8449, 8434, 8443, 8444], [8448, 8449, 8444, 8445], [8447, 8448, 8445, 8446], [1762, 1771, 1770, 1763],
        [1763, 1770, 1769, 1764], [1764, 1769, 1768, 1765], [1765, 1768, 1767, 1766], [1762, 1777, 1772, 1771],
        [1777, 1776, 1773, 1772], [1776, 1775, 1774, 1773],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Topology:
    used: NDArray[np.int64]  # (V,) base-mesh vertex of each of ours
    faces: NDArray[np.int64]  # (F, 3)
    uv_faces: NDArray[np.int64]  # (F, 3)
    part: NDArray[np.uint8]  # (F,) index into PARTS
    mirror: NDArray[np.int64]  # (V,) the vertex on the other side

    def of_part(self, *names: str) -> NDArray[np.int64]:
        """Our vertices of the named parts."""
        return np.unique(self.faces[np.isin(self.part, [PARTS.index(n) for n in names])])


def build(human: MakeHuman) -> Topology:
    polygons = [_body(human) if name == "body" else human.groups[name] for name in PARTS]
    quads = np.concatenate([f for f, _ in polygons])
    uv_quads = np.concatenate([t for _, t in polygons])
    part = np.concatenate([np.full(len(f), code) for code, (f, _) in enumerate(polygons)])
    used, compact = np.unique(quads, return_inverse=True)
    quads = compact.reshape(quads.shape)
    mirror = mirror_map(human.vertices[used], quads, part)
    quads, uv_quads = _split_alike(human.vertices[used], quads, uv_quads, mirror)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    uv_faces = np.concatenate([uv_quads[:, [0, 1, 2]], uv_quads[:, [0, 2, 3]]])
    part = np.concatenate([part, part])
    a, b, c = faces.T
    sound = (a != b) & (b != c) & (a != c)  # a triangle of the source is a quad with a corner twice
    return Topology(used, faces[sound], uv_faces[sound], part[sound].astype(np.uint8), mirror)


def _split_alike(vertices: F64, quads: NDArray, uv_quads: NDArray, mirror: NDArray) -> Polygons:
    """Turn the corners of right-hand quads so that each is cut along the mirror image of its twin's diagonal."""
    number = {frozenset(q): i for i, q in enumerate(quads.tolist())}
    quads, uv_quads = quads.copy(), uv_quads.copy()
    for i in np.flatnonzero(vertices[quads, 0].mean(1) < 0):
        twin = number.get(frozenset(mirror[quads[i]].tolist()))
        if twin is not None and {*mirror[quads[i, [0, 2]]].tolist()} != {*quads[twin, [0, 2]].tolist()}:
            quads[i], uv_quads[i] = np.roll(quads[i], 1), np.roll(uv_quads[i], 1)
    return quads, uv_quads


def _body(human: MakeHuman) -> Polygons:
    faces, uv_faces = human.groups["body"]
    keep = ~np.isin(faces, NIPPLES).any(1)
    uv_of = dict(zip(faces[~keep].ravel().tolist(), uv_faces[~keep].ravel().tolist()))
    return np.concatenate([faces[keep], CAPS]), np.concatenate([uv_faces[keep], np.vectorize(uv_of.get)(CAPS)])


def mirror_map(vertices: F64, quads: NDArray, part: NDArray) -> NDArray[np.int64]:
    """(V,) the vertex on the other side of x = 0 of the symmetric base mesh (V, 3) dm, matched within its part.

    Raises ValueError when the mesh is not symmetric to 0.01 mm.
    """
    mirror = np.full(len(vertices), -1)
    swap = {"l": "r", "r": "l"}
    for code, name in enumerate(PARTS):
        side = name.removeprefix("helper-")
        other = f"helper-{swap[side[0]]}{side[1:]}" if side[:2] in ("l-", "r-") else name
        mine, theirs = np.unique(quads[part == code]), np.unique(quads[part == PARTS.index(other)])
        distance, nearest = cKDTree(vertices[theirs] * [-1, 1, 1]).query(vertices[mine])
        if distance.max() > 1e-4:
            raise ValueError(f"{name}: not symmetric, {distance.max() * 100:.3f} mm")
        mirror[mine] = theirs[nearest]
    if not (mirror[mirror] == np.arange(len(mirror))).all():
        raise ValueError("the mirror map is not its own inverse")
    return mirror
