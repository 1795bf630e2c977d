"""MediaPipe's face landmarks, seen on renders of the open human, put back on its surface."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import weights
from models.motion import LEFT_EYE, RIGHT_EYE
from models.open_human import shade
from models.open_human.makehuman import F64, MakeHuman
from models.open_human.shade import View
from models.surface import closest_points

SIZE, SCALE = (640, 640), 2600.0  # pixels, pixels a metre
LIGHT = (0.0, 0.45, 0.82)  # from the middle, so that neither side of the face is favoured
LIPS = (190, 105, 100)
BELOW_EYES = 0.03  # m from the eyes' middle to the middle of the picture
FRONT_VIEWS = [(yaw, pitch) for pitch in (0, -7, 7) for yaw in (0, -12, -6, 6, 12)]
CONTOUR_YAWS = range(-40, 41, 5)
OVAL = [  # the face's outline, MediaPipe's FACEMESH_FACE_OVAL: a silhouette, so seen from the front alone
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
]


@dataclass(frozen=True)
class Surface:
    """The rest mesh the landmarks are put on."""

    vertices: F64  # (V, 3) m
    faces: NDArray[np.int64]
    part: NDArray[np.uint8]
    eyes: F64  # (2, 3) m, joints: left, right
    lips: NDArray[np.float64]  # (F, 3) 0..1 MakeHuman's painted lips at each corner
    mirror: NDArray[np.int64]  # (V,)

    @classmethod
    def of(cls, human: MakeHuman, body: dict[str, Any]) -> Surface:
        vertices = body["v_template"].astype(np.float64)
        joints = body["J_regressor"] @ vertices
        lips = human.wheel.mask("lips", body["vt"])[body["ft"]]
        lips[body["face_part"] != 0] = 0
        faces = body["f"].astype(np.int64)
        return cls(vertices, faces, body["face_part"], joints[[LEFT_EYE, RIGHT_EYE]], lips, body["mirror"])

    @property
    def bare(self) -> NDArray[np.int64]:
        """Triangles without the lashes, whose opaque strips would hide the lids' rims."""
        return np.flatnonzero(self.part < 6)

    @property
    def skin(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.part == 0)

    def view(self, yaw: float, pitch: float) -> View:
        x, y, z = self.eyes.mean(0)
        return View((x, y - BELOW_EYES, z), SCALE, SIZE, yaw, pitch, LIGHT)

    def points(self, face: NDArray, bary: NDArray) -> F64:
        return np.einsum("nk,nkd->nd", bary, self.vertices[self.faces[face]])


@dataclass(frozen=True)
class Sighting:
    """One view of the head and what the detector found in it."""

    view: View
    visible: NDArray[np.int64]  # skin triangles seen
    landmarks: F64  # (478, 2) pixels

    def on_surface(self, surface: Surface, ids: NDArray | list[int]) -> tuple[NDArray[np.int32], F64]:
        """Triangle and weights of each landmark: the point of the visible skin that is nearest in the picture."""
        flat = self.view.project(surface.vertices) * [1, 1, 0]
        near, bary, _ = closest_points(self.landmarks[ids] @ np.eye(2, 3), flat, surface.faces[self.visible])
        return self.visible[near].astype(np.int32), bary


def sight(surface: Surface, angles: list[tuple[float, float]]) -> dict[tuple[float, float], Sighting]:
    """Show the head at each (yaw, pitch) in degrees; views without a found face are left out."""
    colours = shade.colours(surface.vertices, surface.faces, surface.part, surface.eyes)
    colours[surface.lips.mean(1) > 0.5] = LIPS
    bare = surface.bare
    found = {}
    with _detector() as detector:
        for yaw, pitch in angles:
            view = surface.view(yaw, pitch)
            picture = shade.draw(surface.vertices, surface.faces[bare], colours[bare], view)
            landmarks = detector(picture.image)
            seen = bare[np.unique(picture.face[picture.face >= 0])]
            if landmarks is not None:
                found[yaw, pitch] = Sighting(view, seen[surface.part[seen] == 0].astype(np.int64), landmarks)
    return found


class _detector:
    """MediaPipe's face landmarker on single pictures."""

    def __enter__(self) -> _detector:
        from mediapipe.tasks.python import BaseOptions, vision

        model = BaseOptions(model_asset_path=str(weights.path("face_landmarker", fetch=True)))
        options = vision.FaceLandmarkerOptions(base_options=model, min_face_detection_confidence=0.2)
        self._net = vision.FaceLandmarker.create_from_options(options)
        return self

    def __exit__(self, *_: object) -> None:
        self._net.close()

    def __call__(self, image: NDArray[np.uint8]) -> F64 | None:
        """(478, 2) pixels of the face in an RGB picture, None when there is none."""
        import mediapipe

        faces = self._net.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).face_landmarks
        return np.array([[p.x, p.y] for p in faces[0]]) * image.shape[1::-1] if faces else None


def canonical_face() -> F64:
    """(468, 3) MediaPipe's canonical face, cm, y up, the person's left is +x; symmetric about x = 0."""
    from mediapipe.modules.face_geometry.protos.geometry_pipeline_metadata_pb2 import GeometryPipelineMetadata

    with zipfile.ZipFile(weights.path("face_landmarker", fetch=True)) as z:
        metadata = GeometryPipelineMetadata.FromString(z.read("geometry_pipeline_metadata_landmarks.binarypb"))
    return np.array(metadata.canonical_mesh.vertex_buffer).reshape(-1, 5)[:, :3]


def mirror_pairs(canonical: F64) -> NDArray[np.int32]:
    """(468,) the landmark on the other side of each. Raises ValueError if they do not pair up."""
    distance = np.linalg.norm(canonical[:, None] * [-1, 1, 1] - canonical[None], axis=2)
    pairs = distance.argmin(1)
    if not (pairs[pairs] == np.arange(len(pairs))).all():
        raise ValueError("MediaPipe's canonical face is not symmetric")
    return pairs.astype(np.int32)
