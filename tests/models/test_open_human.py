"""The committed open human: formats, symmetry, and landmarks in millimetres."""

from __future__ import annotations

import numpy as np
import pytest

from models import body, expression
from models.body import BodyModel
from models.motion import ARKIT, JOINT, LEFT_EYE, N_ARKIT, N_JOINTS, RIGHT_EYE, A
from models.open_human import rims, shade
from models.open_human.skeleton import JOINT_MIRROR, other_side
from models.open_human.vertex_order import SMPLX_VERTEX
from models.skinning import Poser

MM = 1e-3
FLIP = np.array([-1, 1, 1])
UPPER_SEAM, LOWER_SEAM = [191, 80, 81, 82, 13], [95, 88, 178, 87, 14]
LIDS = [rims.OUTER_CORNER, rims.INNER_CORNER, *rims.UPPER_LID, *rims.LOWER_LID]


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return body.load()


@pytest.fixture(scope="module")
def pairs(model: BodyModel) -> np.ndarray:
    """The landmark on the other side of each, as the file has it."""
    with np.load(model.path) as z:
        return z["mp468_mirror"]


def face(model: BodyModel, **coefficients: float) -> np.ndarray:
    """(V, 3) the rest pose with a face."""
    m = expression.face_map(model)
    c = np.zeros(N_ARKIT, np.float32)
    for name, value in coefficients.items():
        for side in ("Left", "Right") if name + "Left" in A else ("",):
            c[A[name + side]] = value
    pose = np.zeros((N_JOINTS, 3), np.float32)
    pose[JOINT["jaw"]] = c @ m.jaw
    return Poser(model.skinned())(pose, c @ m.expression, np.zeros(3, np.float32)).copy()


def landmarks(model: BodyModel, vertices: np.ndarray | None = None) -> np.ndarray:
    assert model.landmarks is not None
    return model.landmarks.points(model.v_template if vertices is None else vertices, model.faces)


def distance_to_mask(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(n,) millimetres from pixel positions (n, 2) to the nearest pixel of a mask drawn at rims.PIXEL."""
    ys, xs = np.nonzero(mask)
    gaps = np.linalg.norm(np.stack([xs, ys], 1)[None] + 0.5 - pixels[:, None, :2], axis=2)
    return gaps.min(1) * rims.PIXEL / MM


def front(model: BodyModel, vertices: np.ndarray, centre: np.ndarray, width: float, height: float):
    """(part (H, W) seen from the front, -1 for none; pixels of the vertices) without lashes."""
    bare = np.flatnonzero(model.face_part < 6)
    view = shade.View(tuple(centre), 1 / rims.PIXEL, (round(width / rims.PIXEL), round(height / rims.PIXEL)))
    picture = shade.draw(vertices, model.faces[bare], np.zeros((len(bare), 3)), view)
    return np.where(picture.face >= 0, model.face_part[bare[picture.face]].astype(int), -1), picture.points


def edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that touch its outside."""
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    out = mask.copy()
    out[1:-1, 1:-1] &= ~inner
    return out


def test_what_the_files_are(model: BodyModel):
    assert model.v_template.shape == (14104, 3) and model.faces.shape == (27980, 3)
    assert model.expression_names == tuple(ARKIT)
    head = body.load(body.OPEN_HUMAN_HEAD)
    assert head.kind == "flame" and head.expression_names == tuple(ARKIT) and head.smplx_vertex is not None
    with np.load(model.path) as a, np.load(head.path) as b:
        assert not [k for z in (a, b) for k in z.files if z[k].dtype == object]
        np.testing.assert_array_equal(a["shapedirs"][head.smplx_vertex][:, :, 300:], b["shapedirs"][:, :, 300:])


def test_sizes_are_human(model: BodyModel):
    low, high = model.v_template.min(0), model.v_template.max(0)
    joints = model.joints()
    assert 1.6 < high[1] - low[1] < 1.9 and 1.6 < high[0] - low[0] < 1.95
    np.testing.assert_allclose(joints[0], [0, -0.3514, 0.012], atol=5 * MM)
    assert 0.055 < np.linalg.norm(joints[LEFT_EYE] - joints[RIGHT_EYE]) < 0.07
    assert joints[JOINT["left_wrist"], 0] > 0.5, "the person's left is +x"


def test_smplx_software_finds_its_named_vertices(model: BodyModel):
    at = {name: model.v_template[v] for name, v in SMPLX_VERTEX.items()}
    assert abs(at["nose"][0]) < MM and at["nose"][2] > at["lear"][2]
    assert at["lear"][0] > 0.05 and at["rear"][0] < -0.05
    assert at["lindex"][0] > model.joints()[JOINT["left_index3"], 0]
    assert at["LBigToe"][2] > at["LHeel"][2] and at["LBigToe"][0] < at["LSmallToe"][0]


def test_the_two_sides_are_mirror_images(model: BodyModel):
    mirror = model.mirror
    assert mirror is not None and (mirror[mirror] == np.arange(len(mirror))).all()
    assert np.abs(model.v_template - model.v_template[mirror] * FLIP).max() < 0.01 * MM
    assert np.abs(model.weights - model.weights[mirror][:, JOINT_MIRROR]).max() < 1e-5
    twin = [ARKIT.index(other_side(n)) for n in ARKIT]
    flipped = model.expression_dirs[mirror][:, :, twin] * FLIP[:, None]
    assert np.abs(model.expression_dirs - flipped).max() < 0.02 * MM, "half precision"
    triangles = {frozenset(f) for f in model.faces.tolist()}
    assert all(frozenset(f) in triangles for f in mirror[model.faces].tolist())


def test_landmarks_are_mirror_images_within_a_tenth_of_a_millimetre(model: BodyModel, pairs: np.ndarray):
    p = landmarks(model)
    assert np.linalg.norm(p - p[pairs] * FLIP, axis=1).max() < 0.1 * MM
    assert np.abs(p[pairs == np.arange(468), 0]).max() < 0.05 * MM
    smile = landmarks(model, face(model, mouthSmile=0.7, eyeBlink=0.5, jawOpen=0.4))
    assert np.linalg.norm(smile - smile[pairs] * FLIP, axis=1).max() < 0.1 * MM, "also when the face moves"


def test_every_landmark_lies_on_skin(model: BodyModel):
    assert model.landmarks is not None
    assert (model.face_part[model.landmarks.faces_idx] == body.SKIN).all()
    assert (model.landmarks.bary >= 0).all()
    np.testing.assert_allclose(model.landmarks.bary.sum(1), 1, atol=1e-5)
    assert not np.isin(model.region("inner_mouth"), model.faces[model.landmarks.faces_idx[:468]]).all()


@pytest.mark.parametrize("eye", [1, 2])
def test_lid_landmarks_lie_on_the_rim_of_the_aperture(model: BodyModel, pairs: np.ndarray, eye: int):
    centre = model.joints()[LEFT_EYE if eye == 1 else RIGHT_EYE]
    part, _ = front(model, model.v_template, centre, 0.046, 0.03)
    ids = np.array(LIDS if eye == 2 else pairs[LIDS])
    view = shade.View(tuple(centre), 1 / rims.PIXEL, part.shape[::-1])
    pixels = view.project(landmarks(model)[ids])
    assert distance_to_mask(edge(part == eye), pixels).max() < 0.25


def test_a_blink_brings_the_lid_landmarks_together_and_hides_the_eyeball(model: BodyModel):
    blink = face(model, eyeBlink=1)
    p = landmarks(model, blink)
    past = p[rims.LOWER_LID, 1] - p[rims.UPPER_LID, 1]  # the upper lid comes down over the lower one
    assert past.min() > 0 and past.max() < 3 * MM
    half = landmarks(model, face(model, eyeBlink=0.5))
    assert (half[rims.UPPER_LID, 1] > half[rims.LOWER_LID, 1]).all(), "half a blink is half open"
    for eye, joint in ((1, LEFT_EYE), (2, RIGHT_EYE)):
        part, _ = front(model, blink, model.joints()[joint], 0.046, 0.03)
        assert not (part == eye).any()


def test_the_seam_of_the_lips(model: BodyModel):
    """Upper and lower points meet on the closed mouth, belong to their own lip, and never cross as the jaw opens."""
    rest = landmarks(model)
    assert np.abs(rest[UPPER_SEAM, 1] - rest[LOWER_SEAM, 1]).max() < 0.5 * MM
    before = np.zeros(len(UPPER_SEAM))
    for opening in (0.1, 0.3, 0.6, 1.0):
        p = landmarks(model, face(model, jawOpen=opening))
        gap = p[UPPER_SEAM, 1] - p[LOWER_SEAM, 1]
        assert (gap > before).all()
        before = gap
    assert before[-1] > 20 * MM


def test_seam_landmarks_are_at_the_visible_gap_of_the_opening_mouth(model: BodyModel):
    """With the jaw a little open, what lies between the lips is not skin; the seam's points border on it."""
    vertices = face(model, jawOpen=0.35)
    centre = landmarks(model)[[13, 14]].mean(0)
    bare = np.flatnonzero(model.face_part < 6)
    view = shade.View(tuple(centre), 1 / rims.PIXEL, (1200, 700))
    picture = shade.draw(vertices, model.faces[bare], np.zeros((len(bare), 3)), view)
    shown = np.where(picture.face >= 0, bare[picture.face], 0)
    inside = np.isin(model.faces[shown], model.region("inner_mouth")).all(2) | np.isin(
        model.face_part[shown], (3, 4, 5)
    )
    pixels = view.project(landmarks(model, vertices)[[*UPPER_SEAM[1:], *LOWER_SEAM[1:]]])
    assert distance_to_mask(inside, pixels).max() < 2.0, "the rest of the lip rolls into view"


def test_outer_lip_landmarks_lie_on_the_lips_border(model: BodyModel):
    """The rows' outermost points lie at the edge of the two lips' vertex sets, the others inside."""
    lips = np.concatenate([model.region("upper_lip"), model.region("lower_lip")])
    on_lip = np.zeros(len(model.v_template), bool)
    on_lip[lips] = True
    assert model.landmarks is not None
    share = (on_lip[model.faces[model.landmarks.faces_idx]] * model.landmarks.bary).sum(1)
    border = [*rims.UPPER_LIP[0], *rims.LOWER_LIP[0]]
    inner = [i for row in (*rims.UPPER_LIP[1:3], *rims.LOWER_LIP[1:3]) for i in row[1:]]
    touching = on_lip[model.faces[model.landmarks.faces_idx[border]]].any(1)
    assert touching.all() and (share[border] < 0.999).sum() >= len(border) - 1
    assert (share[inner] > 0.999).all()


def test_irises(model: BodyModel):
    assert model.iris is not None
    p, joints = model.iris.points(model.v_template, model.faces), model.joints()
    for first, joint in ((0, RIGHT_EYE), (5, LEFT_EYE)):
        centre, ring = p[first], p[first + 1 : first + 5]
        np.testing.assert_allclose(centre[:2], joints[joint][:2], atol=0.3 * MM)
        assert centre[2] > joints[joint][2] + 0.01
        np.testing.assert_allclose(np.linalg.norm(ring[:, :2] - centre[:2], axis=1), shade.IRIS_RADIUS, atol=0.4 * MM)
        assert ring[0, 0] > centre[0] > ring[2, 0] and ring[1, 1] > centre[1] > ring[3, 1]
    turned = np.zeros((N_JOINTS, 3), np.float32)
    turned[[LEFT_EYE, RIGHT_EYE], 1] = 0.3
    posed = Poser(model.skinned())(turned, np.zeros(52, np.float32), np.zeros(3, np.float32))
    assert (model.iris.points(posed, model.faces)[[0, 5], 0] - p[[0, 5], 0] > 3 * MM).all(), "looks to its left"


def test_the_jaw_joint_is_the_artists_jaw(model: BodyModel):
    """jawOpen by the jaw joint and jawOpen by its direction are the same face."""
    c = np.zeros(N_ARKIT, np.float32)
    c[A["jawOpen"]] = 1
    direction = Poser(model.skinned())(np.zeros((N_JOINTS, 3), np.float32), c, np.zeros(3, np.float32)).copy()
    assert np.abs(face(model, jawOpen=1) - direction).max() < 0.2 * MM


def test_vertex_sets(model: BodyModel):
    sets = {name: set(model.region(name).tolist()) for name in body.REGIONS}
    assert all(sets.values())
    for a, b in (
        ("upper_lip", "lower_lip"),
        ("left_upper_lid", "left_lower_lid"),
        ("left_upper_lid", "right_upper_lid"),
    ):
        assert not sets[a] & sets[b]
    mirror = model.mirror
    assert mirror is not None
    assert {int(mirror[v]) for v in sets["left_upper_lid"]} == sets["right_upper_lid"]
    assert {int(mirror[v]) for v in sets["inner_mouth"]} == sets["inner_mouth"]
    centre = landmarks(model)[[13, 14]].mean(0)
    bare = np.flatnonzero(model.face_part < 6)
    picture = shade.draw(
        model.v_template, model.faces[bare], np.zeros((len(bare), 3)), shade.View(tuple(centre), 8000, (800, 500))
    )
    seen = bare[np.unique(picture.face[picture.face >= 0])]
    assert not np.isin(model.faces[seen[model.face_part[seen] == 0]], model.region("inner_mouth")).any()
