"""Can this photo become an avatar? Which person, what speaks against it, what is only worth a warning."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.landmarks import LEFT_EYE, LEFT_EYE_RING, LIPS_OUTER, OVAL, RIGHT_EYE, RIGHT_EYE_RING
from avatar.build.photo import Refused
from models.tracking import Face, Person, with_face

LEAST_FACE = 38  # px of face width
SMALL_FACE = 80
TURNED, STRONGLY_TURNED = np.radians(25), np.radians(42)
TILTED, LYING = np.radians(30), np.radians(60)
CLOSED_EYE = 0.07  # aperture over width of the eye
DARK, VERY_DARK = 0.16, 0.05  # median luminance of the face
BLURRED = 0.028  # mean absolute Laplacian over contrast of the face at 128 px width
# Visible irises measure 11.7 +- .5 mm, faces 133 +- 7 mm between the cheekbones (.088 +- .006): beyond two deviations
# it is a small child, or somebody drew them larger than life.
LARGE_IRIS = 0.1
COLOURLESS = 0.06  # median saturation of the face; the palest skin in colour keeps above .1
GRAIN = 1.0  # the same; real faces, drawn ones too, stay below .4, and nets find faces in noise


def choose(rgb: NDArray[np.uint8], persons: list[Person]) -> tuple[Person, list[str]]:
    """The person to build and the warnings. Raises Refused."""
    if not persons:
        raise Refused("no person was found in the picture; use a photo that shows one person's face clearly")
    faces = with_face(persons)
    if not faces:
        raise Refused(
            "no face was found in the picture; use a photo in which the face is seen from the front, well lit"
        )
    person, warnings = faces[0], []
    face = person.face
    assert face is not None
    rivals = [p for p in with_face(persons, 0.75) if p is not person]
    if any(_overlap(person.box, p.box) > 0.5 and p.size > 0.9 * person.size for p in rivals):
        raise Refused("two people overlap in the picture; use a photo that shows one person alone")
    if rivals:
        warnings.append(f"{1 + len(rivals)} people were found; the one with the largest face is used")
    _check_face(rgb, face, warnings)
    _check_hands(person, face, warnings)
    return person, warnings


def _check_face(rgb: NDArray[np.uint8], face: Face, warnings: list[str]) -> None:
    _check_border(rgb.shape, face, warnings)
    width = float(np.ptp(face.landmarks[:468, 0]))
    if width < LEAST_FACE:
        raise Refused(f"the face is only {int(width)} pixels wide; it must be at least {LEAST_FACE}, better 150")
    if width < SMALL_FACE:
        warnings.append(f"the face is only {width:.0f} pixels wide; the avatar will look soft (150 or more is good)")
    if abs(face.roll) > LYING:
        raise Refused("the person lies on the side in the picture; turn the picture upright")
    if abs(face.roll) > TILTED:
        warnings.append(f"the head is tilted by {np.degrees(abs(face.roll)):.0f} degrees; an upright one is better")
    turn = max(abs(face.yaw), abs(face.pitch))
    if abs(face.yaw) > STRONGLY_TURNED:
        raise Refused(
            f"the face is turned away by {np.degrees(abs(face.yaw)):.0f} degrees; use a photo taken from the front"
        )
    if turn > TURNED:
        warnings.append(f"the face is turned by {np.degrees(turn):.0f} degrees; its far side is guessed")
    if max(aperture(face, ring) for ring in (RIGHT_EYE_RING, LEFT_EYE_RING)) < CLOSED_EYE:
        raise Refused("the eyes are closed; use a photo with open eyes")
    if iris_size(face) > LARGE_IRIS:
        warnings.append(
            "the eyes are larger than an adult's; a drawn or painted face, or a small child's, fits less well"
        )
    if _saturation(rgb, face) < COLOURLESS:
        warnings.append(
            "the face has hardly any colour, as of a statue or a black-and-white picture; the avatar has none"
        )
    light, sharp = _light_and_sharpness(rgb, face)
    if sharp > GRAIN:
        raise Refused("no face was found in the picture, only a pattern that resembles one; use a photo of a person")
    if light < VERY_DARK:
        raise Refused("the face is too dark to be made out; use a photo with more light")
    if light < DARK:
        warnings.append("the face is dark; more light gives a better avatar")
    if sharp < BLURRED:
        warnings.append("the face is blurred; a sharper photo gives a better avatar")


def _check_border(shape: tuple[int, ...], face: Face, warnings: list[str]) -> None:
    high = np.array([shape[1], shape[0]])
    out = np.any((face.landmarks[:, :2] < 1) | (face.landmarks[:, :2] > high - 1), axis=1)
    inner = [*RIGHT_EYE, *LEFT_EYE, *LIPS_OUTER, 1]
    if out[inner].any() or out[list(OVAL)].mean() > 0.3:
        raise Refused("the face is cut off by the picture's border; use a photo that shows the whole face")
    if out[list(OVAL)].any():
        warnings.append("the face touches the picture's border; what is cut off is guessed")


def _check_hands(person: Person, face: Face, warnings: list[str]) -> None:
    hull = cv2.convexHull(face.landmarks[:468, :2].astype(np.float32))
    for hand in person.hands:
        inside = [cv2.pointPolygonTest(hull, (float(x), float(y)), False) > 0 for x, y, _ in hand.landmarks]
        if np.mean(inside) > 0.15:
            warnings.append("a hand is in front of the face and will stay there; a photo without it is better")


def aperture(face: Face, ring: tuple[int, ...]) -> float:
    """Height over width of an eye's opening; ring: outer corner, upper lid, inner corner, lower lid."""
    p = face.landmarks[list(ring), :2].astype(np.float64)
    width = float(np.linalg.norm(p[0] - p[8]))
    return float(np.mean([np.linalg.norm(p[i] - p[16 - i]) for i in (3, 4, 5)]) / max(width, 1e-6))


def iris_size(face: Face) -> float:
    """Mean diameter of the irises over the width of the face between the cheekbones, however it is turned."""
    p = face.landmarks.astype(np.float64)
    irises = [np.linalg.norm(p[a, :2] - p[b, :2]) for a, b in ((469, 471), (474, 476))]
    return float(np.mean(irises) / max(float(np.linalg.norm(p[234] - p[454])), 1e-6))


def _saturation(rgb: NDArray[np.uint8], face: Face) -> float:
    return float(np.median(cv2.cvtColor(_crop(rgb, face), cv2.COLOR_RGB2HSV)[..., 1])) / 255


def _crop(rgb: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    (x0, y0), (x1, y1) = face.landmarks[:468, :2].min(0), face.landmarks[:468, :2].max(0)
    h, w = rgb.shape[:2]
    return rgb[max(int(y0), 0) : min(int(y1) + 1, h), max(int(x0), 0) : min(int(x1) + 1, w)]


def _light_and_sharpness(rgb: NDArray[np.uint8], face: Face) -> tuple[float, float]:
    crop = _crop(rgb, face)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    light = float(np.median(grey))
    k = 128 / crop.shape[1]
    small = cv2.resize(grey, None, fx=k, fy=k, interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR)
    return light, float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean() / max(float(small.std()), 0.02))


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Common area over the smaller box's."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(w, 0) * max(h, 0) / max(smaller, 1e-6)
