"""The avatar file: what is written is read back, and whatever is damaged is named, never a crash."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avatar import archive, asset, licensed, migrate
from avatar.asset import Avatar, AvatarError
from avatar.render import cpu
from avatar.rig import Rig
from models import body
from models.skinning import SparseDirections
from tests.avatar import synthetic

DATA = Path(__file__).parent / "data"
OTHERS = (archive.TENSORS, archive.BACKGROUND, archive.PREVIEW)
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def tiny() -> Avatar:
    return synthetic.tiny()


@pytest.fixture(scope="module")
def saved(tiny: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("avatars") / "tiny.avatar"
    asset.save(tiny, path)
    return path


def same(a: Any, b: Any, tolerance: float, where: str = "avatar") -> None:
    if is_dataclass(a):
        for f in fields(a):
            same(getattr(a, f.name), getattr(b, f.name), tolerance, f"{where}.{f.name}")
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        pictures = where.endswith(("background", "preview"))
        np.testing.assert_allclose(b.astype(float), a, rtol=0, atol=3 if pictures else tolerance, err_msg=where)
    else:
        assert a == b, where


def picture(a: Avatar) -> np.ndarray:
    return cpu.Rasterizer(a, 1).draw(Rig(a).vertices(a.photo), a.camera)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """A copy of the file at `path` with manifest and members changed and all hashes right."""
    manifest, members = archive.read(path)
    change(manifest, members)
    out = path.with_name("changed.avatar")
    archive.write(out, manifest, members)
    return out


def tensors_changed(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Path:
    def edit(_: dict[str, Any], members: dict[str, bytes]) -> None:
        t = {k: v.copy() for k, v in safetensors.numpy.load(members[archive.TENSORS]).items()}
        new = change(t.pop(name))
        members[archive.TENSORS] = safetensors.numpy.save(t if new is None else t | {name: new})

    return rewritten(path, edit)


# ---- round trip ------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tiny: Avatar, saved: Path) -> None:
    again = asset.load(saved)
    same(tiny, again, 1e-3)
    same(replace(tiny.mesh, joint_weight=again.mesh.joint_weight), again.mesh, 1e-5)
    np.testing.assert_allclose(again.mesh.joint_weight.sum(1), 1, atol=1e-6)
    mse = np.mean((picture(again) - picture(tiny)) ** 2)
    assert -10 * np.log10(mse) > 60


def test_a_real_body_survives_and_is_small(tmp_path: Path) -> None:
    a = synthetic.avatar(20_000, "half", 256)
    a = replace(a, body_model=a.body_model | {"licence": "CC0-1.0"})
    asset.save(a, tmp_path / "a.avatar")
    b = asset.load(tmp_path / "a.avatar")
    assert np.abs(Rig(a).vertices(a.photo) - Rig(b).vertices(b.photo)).max() < 1e-4
    assert -10 * np.log10(np.mean((picture(a) - picture(b)) ** 2)) > 55
    assert os.path.getsize(tmp_path / "a.avatar") < 4e6


def test_the_same_avatar_gives_the_same_bytes(tiny: Avatar, saved: Path, tmp_path: Path) -> None:
    asset.save(tiny, tmp_path / "again.avatar")
    assert (tmp_path / "again.avatar").read_bytes() == saved.read_bytes()


def test_standard_tools_read_it(saved: Path) -> None:
    with zipfile.ZipFile(saved) as z:
        assert z.namelist() == ["manifest.json", "tensors.safetensors", "background.webp", "preview.webp"]
        manifest = json.loads(z.read("manifest.json"))
        assert manifest["schema"] == asset.SCHEMA
        for name in OTHERS:
            assert manifest["members"][name] == hashlib.sha256(z.read(name)).hexdigest()
        assert safetensors.numpy.load(z.read("tensors.safetensors"))["gaussians.face"].dtype == np.int32
        assert Image.open(io.BytesIO(z.read("background.webp"))).size == (48, 48)


def test_summary_is_enough_for_a_gallery(saved: Path) -> None:
    s = asset.summary(saved)
    assert (s["name"], s["framing"], s["width"], s["height"], s["warnings"]) == ("tiny", "bust", 48, 48, ("a warning",))
    assert Image.open(io.BytesIO(s["preview"])).format == "WEBP"


def test_nothing_half_written_stays(tiny: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.avatar"
    asset.save(tiny, path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        asset.save(replace(tiny, name="other"), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.avatar"]
    assert path.read_bytes() == before


def test_what_could_not_be_read_back_is_not_written(tiny: Avatar, tmp_path: Path) -> None:
    g = tiny.gaussians
    nan = np.full_like(g.colour, np.nan)
    wrong: list[tuple[Avatar, str]] = [
        (replace(tiny, gaussians=replace(g, colour=nan)), "gaussians.colour"),
        (replace(tiny, gaussians=replace(g, face=g.face + 1000)), "gaussians.face"),
        (replace(tiny, gaussians=replace(g, layer=g.layer + 50)), "layer"),
        (replace(tiny, occluder=tiny.occluder[:-1]), "occluder"),
        (replace(tiny, framing="close"), "framing"),
        (replace(tiny, background=tiny.background[:-2]), "background"),
        (replace(tiny, limits={"tail": ((0, 0),) * 3}), "tail"),
        (replace(tiny, limits={"head": ((0.1, 0.2),) * 3}), "photo's own pose"),
        (replace(tiny, quality={"rest_psnr": float("nan")}), "rest_psnr"),
        (replace(tiny, body_model={}), "sha256"),
        (replace(tiny, mesh=replace(tiny.mesh, parents=np.zeros(55, np.int32))), "parents"),
        (replace(tiny, view=(0, 0, 0, 0)), "view"),
    ]
    for avatar, word in wrong:
        with pytest.raises(AvatarError, match=word):
            asset.save(avatar, tmp_path / "a.avatar")
    assert not list(tmp_path.iterdir())


# ---- files of others -------------------------------------------------------------------------------------


def test_errors_name_the_file_the_thing_and_the_remedy(saved: Path, tmp_path: Path) -> None:
    def fails(path: Path, *words: str) -> None:
        with pytest.raises(AvatarError) as e:
            asset.load(path)
        assert str(path) in str(e.value)
        assert all(w in str(e.value) for w in words), e.value

    fails(tmp_path / "absent.avatar", "cannot be read")
    (tmp_path / "text.avatar").write_text("hello")
    fails(tmp_path / "text.avatar", "not an avatar")
    fails(tmp_path, "cannot be read")
    (tmp_path / "cut.avatar").write_bytes(saved.read_bytes()[:-300])
    fails(tmp_path / "cut.avatar", "damaged", "again")
    middle = bytearray(saved.read_bytes())
    middle[len(middle) // 2] ^= 1
    (tmp_path / "bit.avatar").write_bytes(middle)
    fails(tmp_path / "bit.avatar")
    with zipfile.ZipFile(saved) as z:
        content = {n: z.read(n) for n in z.namelist()}

    def packed(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / "packed.avatar"
        with zipfile.ZipFile(path, "w", compression) as z:
            for name, data in entries.items():
                z.writestr(name, data)
        return path

    fails(packed(content, zipfile.ZIP_DEFLATED), "compressed")
    fails(packed(content | {"../evil": b""}), "evil", "exactly")
    fails(packed({k: v for k, v in content.items() if k != "preview.webp"}), "exactly")
    fails(packed(content | {"preview.webp": b"x"}), "preview.webp", "sha256")
    fails(packed(content | {"manifest.json": b"{"}), "manifest.json")
    fails(packed(content | {"manifest.json": b'{"a": NaN}'}), "NaN")
    fails(packed(content | {"manifest.json": b"[" * 100_000}), "manifest.json")
    fails(packed(content | {"manifest.json": b" " * (2 << 20)}), "manifest.json", "bytes")


def test_a_bomb_is_not_unpacked(saved: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (9000, 10)).save(out, "WEBP")
    with pytest.raises(AvatarError, match="9000x10"):
        asset.load(rewritten(saved, lambda _, m: m.update({archive.BACKGROUND: out.getvalue()})))
    png = io.BytesIO()
    Image.new("RGB", (48, 48)).save(png, "PNG")
    with pytest.raises(AvatarError, match="no WebP"):
        asset.load(rewritten(saved, lambda _, m: m.update({archive.BACKGROUND: png.getvalue()})))
    huge = tmp_path / "huge.avatar"
    with huge.open("wb") as f:
        f.truncate(1 << 40)
    with pytest.raises(AvatarError, match="larger than any avatar"):
        asset.load(huge)


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("gaussians.face", lambda x: x + 1000, "ranges over"),
        ("gaussians.face", lambda x: x.astype(np.int64), "int64"),
        ("gaussians.opacity", lambda x: x * np.float16(np.nan), "finite"),
        ("gaussians.bary", lambda x: x[:-1], "shape"),
        ("gaussians.shape", lambda x: x[..., None], "shape"),
        ("mesh.faces", lambda x: -1 - x, "ranges over"),
        ("mesh.joint_index", lambda x: x + np.uint8(200), "ranges over"),
        ("mesh.joint_weight", lambda x: x * np.float16(0.5), "sum to 1"),
        ("mesh.parents", lambda x: x[::-1].copy(), "tree"),
        ("mesh.expression.indptr", lambda x: x + np.int32(1), "rise"),
        ("mesh.expression.vertex", lambda x: x + np.int32(1000), "ranges over"),
        ("mesh.expression.offset", lambda x: x[:-1], "length"),
        ("mesh.pose_feature", lambda x: x + np.int32(9 * 54), "ranges over"),
        ("correction.indptr", lambda x: x[::-1].copy(), "rise"),
        ("neutral.expression", lambda x: np.append(x, x), "shape"),
        ("photo.pose", lambda x: x + np.float32(np.inf), "finite"),
        ("part", lambda x: None, "lacks part"),
    ],
)
def test_arrays_are_checked_before_use(saved: Path, name: str, change: Callable[..., Any], word: str) -> None:
    with pytest.raises(AvatarError, match=word) as e:
        asset.load(tensors_changed(saved, name, change))
    assert name.split(".")[-1] in str(e.value)


def test_an_array_nobody_knows_is_refused(saved: Path) -> None:
    def edit(_: dict[str, Any], members: dict[str, bytes]) -> None:
        t = safetensors.numpy.load(members[archive.TENSORS])
        members[archive.TENSORS] = safetensors.numpy.save(t | {"extra": np.zeros(3)})

    with pytest.raises(AvatarError, match="unknown extra"):
        asset.load(rewritten(saved, edit))


def opens_or_says_why(path: Path) -> None:
    """Load; an avatar that loads must also pose and draw."""
    try:
        a = asset.load(path)
    except AvatarError:
        return
    v = Rig(a).vertices(a.photo)
    if np.isfinite(v).all():
        cpu.Rasterizer(a, 1).draw(v, a.camera.window(0, 0, a.camera.width, 64, 64))


@quick
@given(data=st.data())
def test_damaged_bytes_never_crash(saved: Path, data: st.DataObject) -> None:
    raw = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "set", "cut", "insert", "drop"]))
        if kind == "flip":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            piece = data.draw(st.binary(min_size=1, max_size=8))
            raw[at : at + len(piece)] = piece
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif kind == "drop":
            del raw[at : at + data.draw(st.integers(1, 64))]
        else:
            del raw[at:]
        raw = raw or bytearray(b"P")
    path = saved.with_name("damaged.avatar")
    path.write_bytes(raw)
    opens_or_says_why(path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=8), x, max_size=4),
    max_leaves=6,
)


@quick
@given(data=st.data())
def test_odd_manifests_never_crash(saved: Path, data: st.DataObject) -> None:
    def edit(manifest: dict[str, Any], _: dict[str, bytes]) -> None:
        where: Any = manifest
        while True:
            key: Any = data.draw(st.sampled_from(list(where) if isinstance(where, dict) else list(range(len(where)))))
            child = where[key]
            if isinstance(child, dict | list) and child and data.draw(st.booleans()):
                where = child
                continue
            where[key] = data.draw(json_values)
            return

    opens_or_says_why(rewritten(saved, edit))


ODD = [0, 1, 2, 7, 35, 36, 49, 50, 54, 200, 255, -1, -(2**31), 2**31 - 1, 1e-30, 9.9, -1e8]


@quick
@given(data=st.data())
def test_odd_arrays_never_crash(saved: Path, data: st.DataObject) -> None:
    def edit(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        t = {k: v.copy() for k, v in safetensors.numpy.load(members[archive.TENSORS]).items()}
        name = data.draw(st.sampled_from(sorted(t)))
        flat = t[name].reshape(-1)
        for _ in range(data.draw(st.integers(1, 4))):
            value = data.draw(st.sampled_from(ODD))
            with np.errstate(all="ignore"):
                flat[data.draw(st.integers(0, len(flat) - 1))] = np.asarray(value).astype(flat.dtype)
        members[archive.TENSORS] = safetensors.numpy.save(t)

    opens_or_says_why(rewritten(saved, edit))


# ---- schema versions -------------------------------------------------------------------------------------


def test_a_golden_file_of_schema_1_opens_and_draws_the_same_picture() -> None:
    a = asset.load(DATA / "golden_1.avatar")
    assert (a.name, a.framing, a.gaussians.count, a.warnings) == ("tiny", "bust", 200, ("a warning",))
    with np.load(DATA / "golden_1.npz") as z:
        want = z["picture"].astype(np.float32)
    assert want[..., 3].mean() > 0.2
    assert -10 * np.log10(np.mean((picture(a) - want) ** 2)) > 50


@pytest.mark.parametrize("version", [0, -1, "1", None, True, 1.0, 2**70, asset.SCHEMA + 1])
def test_other_schemas_are_refused(saved: Path, version: Any) -> None:
    with pytest.raises(AvatarError, match="schema"):
        asset.load(rewritten(saved, lambda m, _: m.update(schema=version)))


def test_old_schemas_go_up_one_by_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(manifest: dict[str, Any], members: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
        return manifest | {"name": manifest["name"] + "+"}, members

    monkeypatch.setattr(migrate, "SCHEMA", 3)
    monkeypatch.setattr(migrate, "STEPS", {1: rename, 2: rename})
    assert asset.load(saved).name == "tiny++"


# ---- licensed body models --------------------------------------------------------------------------------


@pytest.fixture
def on_a_licensed_body(tmp_path: Path) -> tuple[Avatar, Path]:
    """An avatar on the open human under another hash and licence, as if it were a user's own model file."""
    folder = tmp_path / "models"
    folder.mkdir()
    with np.load(body.OPEN_HUMAN, allow_pickle=False) as z:
        arrays = {k: z[k] for k in z.files if k != "licence"}
    np.savez(folder / "SMPLX_NEUTRAL.npz", **arrays, licence=np.array("for research only"))
    human = body.load(folder / "SMPLX_NEUTRAL.npz")
    assert human.sha256 != body.load().sha256
    betas = [0.5, -0.4]
    offsets = np.random.default_rng(0).normal(0, 1e-3, human.v_template.shape).astype(np.float32)
    union, part = synthetic.with_hair(human.skinned(betas, offsets), human.face_part)
    keep = np.random.default_rng(1).random(len(union.faces)) < 0.9
    a = synthetic.avatar(2_000, "half", 64)
    faces = np.flatnonzero(keep)
    gaussians = replace(a.gaussians, face=(a.gaussians.face % len(faces)).astype(np.int32))
    model = {"name": human.name, "sha256": human.sha256, "licence": human.licence, "betas": betas}
    mesh = replace(union, faces=np.ascontiguousarray(union.faces[faces]))
    return replace(
        a, mesh=mesh, part=part[faces], occluder=a.occluder[faces], gaussians=gaussians, body_model=model
    ), folder  # fmt: skip


def test_a_licensed_body_is_not_in_the_file_and_comes_back(
    on_a_licensed_body: tuple[Avatar, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, folder = on_a_licensed_body
    path = tmp_path / "a.avatar"
    asset.save(a, path, [folder])
    _, members = archive.read(path)
    names = safetensors.numpy.load(members[archive.TENSORS]).keys()
    assert not [n for n in names if n.startswith("mesh.")]
    assert path.stat().st_size < 1.5e6
    b = asset.load(path, [folder])
    np.testing.assert_array_equal(a.mesh.faces, b.mesh.faces)
    assert np.abs(Rig(a).vertices(a.photo) - Rig(b).vertices(b.photo)).max() < 1e-4
    with pytest.raises(AvatarError, match=r"for|licence") as e:
        asset.load(path)
    assert a.body_model["sha256"][:16] in str(e.value)
    assert licensed.ENVIRONMENT in str(e.value)
    monkeypatch.setenv(licensed.ENVIRONMENT, str(folder))
    assert asset.load(path).mesh.vertices.shape == a.mesh.vertices.shape


def test_a_mesh_that_is_not_the_licensed_body_is_not_written(
    on_a_licensed_body: tuple[Avatar, Path], tmp_path: Path
) -> None:
    a, folder = on_a_licensed_body
    moved = replace(a, mesh=replace(a.mesh, joints=a.mesh.joints + np.float32(0.1)))
    with pytest.raises(AvatarError, match="joints"):
        asset.save(moved, tmp_path / "b.avatar", [folder])
    turned = replace(a, mesh=replace(a.mesh, faces=np.ascontiguousarray(a.mesh.faces[::-1])))
    with pytest.raises(AvatarError, match="begin with the body"):
        asset.save(turned, tmp_path / "b.avatar", [folder])
    assert not (tmp_path / "b.avatar").exists()


def test_directions_beyond_the_body_are_kept() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(20, 3, 4)) * (rng.random((20, 1, 4)) < 0.5)
    whole = SparseDirections.from_dense(dense)
    t = licensed._beyond("x", whole, 12)
    part = SparseDirections(t["x.indptr"], t["x.vertex"], t["x.offset"])
    np.testing.assert_allclose(part.to_dense(20)[12:], dense[12:], atol=1e-6)
    body_part = SparseDirections.from_dense(np.where(np.arange(20)[:, None, None] < 12, dense, 0))
    np.testing.assert_allclose(licensed._merge(body_part, part, "test").to_dense(20), dense, atol=1e-6)
