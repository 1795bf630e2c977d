"""The manifest: every slip is caught and named; the project's own pages are in order."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import weights
from models.manifest import SOURCES_OF_MAKE, Weight, parse_manifest
from models.weights import WeightsError

HASH = "0123456789abcdef" * 4
SOURCE = dict(kind="pypi", package="parcel", version="1.0", package_bytes=10, member="parcel/net.bin", sha256=HASH)
ENTRY = dict(
    id="net",
    file="net.bin",
    sha256=HASH,
    bytes=7,
    licence="MIT",
    licence_note="",
    needed_by=["models/net.py"],
    make="",
    url="",
    sources=[SOURCE],
)


def toml(value) -> str:
    """A value in TOML; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value)


def page(*entries) -> str:
    return "\n".join(
        "[[weights]]\n" + "\n".join(f"{key} = {toml(item)}" for key, item in entry.items()) for entry in entries
    )


names = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
files = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
versions = st.from_regex(r"[0-9][a-z0-9.+-]{0,10}", fullmatch=True)
hashes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
sizes = st.integers(1, 10**12)


@st.composite
def entries(draw):
    make = draw(st.sampled_from(sorted(SOURCES_OF_MAKE)))
    source = st.fixed_dictionaries(
        dict(
            kind=st.sampled_from(["pypi", "npm"]),
            package=st.sampled_from(["parcel", "a-b.c", "@scope/parcel"]),
            version=versions,
            package_bytes=sizes,
            member=st.sampled_from(["parcel/net.bin", "net..bin", "a/b/c d.tflite"]),
            sha256=hashes,
        )
    )
    count = SOURCES_OF_MAKE[make] or draw(st.integers(1, 3))
    return dict(
        id=draw(names),
        file=draw(files),
        sha256=draw(hashes),
        bytes=draw(sizes),
        licence=draw(plain),
        licence_note=draw(plain),
        needed_by=draw(st.lists(plain, max_size=3)),
        make=make,
        url="https://" + draw(names),
        sources=draw(st.lists(source, min_size=count, max_size=count)),
    )


@given(entries())
def test_every_field_comes_through(entry):
    (weight,) = parse_manifest(page(entry)).values()
    assert isinstance(weight, Weight)
    for key, value in entry.items():
        if key not in ("sources", "needed_by"):
            assert getattr(weight, key) == value
    assert list(weight.needed_by) == entry["needed_by"]
    assert [vars(source) for source in weight.sources] == entry["sources"]


@given(st.text())
def test_no_text_raises_anything_but_a_weights_error(text):
    with pytest.raises(WeightsError):
        parse_manifest(text)


values = st.one_of(
    st.none().map(lambda _: True), st.integers(-5, 0), st.floats(0, 1), st.lists(st.integers(), max_size=2)
)


@given(st.sampled_from(sorted(ENTRY)), values)
def test_a_field_of_a_wrong_type_is_named(field, value):
    if field == "needed_by" and value == []:
        return  # nobody yet: allowed
    with pytest.raises(WeightsError, match=field):
        parse_manifest(page({**ENTRY, field: value}))


@given(st.sampled_from(sorted(SOURCE)), values)
def test_a_sources_field_of_a_wrong_type_is_named(field, value):
    with pytest.raises(WeightsError, match=rf"\(net\), sources: {field}"):
        parse_manifest(page({**ENTRY, "sources": [{**SOURCE, field: value}]}))


@pytest.mark.parametrize("field", ["id", "file", "sha256", "bytes", "licence", "needed_by", "sources"])
def test_an_absent_field_is_named(field):
    entry = copy.deepcopy(ENTRY)
    del entry[field]
    with pytest.raises(WeightsError, match=f"{field} is missing"):
        parse_manifest(page(entry))


@pytest.mark.parametrize("field", sorted(SOURCE))
def test_an_absent_field_of_a_source_is_named(field):
    source = {key: value for key, value in SOURCE.items() if key != field}
    with pytest.raises(WeightsError, match=f"{field} is missing"):
        parse_manifest(page({**ENTRY, "sources": [source]}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"file": "../net.bin"}, "bare file name"),
        ({"file": ".part-net"}, "bare file name"),
        ({"id": "Net"}, "id may hold"),
        ({"sha256": HASH.upper()}, "64 small"),
        ({"sha256": HASH[:-1]}, "64 small"),
        ({"url": "http://example.org/net.bin"}, "https"),
        ({"make": "magic"}, "known are pose_task, whisper"),
        ({"make": "pose_task"}, "1 sources; wanted 2"),
        ({"sources": []}, "0 sources; wanted 1"),
        ({"sources": [1]}, "not a table"),
        ({"license": "MIT"}, "unknown field 'license'"),
        ({"sources": [{**SOURCE, "kind": "git"}]}, "known are pypi and npm"),
        ({"sources": [{**SOURCE, "package": "--index-url=x"}]}, "not a package name"),
        ({"sources": [{**SOURCE, "package": "https://example.org/x"}]}, "not a package name"),
        ({"sources": [{**SOURCE, "version": "latest"}]}, "not an exact version"),
        ({"sources": [{**SOURCE, "version": ">=1"}]}, "not an exact version"),
        ({"sources": [{**SOURCE, "member": "/etc/passwd"}]}, "leaves the package"),
        ({"sources": [{**SOURCE, "member": "parcel/../../x"}]}, "leaves the package"),
    ],
)
def test_a_slip_is_named(change, complaint):
    with pytest.raises(WeightsError, match=complaint):
        parse_manifest(page({**ENTRY, **change}))


def test_an_id_or_a_file_cannot_be_there_twice():
    with pytest.raises(WeightsError, match=r"entry 2: .* twice"):
        parse_manifest(page(ENTRY, {**ENTRY, "file": "other.bin"}))
    with pytest.raises(WeightsError, match=r"entry 2: .* twice"):
        parse_manifest(page(ENTRY, {**ENTRY, "id": "other"}))


def test_the_projects_manifest_names_all_that_is_needed():
    assert set(weights.manifest()) == {
        "face_landmarker",
        "hand_landmarker",
        "pose_landmarker_lite",
        "pose_landmarker_full",
        "pose_landmarker_heavy",
        "selfie_segmentation",
        "isnet",
        "whisper_tiny_en",
        "whisper_base",
        "stlpips_alex",
        "stlpips_vgg",
        "face_identity_sface",
        "face_detector_yunet",
        "kokoro",
        "kokoro_voices",
    }
    assert {w.id for w in weights.chosen()} == set(weights.manifest()) - {"kokoro", "kokoro_voices", "whisper_base"}
    assert [w.id for w in weights.chosen(["voice", "kokoro"])] == ["kokoro", "kokoro_voices"]


def test_a_set_is_no_entry_s_name():
    with pytest.raises(WeightsError, match="another entry's id"):
        parse_manifest(page(ENTRY, {**ENTRY, "id": "other", "file": "other.bin", "set": ENTRY["id"]}))


def test_the_users_of_the_weights_name_them():
    for weight in weights.manifest().values():
        named = (f'"{weight.id}"', f'"{weight.id.rpartition("_")[0]}_{{')  # whole, or an f-string with its ending
        for user in weight.needed_by:
            text = (weights.ROOT / user).read_text()
            assert any(name in text for name in named), f"{user} does not use {weight.id}"


def test_the_page_of_licences_names_every_file_and_its_licence():
    rows = [line for line in (weights.ROOT / "docs" / "licences.md").read_text().splitlines() if line.startswith("|")]
    for weight in weights.manifest().values():
        (row,) = [row for row in rows if f"`{weight.id}`" in row]
        assert f"| {weight.licence} |" in row
        assert all(f"{source.package} {source.version}" in row for source in weight.sources), row
