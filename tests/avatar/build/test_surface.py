"""Hair, classes and completion: on made-up surfaces, and on the demo's photo."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import scipy.sparse as sp

import avatar.build.fit as fitting
from avatar.build import (
    anatomy,
    check,
    colour,
    completion,
    contour,
    grain,
    observe,
    parts,
    prune,
    refine,
    scalp,
    seed,
    shell,
    stretch,
    unroll,
)
from avatar.build.parts import CLOTH, HAIR, SKIN
from avatar.render import cpu
from avatar.render.contract import LAYER, TOLERANCE, Camera
from avatar.rig import Rig
from models import body
from tests.avatar.build import made_up

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Built, Person


def test_subdivision_keeps_a_plane_flat_and_even() -> None:
    y, x = np.mgrid[:4, :4]
    i = np.arange(16).reshape(4, 4)
    faces = np.concatenate(
        [
            np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:]], -1).reshape(-1, 3),
            np.stack([i[:-1, :-1], i[1:, 1:], i[1:, :-1]], -1).reshape(-1, 3),
        ]
    )
    step, finer = scalp.loop_step(faces, 16)
    assert np.allclose(step.sum(1), 1)
    assert len(finer) == 4 * len(faces) and finer.max() == step.shape[0] - 1
    points = step @ np.stack([x.ravel(), y.ravel(), np.ones(16)], 1)
    assert np.allclose(points[:, 2], 1)
    tri = points[finer][:, :, :2]
    area = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    assert (area > 0).all()  # no triangle is turned over
    assert np.allclose((step @ x.ravel())[5], 1) and np.allclose((step @ y.ravel())[5], 1)  # an inner vertex stays


def test_what_spreads_stays_between_what_is_known_and_is_harmonic() -> None:
    n = 30
    chain = sp.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1]).tocsr()
    known = np.zeros(n, bool)
    known[[0, -1]] = True
    value = np.linspace(0, 1, n)[:, None] * known[:, None]
    out = completion.spread(chain, known, value, 1e-9, np.array([0.5]))
    assert np.allclose(out[:, 0], np.linspace(0, 1, n), atol=1e-4)


def test_fields_meet_in_a_line() -> None:
    """Halfway between hair and skin there is no mixture of the two but a step."""
    fields = completion.Fields(np.eye(3)[[HAIR, SKIN, SKIN]], np.broadcast_to(np.eye(3), (3, 3, 3)))
    t = np.linspace(0, 1, 101)
    w = np.stack([1 - t, t, 0 * t], 1)
    red = fields.at(np.tile([0, 1, 2], (101, 1)), w)[:, 0]
    assert (np.diff(red) <= 1e-9).all() and red[0] > 0.99 and red[-1] < 0.01
    assert ((red > 0.1) & (red < 0.9)).sum() < 25


def test_what_lies_beside_bare_scalp_looks_like_it() -> None:
    """A row of spots, 2 mm apart: the first are scalp that the photo shows, bare or hairy; all others are hidden."""
    x = np.arange(20) * 0.002
    points = np.stack([x, 0 * x, 0 * x], 1)
    seen = np.arange(20) < 6
    colour = np.where(seen, 0.8, 0.2)[:, None] * np.ones(3)
    bare, hairy = (
        completion.beside_bare_scalp(colour, points, ~seen, np.ones(20, bool), np.full(20, p))[:, 0] for p in (1.0, 0.0)
    )
    assert np.array_equal(hairy, colour[:, 0]) and np.array_equal(bare[seen], colour[seen, 0])
    assert bare[6] > 0.79 and (np.diff(bare[6:]) < 1e-6).all() and np.allclose(bare[11:], 0.2)
    no_scalp = completion.beside_bare_scalp(colour, points, ~seen, np.zeros(20, bool), np.ones(20))
    assert np.array_equal(no_scalp, colour)


def test_the_scalp_reaches_the_outline_of_the_hair(person: Person) -> None:
    """The bare skull of the model misses the hair over the eyes by far more than the scalp does."""
    o, model = person.o, person.model
    skin = model.faces[model.face_part == anatomy.SKIN]
    both = np.concatenate([skin, person.scalp.faces + len(person.vertices)])
    posed = np.concatenate([person.vertices, person.scalp.vertices])
    size = o.camera.width, o.camera.height
    covers = lambda faces: np.isfinite(cpu.zbuffer(o.camera.project(posed), faces.astype(np.int32), *size)[0])  # noqa: E731
    top = np.zeros(o.alpha.shape, bool)
    top[: int(o.landmarks[10, 1])] = True  # over the forehead
    hair = (o.alpha > 0.5) & top
    bare, grown = (hair & ~covers(f) for f in (skin, both))
    assert grown.sum() < 0.4 * bare.sum()
    outside = (covers(both) & top & (o.alpha < 0.1)).sum()
    assert outside < 0.02 * hair.sum()


def test_the_scalp_dips_under_the_skin_at_the_hairline_and_hangs_on_the_skull_alone(person: Person) -> None:
    s = person.scalp
    edges, count = np.unique(
        np.sort(np.concatenate([s.faces[:, [0, 1]], s.faces[:, [1, 2]], s.faces[:, [2, 0]]]), 1),
        axis=0,
        return_counts=True,
    )
    border = np.unique(edges[count == 1])
    assert np.allclose(s.height[border], scalp.SUNK, atol=1e-4)
    assert s.height.max() < scalp.FARTHEST * 0.2  # no more than hair that stands 6 cm off a head 0.2 m wide
    assert (s.weights[:, prune.HEAD] == 1).all()


def test_hair_gains_its_height_behind_the_hairline_and_is_thickest_at_the_back(person: Person) -> None:
    s, skin = person.scalp, person.scalp.origin @ person.vertices
    border = skin[np.isclose(s.height, scalp.SUNK, atol=1e-4)]
    away = np.linalg.norm(skin[:, None] - border[None], axis=2).min(1)
    at_the_line, full = np.median(s.height[away < 0.3 * scalp.RAMP]), away > scalp.RAMP
    behind = full & (skin[:, 2] < np.quantile(skin[:, 2], 0.3))
    assert at_the_line < 0.5 * np.median(s.height[full])
    assert np.median(s.height[behind]) >= np.median(s.height[full])


def test_a_high_crown_does_not_make_the_back_of_short_hair_thick() -> None:
    """Outlines tell 40 mm above and 10 mm at the sides; what hangs down falls from the crown."""
    angle = np.linspace(0, np.pi, 181)
    normal = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    told = np.where(np.abs(normal[:, 0]) > 0.8, 0.010, 0.040)
    short, hanging = (scalp._usual(told, normal, hangs) for hangs in (False, True))
    assert 0.010 <= short < 0.020
    assert hanging >= 0.040


def test_wide_sides_do_not_make_the_back_thicker_than_the_whole_outline_does() -> None:
    normal = np.array([[0.0, 1.0, 0.0]] * 9 + [[1.0, 0.0, 0.0]])
    told = np.array([0.01] * 9 + [0.05])
    assert scalp._usual(told, normal, False) <= scalp._usual(told, normal, True)


@pytest.mark.parametrize(("seed", "long"), [(202, True), (205, True), (201, False), (206, False)])
def test_hair_beside_the_neck_goes_on_behind_it(nets: None, seed: int, long: bool) -> None:
    """Nobody whose hair ends at the ears gets hair behind the neck."""
    s = made_up.scene({}, seed=seed, aside=0)
    assert s.human.long_hair == long
    model, o = body.load(), made_up.observed(s)
    fit = fitting.fit(model, o.camera, o.face, o.person.body)
    vertices = refine.refine(model, fit, o.landmarks, o.alpha).vertices
    grown = scalp.build(model, o, vertices, parts.find(model, o, vertices), np.zeros(len(vertices), bool))
    assert grown.behind.any() == long
    low = vertices[model.faces[anatomy.of(model).of_part(anatomy.LEFT_EYE)[model.faces].all(1)]].mean((0, 1))[1] - 0.12
    assert (grown.vertices[:, 1] < low).any() == long
    turned = grown.weights[:, prune.HEAD]
    assert (turned == 1).all() != long  # what lies on the neck turns with the neck


def test_the_sheet_starts_at_the_depth_of_the_contour_not_of_the_face() -> None:
    y, x = np.mgrid[:60, :80]
    off = np.hypot(x - 30, y - 30)
    depth = np.where(off < 20, 0.5 + 0.1 * (off / 20) ** 2, 0).astype(np.float32)  # a bowl: the middle 10 cm nearer
    beyond = shell._of_the_contour(depth, off < 20, 2.0)
    assert abs(beyond[30, 52] - 0.59) < 0.012 and abs(beyond[30, 70] - 0.59) < 0.012


def test_the_sheet_lies_behind_the_body(built: Built) -> None:
    """Where a temple falls back to the hair it stood up to 8 cm before it: 4 % of what both cover, now a hundredth."""
    a = built.avatar
    pixels, size = a.camera.project(Rig(a).vertices(a.photo)), (a.camera.width, a.camera.height)
    sheet, skin = (
        cpu.zbuffer(pixels, np.ascontiguousarray(a.mesh.faces[np.isin(a.part, parts)]), *size)[0]
        for parts in ((anatomy.SHELL,), (anatomy.SKIN, anatomy.SCALP))
    )
    both = np.isfinite(sheet) & np.isfinite(skin)
    assert both.sum() > 1000
    assert (sheet[both] < skin[both] - TOLERANCE[LAYER["fringe"]]).mean() < 0.015


def test_the_sheet_goes_back_from_the_body_to_its_edge() -> None:
    covered = np.zeros((40, 80), bool)
    covered[:, :20] = True
    alpha = np.zeros((40, 80), np.float32)
    alpha[:, :50] = 1
    row = shell._rounded(alpha, covered, 20.0)[20]
    assert np.allclose(row[:20], 0)
    assert (np.diff(row[20:49]) >= 0).all() and row[48] > 10
    assert row[48] - row[44] > row[24] - row[20]  # ever steeper


def _sheet_about(depth: np.ndarray, alpha: np.ndarray) -> shell.Shell:
    """The sheet about a body of depth (H, W) m, inf where there is none, with matte alpha (H, W)."""
    H, W = depth.shape
    o = SimpleNamespace(face_width=140.0, camera=Camera(300.0, W / 2, H / 2, W, H), alpha=alpha.astype(np.float32))
    ids = np.where(np.isfinite(depth), 0, -1).astype(np.int32)
    weights = np.zeros((3, 55))
    weights[:, shell.JOINTS[0]] = 1
    known = np.where(ids >= 0, depth, 0).astype(np.float32)
    return shell.build(o, known, ids, np.array([[0, 1, 2]], np.int32), weights)  # type: ignore[arg-type]


def test_the_sheet_does_not_bridge_a_cheek_and_the_ear_behind_it() -> None:
    """Where a near part of the body meets a far one at its outline, a bridge under it lay before what a turn shows
    between them, and its spots smeared over that."""
    y, x = np.mgrid[:200, :200]
    body = np.where(x < 98, 0.5, 0.6)  # between two lines of the grid
    body[(y > 140) | (x > 160)] = np.inf
    alpha = (y < 180) & (x < 180)
    coat = _sheet_about(body, alpha)
    camera = Camera(300.0, 100.0, 100.0, 200, 200)
    depth, _ = cpu.zbuffer(camera.project(coat.vertices), coat.faces.astype(np.int32), 200, 200)
    well_under = np.isfinite(body) & (y < 138) & (x < 158)
    assert not (well_under & (depth < np.where(np.isfinite(body), body, 0))).any()


def test_a_rim_of_the_matte_about_the_body_hides_nothing() -> None:
    """Beside a cheek it would be seen as a line before the cheek's side."""
    y, x = np.mgrid[:200, :200]
    off = np.hypot(x - 100, y - 100)
    body = np.where(off < 60, 0.5 + 0.05 * (off / 60) ** 2, np.inf)
    assert not _sheet_about(body, off < 63).solid.any()
    hair = _sheet_about(body, off < 90)
    pixels = Camera(300.0, 100.0, 100.0, 200, 200).project(hair.vertices)[:, :2]
    near = np.hypot(*(pixels - 100).T)[hair.faces[hair.solid]]
    assert near.min() < 60 and near.max() > 85  # and what is more than a rim hides, from under the body's edge on


def test_what_is_hidden_begins_in_the_contours_colours() -> None:
    """A line before the ear was where the fill met the photo."""
    n = 400
    along = np.linspace(-0.05, 0.05, n)  # m; triangles of a millimetre, the photo shows those up to 0
    corner = np.stack([along, np.zeros(n), np.zeros(n)], 1)
    flat = corner[:, None] + 0.001 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    back = flat[:, [0, 2, 1]]  # the same, facing away
    mesh = SimpleNamespace(
        posed=np.concatenate([flat, back]).reshape(-1, 3), skin=SimpleNamespace(faces=np.arange(6 * n).reshape(-1, 3))
    )
    seeds = SimpleNamespace(face=np.arange(2 * n), bary=np.full((2 * n, 2), 1 / 3))
    shown = np.concatenate([along < 0, np.zeros(n, bool)])
    off = np.where(shown[:, None], 0.2, 0.0) * np.ones(3)
    given = lambda cloth: contour.off_at_the_contour(mesh, seeds, ~shown, shown, off, cloth)  # type: ignore[arg-type]  # noqa: E731
    hidden = np.concatenate([along, along])[~shown]
    front = np.flatnonzero(~shown) < n
    taken = given(np.zeros(2 * n))[:, 0]
    assert (taken[front & (hidden < 0.002)] > 0.19).all() and (taken[front & (hidden > 0.045)] < 0.01).all()
    assert (np.diff(taken[front]) < 1e-9).all()
    assert (taken[~front] < 0.05).all()
    assert (given(np.where(shown, 0.0, 1.0)) < 0.01).all()  # skin tells nothing of a collar


def test_a_neck_keeps_the_collar_that_covers_it(person: Person) -> None:
    """Taken for a jaw, its upper edge was ragged: half of it had the photo's colours, half the skin's."""
    model, faces = person.model, person.model.faces
    mesh = SimpleNamespace(
        posed=person.vertices,
        body_vertices=len(person.vertices),
        skin=SimpleNamespace(faces=faces),
        part=model.face_part,
    )
    on = colour._on_head(model, mesh, SimpleNamespace(face=np.arange(len(faces))))  # type: ignore[arg-type]
    a = anatomy.of(model)
    skin = model.face_part == anatomy.SKIN
    assert not on[skin & (a.neck[faces].mean(1) > 0.4)].any()
    assert on[skin & (a.head[faces].min(1) > 0.9)].all()


def test_what_a_turn_uncovers_behind_the_temple_is_hair(built: Built, person: Person) -> None:
    """Without classes it was tan skin at 25 degrees."""
    a = built.avatar
    first = a.gaussians.confidence < 3  # not seen in the photo
    on = first & (a.part[a.gaussians.face] == anatomy.SCALP)
    assert on.sum() > 500
    o = person.o
    lab = lambda c: cv2.cvtColor(np.asarray(c, np.float32)[None], cv2.COLOR_RGB2LAB)[0]  # noqa: E731
    hair = o.foreground[(person.parts.probability[..., HAIR] > 0.9) & (o.alpha > 0.98)]
    means = lab(np.stack([np.median(hair, 0), person.parts.skin_tone, np.median(o.background, (0, 1)) / 255]))
    away = np.linalg.norm(lab(a.gaussians.colour[on])[:, None] - means, axis=2)
    assert (away.argmin(1) == 0).mean() > 0.85
    for yaw in (-25, 25):  # and these do show
        limits: prune.Limits = {n: ((-np.pi, np.pi),) * 3 for n in ("neck", "head")}
        pose = prune.turned(a.neutral.pose, limits, 0, np.radians(yaw) / (2 * np.pi))
        state = check.State(pose.astype(np.float32), a.neutral.translation, a.neutral.expression, a.neutral.correction)
        painted = np.where(on[:, None], np.array([1, 0, 0]), np.array([0, 0, 0])).astype(np.float32)
        drawn = check.draw(check.replace(a, gaussians=check.replace(a.gaussians, colour=painted)), state)
        assert (drawn[..., 0] > 0.5).sum() > 0.004 * (drawn[..., 3] > 0.5).sum()


def test_a_jaw_takes_its_colours_clear_of_the_collar(person: Person) -> None:
    """A pixel of a collar on the jaw's outline would become a smear over the cheek as the head turns."""
    cloth = person.parts.probability[..., CLOTH] > 0.5
    away = cv2.distanceTransform((~cloth).astype(np.uint8), cv2.DIST_L2, 5)
    well_inside = cv2.distanceTransform((person.o.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5) > 3 * grain.EDGE
    y, x = np.nonzero((away > 0) & (away < 2) & well_inside)
    pixels = (np.stack([x, y], 1) + 0.5).astype(np.float64)
    assert len(pixels) > 50 and (grain.inwards(person.o, pixels) == pixels).mean() > 0.9
    there = np.floor(grain.inwards(person.o, pixels, cloth)).astype(int)
    assert np.median(away[there[:, 1], there[:, 0]]) > 0.8 * grain.EDGE * observe.unit(person.o)


def test_an_opening_mouth_and_closing_eyes_draw_no_gaussian_out(built: Built, person: Person) -> None:
    """Hidden spots on lips that an opening mouth stretches were up to 17 px long."""
    a, o = built.avatar, person.o
    n, rng = len(a.mesh.faces), np.random.default_rng(0)
    face, zeros = rng.integers(0, n, 2000), np.zeros(2000)
    seeds = seed.Seeds(
        face, np.full((2000, 2), 1 / 3), np.tile(np.eye(2), (2000, 1, 1)), zeros + 1, zeros.astype(np.uint8),
        np.zeros((2000, 2)), zeros > 0, zeros, zeros > 0, zeros > 0,
    )  # fmt: skip
    folds, rig = unroll.unrolled(person.model, a), Rig(a)
    bounded = stretch.bounded(a, o, seeds, folds)
    longest = np.max([stretch.largest_axes(v, a.mesh.faces, face, bounded.shape) for v in folds.moved], 0)
    before = stretch.largest_axes(rig.vertices(a.photo), a.mesh.faces, face, seeds.shape)
    most = stretch.MOST * observe.unit(o) / o.camera.focal * -rig.vertices(a.photo)[a.mesh.faces[face, 0], 2]
    assert (longest < np.maximum(1.5 * most, 1.001 * before)).all()
    kept = np.isclose(bounded.shape, seeds.shape).all((1, 2))
    assert kept.any() and not kept.all()  # what is small enough stays as it is


def test_spots_that_bridge_two_depths_keep_their_length(built: Built, person: Person) -> None:
    """Between arm and trunk, shortened, they left holes in the photo itself. What hides below them may be shorter."""
    a = built.avatar
    far = np.flatnonzero(a.mesh.joint_weight[a.mesh.faces][..., 0].min(1) > 0.999)  # rigid: a mouth does not move them
    head = np.isin(a.mesh.joint_index[a.mesh.faces[far]][..., 0], (*anatomy.HEAD_JOINTS,)).any(1)
    face = far[~head][:200]
    n, zeros = len(face), np.zeros(len(face))
    assert n
    seeds = seed.Seeds(
        face, np.full((n, 2), 1 / 3), np.tile(9 * np.eye(2), (n, 1, 1)), zeros + 1, zeros.astype(np.uint8),
        np.zeros((n, 2)), zeros == 0, zeros, zeros > 0, zeros > 0,
    )  # fmt: skip
    folds = unroll.unrolled(person.model, a)
    assert np.allclose(stretch.bounded(a, person.o, seeds, folds).shape, seeds.shape, rtol=1e-3)


def test_the_photo_state_redraws_the_matte(built: Built, person: Person) -> None:
    """A lattice that samples a sharp matte blurs it; the opacities are solved for."""
    o = person.o
    drawn = check.draw(built.avatar, built.avatar.photo)[..., 3]
    soft = cv2.dilate(((o.alpha > 0.02) & (o.alpha < 0.98)).astype(np.uint8), np.ones((3, 3))) > 0
    error = float(np.abs(drawn - o.alpha)[soft].mean())
    assert error < 0.04


def test_nothing_shines_through_what_a_turn_puts_in_the_heads_middle(built: Built) -> None:
    """Hair and skin at the photo's outline are half transparent there; turned, the wall must not gleam through them."""
    a = built.avatar
    corners = a.mesh.faces[a.gaussians.face]
    w = np.concatenate([1 - a.gaussians.bary.sum(1, keepdims=True), a.gaussians.bary], 1)
    points = np.einsum("nk,nkc->nc", w, Rig(a).vertices(a.photo)[corners])
    inside = cv2.erode((check.draw(a, a.photo)[..., 3] > 0.6).astype(np.uint8), np.ones((3, 3))) > 0
    q = np.floor(a.camera.project(points)[:, :2]).astype(int)
    at = inside[q[:, 1].clip(0, a.camera.height - 1), q[:, 0].clip(0, a.camera.width - 1)]
    surface = a.occluder[a.gaussians.face] & np.isin(a.part[a.gaussians.face], [anatomy.SKIN, anatomy.SCALP])
    assert (a.gaussians.opacity[surface & at] > 0.95).mean() > 0.999
