"""Where the face net sees each landmark, from where the body model has it -> avatar/build/landmark_bias.npy.

Made-up people (stage/evaluate/people.py) are drawn in several poses and looked at; the mean way from true to seen, in
the head's frame and left and right alike, is what the fit takes off. Their numbers are none that the evaluation uses.

    python scripts/calibrate_landmarks.py [--people 30] [--out FILE.npy]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from models import body, tracking  # noqa: E402
from models.motion import HEAD, NECK, compose_rotations, matrix_from_axis_angle  # noqa: E402
from stage.evaluate.people import Human  # noqa: E402
from stage.evaluate.truth import Studio  # noqa: E402
from stage.evaluate.twin import _motion  # noqa: E402

FIRST = 100  # number of the first person
SIDE = 640  # px
POSES = 2  # of each
TURN, NOD = 7.0, 6.0  # degrees, one sigma
RIDGE = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "avatar" / "build" / "landmark_bias.npy")
    a = parser.parse_args()
    normal, right = np.zeros((468, 2, 2)), np.zeros((468, 2))
    random = np.random.default_rng(7)
    for seed in range(FIRST, FIRST + a.people):
        for J, way in _seen(seed, random):
            normal += J.transpose(0, 2, 1) @ J
            right += (J.transpose(0, 2, 1) @ way[:, :, None])[:, :, 0]
        print(f"person {seed}", flush=True)
    bias = np.linalg.solve(normal + RIDGE * np.eye(2), right[:, :, None])[:, :, 0]
    model = body.load()
    assert model.landmarks is not None
    points = model.landmarks.points(model.v_template.astype(np.float64), model.faces)
    _, other = cKDTree(points).query(points * [-1, 1, 1])
    bias = (bias + bias[other] * [-1, 1]) / 2
    np.save(a.out, bias.astype(np.float32))
    print(f"{a.out}: {100 * np.sqrt((bias**2).sum(1).mean()):.2f} % of the face's width, root mean square")


def _seen(seed: int, random: np.random.Generator):  # type: ignore[no-untyped-def]
    """(468, 2, 2) face widths per bias, and (468, 2) face widths from true to seen, of each pose that shows a face."""
    human = Human(seed, SIDE)
    studio = Studio(human)
    for _ in range(POSES):
        smile = float(random.uniform(0, 0.5))
        face = {"jawOpen": float(random.uniform(0, 0.15)), "mouthSmileLeft": smile, "mouthSmileRight": smile}
        motion = _motion(float(random.normal(0, TURN)), float(random.normal(0, NOD)), face)
        truth = studio.draw(motion)
        with tracking.Tracker() as tracker:
            found = [p.face for p in tracker.track(studio.photo(truth)) if p.face is not None]
        if not found:
            continue
        width = float(np.ptp(truth.landmarks[:, 0]))
        yield _per_bias(human, motion), (found[0].landmarks[:468, :2] - truth.landmarks) / width


def _per_bias(human: Human, motion) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    pose = human.pose.copy()
    pose[[NECK, HEAD]] = compose_rotations(human.pose[[NECK, HEAD]], motion.pose[[NECK, HEAD]])
    R = matrix_from_axis_angle(pose[[0, NECK, HEAD]])
    head = R[0] @ R[1] @ R[2]
    return np.broadcast_to(head[:2, :2] * [[1], [-1]], (468, 2, 2))


if __name__ == "__main__":
    main()
