"""The lock files are closed: what a locked package asks for is locked too, or is known to be of no use here."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CPU, CUDA, DEV = (ROOT / "requirements" / f"{name}.lock" for name in ("cpu", "cuda", "dev"))

# (who asks, for what): never imported on our ways through the package; the head of cpu.lock says why.
NOT_USED = {
    ("mediapipe", "jax"),
    ("mediapipe", "jaxlib"),
    ("mediapipe", "opencv-contrib-python"),
    ("mediapipe", "sentencepiece"),
    ("mediapipe", "sounddevice"),
    ("transformers", "typer"),
    ("huggingface-hub", "click"),
    ("diffusers", "importlib-metadata"),
    ("openai-whisper", "triton"),
}
OTHER_VERSION = {("mediapipe", "numpy")}  # says NumPy 1, runs with 2


def locked(path):
    """Pins by canonical name; every line is a comment or one exact pin."""
    pins = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9_.-]+)==([A-Za-z0-9.+!]+)", line)
            assert match, f"{path.name}: {line!r} is not an exact pin"
            name = canonicalize_name(match[1])
            assert name not in pins, f"{path.name}: {name} is there twice"
            pins[name] = match[2]
    return pins


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(requirements):
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in map(Requirement, requirements)}


@pytest.mark.parametrize("path", [CPU, CUDA], ids=lambda path: path.name)
def test_what_the_project_asks_for_is_locked_at_that_version(path):
    wanted = pinned(project()["dependencies"])
    assert {name: locked(path).get(name) for name in wanted} == wanted


def test_the_cuda_set_is_the_cpu_set_and_gsplats_needs():
    cpu, cuda = locked(CPU), locked(CUDA)
    assert {name: cuda.get(name) for name in cpu} == cpu
    assert set(cuda) - set(cpu) == {"gsplat", "jaxtyping", "ninja", "wadler-lindig"}
    gpu = pinned(project()["optional-dependencies"]["gpu"])
    assert {name: cuda.get(name) for name in gpu} == gpu


def test_the_extras_are_locked():
    dev = locked(DEV)
    assert not set(dev) & set(locked(CPU)), "what the program itself needs is locked once"
    for extra in ("dev", "smplx"):
        for requirement in map(Requirement, project()["optional-dependencies"][extra]):
            assert requirement.specifier.contains(dev[canonicalize_name(requirement.name)]), str(requirement)


def test_the_sets_are_closed():
    pins = {**locked(CPU), **locked(DEV)}
    excused = set()
    for name, version in pins.items():
        distribution = importlib.metadata.distribution(name)
        assert distribution.version.split("+")[0] == version, (
            f"{name} {distribution.version} is installed, not {version}"
        )
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            pair = (canonicalize_name(name), canonicalize_name(requirement.name))
            if pair in NOT_USED:
                excused.add(pair)
            else:
                assert pair[1] in pins, f"{name} needs {requirement}, which is not locked"
                if pair not in OTHER_VERSION:
                    assert requirement.specifier.contains(pins[pair[1]], prereleases=True), (
                        f"{name} needs {requirement}"
                    )
    # torch's CPU build asks for no triton, openai-whisper asks for it on x86-64 Linux only
    assert excused >= NOT_USED - {("openai-whisper", "triton")}, "an exception that is none any more"
