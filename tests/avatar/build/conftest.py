"""The demo's photo, looked at and built once for all tests of the builder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import avatar.build.fit as fitting
from avatar.asset import Avatar
from avatar.build import builder, observe, parts, photo, refine, scalp
from avatar.build.report import Report
from models import body, weights


@dataclass(frozen=True)
class Person:
    model: body.BodyModel
    o: observe.Observation
    vertices: np.ndarray
    parts: parts.Parts
    scalp: scalp.Scalp


@dataclass(frozen=True)
class Built:
    avatar: Avatar
    report: Report
    photo: Path
    events: list[tuple[str, float, str]]


@pytest.fixture(scope="session")
def nets() -> None:
    """The nets that look at photos; where they are not cached, the tests that need them skip and say so."""
    try:
        for name in ("face_landmarker", "hand_landmarker", "pose_landmarker_heavy", "selfie_segmentation"):
            weights.path(name)
    except weights.WeightsError as e:
        pytest.skip(f"weights are not cached: {e}")


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public-domain portrait that scikit-image carries."""
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def built(nets: None, astronaut: Path) -> Built:
    events: list[tuple[str, float, str]] = []
    avatar, report = builder.build(astronaut, progress=lambda *e: events.append(e))
    return Built(avatar, report, astronaut, events)


@pytest.fixture(scope="session")
def person(nets: None, astronaut: Path) -> Person:
    model, o = body.load(), observe.observe(photo.read(astronaut))
    fit = fitting.fit(model, o.camera, o.face, o.person.body)
    vertices = refine.refine(model, fit, o.landmarks, o.alpha).vertices
    found = parts.find(model, o, vertices)
    return Person(model, o, vertices, found, scalp.build(model, o, vertices, found, np.zeros(len(vertices), bool)))
