"""MediaPipe's face mesh, its irises and SMPL-X's own face landmarks as points on the open human.

The detector's answers over many views are averaged with their mirror images, the lids' and lips' points are moved onto
the true rims, their neighbours follow, and the left half becomes the mirror image of the right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.open_human import detect, rims, shade
from models.open_human.detect import Sighting, Surface
from models.open_human.makehuman import F64, MakeHuman
from models.surface import closest_points, triangle_normals

FOLLOW = 0.004  # m, how far a rim's correction reaches
FOLLOW_REST = 0.3  # weight of staying where the detector said

# SMPL-X's landmarks: dlib's 68 points without the outline (51), and the outline (17), as points of the face mesh
STATIC_51 = [
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305),  # brows, nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),  # lips
]
OUTLINE_17 = [162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389]


def embed(human: MakeHuman, body: dict[str, Any]) -> dict[str, NDArray]:
    """The npz entries of all landmarks for a body without them."""
    surface = Surface.of(human, body)
    canonical = detect.canonical_face()
    pairs = detect.mirror_pairs(canonical)
    sightings = detect.sight(surface, [*detect.FRONT_VIEWS, *((y, 0) for y in detect.CONTOUR_YAWS)])
    face, bary = face_mesh(surface, body, canonical, pairs, sightings)
    iris_face, iris_bary = irises(surface)
    contour_face, contour_bary = outline(surface, sightings)
    static = np.array(STATIC_51)
    return {
        "mp468_faces_idx": face,
        "mp468_bary_coords": bary.astype(np.float32),
        "mp468_mirror": pairs,
        "iris_faces_idx": iris_face,
        "iris_bary_coords": iris_bary.astype(np.float32),
        "lmk_faces_idx": face[static].astype(np.int64),
        "lmk_bary_coords": bary[static],
        "dynamic_lmk_faces_idx": contour_face,
        "dynamic_lmk_bary_coords": contour_bary,
    }


def face_mesh(
    surface: Surface, body: dict[str, Any], canonical: F64, pairs: NDArray, sightings: dict[Any, Sighting]
) -> tuple[NDArray[np.int32], F64]:
    """Triangle (468,) and weights (468, 3)."""
    target = symmetric_mean(surface, pairs, sightings)
    rim = rims.lids(surface, canonical) | rims.lips(surface, body, canonical)
    right = np.flatnonzero(canonical[:, 0] <= 0)  # with the middle
    on_rim = np.array(sorted(rim))
    moved = np.array([surface.points(np.array([rim[i][0]]), rim[i][1][None])[0] for i in on_rim]) - target[on_rim]
    others = np.setdiff1d(right, on_rim)
    reach = np.linalg.norm(target[others, None] - target[on_rim], axis=2)
    weight = np.exp(-0.5 * (reach / FOLLOW) ** 2)
    target[others] += weight @ moved / (weight.sum(1, keepdims=True) + FOLLOW_REST)
    face, bary = np.zeros(len(pairs), np.int32), np.zeros((len(pairs), 3))
    visible = np.unique(np.concatenate([s.visible for k, s in sightings.items() if k in detect.FRONT_VIEWS]))
    near, bary[others], _ = closest_points(target[others], surface.vertices, surface.faces[visible])
    face[others] = visible[near]
    for i in on_rim:
        face[i], bary[i] = rim[i]
    middle = np.flatnonzero(canonical[:, 0] == 0)
    face[middle], bary[middle] = on_midline(surface, visible, face[middle], bary[middle])
    left = np.flatnonzero(canonical[:, 0] > 0)
    face[left], bary[left] = mirrored(surface, face[pairs[left]], bary[pairs[left]])
    return face, bary


def symmetric_mean(surface: Surface, pairs: NDArray, sightings: dict[Any, Sighting]) -> F64:
    """(468, 3) m the median of all front views and their mirror images; the outline from straight ahead alone."""
    ids = np.arange(len(pairs))
    seen = {k: surface.points(*sightings[k].on_surface(surface, ids)) for k in detect.FRONT_VIEWS if k in sightings}
    both = {k: np.stack([p, p[pairs] * [-1, 1, 1]]) for k, p in seen.items()}
    out = np.median(np.concatenate(list(both.values())), axis=0)
    out[detect.OVAL] = both[0, 0][:, detect.OVAL].mean(0)
    middle = pairs == ids
    out[middle, 0] = 0
    return out


def on_midline(surface: Surface, visible: NDArray, face: NDArray, bary: F64) -> tuple[NDArray[np.int32], F64]:
    """The points drawn onto x = 0: edges of the mesh run along it."""
    at_middle = surface.mirror == np.arange(len(surface.mirror))
    beside = visible[at_middle[surface.faces[visible]].sum(1) == 2]
    near, weights, _ = closest_points(surface.points(face, bary), surface.vertices, surface.faces[beside])
    own = at_middle[surface.faces[face]].sum(1) == 2  # stays on its own lip
    face, bary = np.where(own, face, beside[near]), np.where(own[:, None], bary, weights)
    bary = bary * at_middle[surface.faces[face]]
    return face.astype(np.int32), bary / bary.sum(1, keepdims=True)


def mirrored(surface: Surface, face: NDArray, bary: F64) -> tuple[NDArray[np.int32], F64]:
    """The points on the other side: on the mirrored triangle, or the nearest where the quad was split the other way."""
    number = {tuple(sorted(f)): i for i, f in enumerate(surface.faces.tolist())}
    twin = surface.mirror[surface.faces[face]]
    points = surface.points(face, bary) * [-1, 1, 1]
    normals = triangle_normals(surface.vertices, surface.faces[face]) * [-1, 1, 1]
    skin = surface.skin
    near, weights, _ = closest_points(points, surface.vertices, surface.faces[skin], normals)
    out_face, out_bary = skin[near].astype(np.int32), weights
    for i, corners in enumerate(twin.tolist()):
        f = number.get(tuple(sorted(corners)))
        if f is not None:
            order = [corners.index(v) for v in surface.faces[f].tolist()]
            out_face[i], out_bary[i] = f, bary[i, order]
    return out_face, out_bary


def irises(surface: Surface) -> tuple[NDArray[np.int32], F64]:
    """Points 468-477, right eye then left: the middle, then the rim at +x, up, -x, down, with the gaze ahead."""
    r = shade.IRIS_RADIUS
    ring = np.array([[0, 0], [r, 0], [0, r], [-r, 0], [0, -r]])
    face, bary = np.zeros(10, np.int32), np.zeros((10, 3))
    for k, eye in enumerate((1, 0)):
        ball = np.flatnonzero(surface.part == eye + 1)
        radius = np.linalg.norm(surface.vertices[surface.faces[ball]] - surface.eyes[eye], axis=2).mean()
        depth = np.sqrt(radius**2 - (ring**2).sum(1, keepdims=True))
        near, weights, _ = closest_points(
            surface.eyes[eye] + np.concatenate([ring, depth], 1), surface.vertices, surface.faces[ball]
        )
        face[5 * k : 5 * k + 5], bary[5 * k : 5 * k + 5] = ball[near], weights
    return face, bary


def outline(surface: Surface, sightings: dict[Any, Sighting]) -> tuple[NDArray[np.int64], F64]:
    """SMPL-X's dynamic contour: 17 points at each of 79 turns (0..39 degrees, then -1..-39): (79, 17), (79, 17, 3)."""
    views = {
        yaw: sightings[yaw, 0].on_surface(surface, OUTLINE_17) for yaw in detect.CONTOUR_YAWS if (yaw, 0) in sightings
    }
    face, bary = np.zeros((79, 17), np.int64), np.zeros((79, 17, 3))
    for row in range(79):
        angle = row if row <= 39 else 39 - row
        nearest = min(views, key=lambda yaw: abs(yaw + angle))
        face[row], bary[row] = views[nearest]
    return face, bary
