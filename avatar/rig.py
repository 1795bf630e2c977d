"""Motion -> State -> posed vertices: how an avatar understands what drivers say.

**Live** (`state(motion)`). Each group of the motion counts by its weight; a group of weight 0 says nothing.

- Head, neck, torso and root turn relative to the photo: R(motion) after R(photo), in the parent's frame. Translation is
  added to the photo's. Both follow avatar.limits: untouched up to KNEE of a limit, then bending smoothly towards it and
  never past it.
- Arms and hands are absolute: from the neutral's rotation along the shortest arc to the motion's, within avatar.limits
  about the photo's; an arm that cannot move has limits of nothing and stays (limbs.py has the axes they are about).
- The face is absolute towards neutral. A coefficient c moves a channel that the neutral holds at n to n + c (1 - n): 1
  is the end of the channel for everyone, so that a blink closes an eye that is half closed in the neutral and no
  further. A negative one takes away what the neutral holds, n (1 + c): -1 leaves nothing of a smile. While a lid
  closes, the other channels that move it (squint, wide, following the gaze) fade by 1 - eyeBlink; while lips are
  rounded, those that pull their corners aside fade by 1 - mouthPucker or mouthFunnel: a smile gives way, as it does
  by 1 - mouthFrown on its side.
- The jaw is the face map's, within limits["jaw"]; the eyes turn from straight ahead, as far as the face map goes.
- An expression recorded in the avatar's own face model replaces the coefficients, jaw and eyes included. One recorded
  on another face model means nothing here: a warning is given and the coefficients, if any, are used.
- Corrections are the neutral's: basis 0, which redraws the photo's face, is off.

**Absolute** (`state(motion, absolute=True)`), for the photo's own person and camera. Pose, translation and expression
are taken as they are, without limits; groups of weight 0 stay as in the photo. The correction follows how far the
expression has come from the neutral to the photo's; teeth behind the photo's closed lips come into place
as the jaw opens. An expression of another face model is refused.
"""

from __future__ import annotations

import warnings

import numba as nb
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.limbs import Axes
from models.motion import (
    FACE_GROUP,
    GROUP,
    JAW,
    JOINT,
    JOINT_GROUP,
    LEFT_EYE,
    N_JOINTS,
    RIGHT_EYE,
    A,
    Motion,
)
from models.skinning import F32, Poser, SkinnedMesh, SparseDirections

KNEE = 0.75  # share of a limit up to which motion is left alone
TRANSLATION = "translation"  # key of avatar.limits for the root's way in metres

UNLIMITED = 1e3  # rad or m
TEETH_AWAY = 1  # the correction that keeps teeth out of the way of the photo's closed lips
TEETH_BACK = 0.02  # rad that the jaw opens further until they are in place: some 2 mm at the lips

_RELATIVE = np.isin(JOINT_GROUP, [GROUP["head"], GROUP["torso"]])
_LIMBS = tuple((GROUP[name], np.isin(JOINT_GROUP, GROUP[name])) for name in ("arms", "hands"))
_EYES = [LEFT_EYE, RIGHT_EYE]
_FACE_WEIGHTS = [GROUP[g] for g in ("mouth", "brows", "lids", "gaze")]
_LID_CHANNELS = tuple(
    (A[f"eyeBlink{side}"], np.array([A[f"eye{n}{side}"] for n in ("Squint", "Wide", "LookUp", "LookDown")]))
    for side in ("Left", "Right")
)
_ROUNDING = np.array([A["mouthPucker"], A["mouthFunnel"]])
_CORNERS = np.array([A[f"mouth{n}{side}"] for n in ("Smile", "Dimple", "Stretch") for side in ("Left", "Right")])
_SMILES, _FROWNS = (np.array([A[f"mouth{n}{side}"] for side in ("Left", "Right")]) for n in ("Smile", "Frown"))


@nb.njit(cache=True, nogil=True)
def _compose_rows(first, then, out):  # type: ignore[no-untyped-def]
    """out (n, 3) = axis-angle of R(then) R(first), by quaternions."""
    q = np.zeros((2, 4))
    for i in range(first.shape[0]):
        for k, r in enumerate((first[i], then[i])):
            angle = np.sqrt(np.float64(r[0]) ** 2 + np.float64(r[1]) ** 2 + np.float64(r[2]) ** 2)
            s = np.sin(angle / 2) / angle if angle > 1e-9 else 0.5
            q[k, 0], q[k, 1], q[k, 2], q[k, 3] = np.cos(angle / 2), s * r[0], s * r[1], s * r[2]
        a, b = q[1], q[0]
        w = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
        x = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2]
        y = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1]
        z = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]
        if w < 0:
            w, x, y, z = -w, -x, -y, -z
        s = np.sqrt(x * x + y * y + z * z)
        scale = 2 * np.arctan2(s, w) / s if s > 1e-12 else 2.0
        out[i, 0], out[i, 1], out[i, 2] = scale * x, scale * y, scale * z


def compose(first: NDArray, then: NDArray) -> F32:
    """Axis-angle (n, 3) of `then` after `first`: as motion.compose_rotations, in a tenth of its time."""
    first = np.ascontiguousarray(first, np.float32).reshape(-1, 3)
    out = np.empty_like(first)
    _compose_rows(first, np.ascontiguousarray(then, np.float32).reshape(-1, 3), out)
    return out


def _between(first: NDArray, second: NDArray) -> F32:
    """The rotations (n, 3) that take `first` to `second`, in the parent's frame: R(second) R(first)^-1."""
    return compose(-np.asarray(first), second)


def _towards(first: NDArray, second: NDArray, share: float) -> F32:
    """The rotations (n, 3) a share of the shortest way from first to second."""
    return compose(first, share * _between(first, second))


def soft_clamp(x: NDArray, low: NDArray, high: NDArray, rest: NDArray | float = 0.0) -> NDArray:
    """x within low..high: unchanged up to the knees, then c + d tanh((x - c) / d) with d the rest of the way.

    The value and its first two derivatives are continuous. `rest` lies before the knees whatever the limits.
    """
    below, above = np.minimum(KNEE * low, rest), np.maximum(KNEE * high, rest)
    return np.where(x > above, _bend(x, above, high), np.where(x < below, _bend(x, below, low), x))


def _bend(x: NDArray, knee: NDArray, end: NDArray) -> NDArray:
    way = end - knee
    safe = np.where(np.abs(way) < 1e-9, 1.0, way)
    return knee + np.where(np.abs(way) < 1e-9, 0.0, way * np.tanh((x - knee) / safe))


class Rig:
    """Poses one avatar again and again; not to be called from two threads at once."""

    def __init__(self, avatar: Avatar) -> None:
        self.avatar = avatar
        self._poser = Poser(avatar.mesh)
        m = avatar.face_map
        self._map = np.concatenate([m.expression, m.jaw], 1)  # (52, E + 3)
        self._map_eyes = m.eyes
        neutral = avatar.neutral
        self._neutral_face = np.concatenate([neutral.expression, neutral.pose[JAW]])
        self._neutral = np.clip(self._neutral_face @ np.linalg.pinv(self._map), 0, 1).astype(np.float32)  # (52,)
        self._jaw_rest = _between(avatar.photo.pose[JAW], neutral.pose[JAW])[0]
        self._low, self._high = _limits(avatar)
        axes = Axes(avatar)
        self._photo_limbs, self._of_limits, self._of_mesh = axes.photo, axes.of_limits, axes.of_mesh
        self._foreign: set[str] = set()

    def state(self, motion: Motion, absolute: bool = False) -> State:
        """What `motion` asks of this avatar; see the module's text. Raises ValueError when it is not finite, and,
        absolute, when its expression belongs to another face model."""
        for name in ("pose", "face", "translation", "weight", "expression"):
            values = getattr(motion, name)
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"the motion's {name} holds values that are not finite")
        return self._absolute(motion) if absolute else self._live(motion)

    def vertices(self, state: State) -> F32:
        """(V, 3) posed vertices in world metres; a buffer that the next call reuses."""
        s = state
        return self._poser(s.pose, s.expression, s.translation, (s.correction, self.avatar.correction))

    # ---- live -------------------------------------------------------------------------------------------------------

    def _live(self, motion: Motion) -> State:
        photo, neutral, w = self.avatar.photo, self.avatar.neutral, motion.weight
        pose = neutral.pose.copy()
        turn = motion.pose * w[JOINT_GROUP][:, None]
        turn = soft_clamp(turn, self._low, self._high)
        pose[_RELATIVE] = compose(photo.pose[_RELATIVE], turn[_RELATIVE])
        for group, j in _LIMBS:
            if w[group] > 0:
                wanted = self._limbs(motion.pose[j], j, limited=True)
                pose[j] = _towards(neutral.pose[j], wanted, float(min(w[group], 1)))
        expression = self._live_face(motion, pose)
        way = soft_clamp(motion.translation * w[GROUP["torso"]], *_translation_limits(self.avatar))
        translation = (photo.translation + way).astype(np.float32)
        return State(pose, translation, expression, neutral.correction)

    def _live_face(self, motion: Motion, pose: F32) -> F32:
        """Expression (E,); writes the jaw and the eyes into pose."""
        neutral, w = self.avatar.neutral, motion.weight
        own = motion.expression is not None and self._is_ours(motion)
        if own:
            share = float(np.clip(w[_FACE_WEIGHTS].max(), 0, 1))
            expression = (1 - share) * neutral.expression + share * np.asarray(motion.expression, np.float32)
            j = [JAW, *_EYES]
            pose[j] = _towards(neutral.pose[j], motion.pose[j], share)
        else:
            c = np.clip(motion.face, -1, 1) * w[FACE_GROUP]
            face = self._neutral_face + (self._channels(c) - self._neutral) @ self._map
            expression, pose[JAW] = face[:-3], face[-3:]
            eyes = (c @ self._map_eyes).reshape(2, 3)
            pose[_EYES] = compose(neutral.pose[_EYES], eyes)
        if "jaw" in self.avatar.limits:
            turn = _between(self.avatar.photo.pose[JAW], pose[JAW])[0]
            turn = soft_clamp(turn, self._low[JAW], self._high[JAW], self._jaw_rest)
            pose[JAW] = compose(self.avatar.photo.pose[JAW], turn)[0]
        return expression.astype(np.float32)

    def _channels(self, c: F32) -> F32:
        """Coefficients (52,) -> values of the channels, from the neutral's towards 1."""
        x = self._neutral + c * np.where(c > 0, 1 - self._neutral, self._neutral)
        for blink, others in _LID_CHANNELS:
            x[others] *= 1 - x[blink]
        x[_CORNERS] *= 1 - max(float(c[_ROUNDING].max()), 0.0)
        x[_SMILES] *= 1 - np.maximum(c[_FROWNS], 0)
        return x

    def _limbs(self, pose: F32, joints: NDArray[np.bool_], limited: bool) -> F32:
        """Rotations (n, 3) of limbs as a Motion has them -> as the mesh has them, within their limits if asked for."""
        turn = _between(self._photo_limbs[joints], pose)
        if limited and (self._high[joints] != UNLIMITED).any():
            frame = self._of_limits[joints]
            turn = soft_clamp(np.einsum("nab,nb->na", frame, turn), self._low[joints], self._high[joints])
            turn = np.einsum("nba,nb->na", frame, turn)
        return compose(self.avatar.photo.pose[joints], np.einsum("nab,nb->na", self._of_mesh[joints], turn))

    # ---- absolute ---------------------------------------------------------------------------------------------------

    def _absolute(self, motion: Motion) -> State:
        photo, w = self.avatar.photo, motion.weight
        pose = np.where((w[JOINT_GROUP] > 0)[:, None], motion.pose, photo.pose).astype(np.float32)
        for group, j in _LIMBS:
            if w[group] > 0:
                pose[j] = self._limbs(motion.pose[j], j, limited=False)
        translation = motion.translation if w[GROUP["torso"]] > 0 else photo.translation
        if motion.expression is not None:
            self._is_ours(motion, refuse=True)
            expression = np.asarray(motion.expression, np.float32)
            pose[[JAW, *_EYES]] = motion.pose[[JAW, *_EYES]]
        elif w[_FACE_WEIGHTS].max() > 0:
            face = motion.face @ self._map
            expression, pose[JAW] = face[:-3], face[-3:]
            pose[_EYES] = (motion.face @ self._map_eyes).reshape(2, 3)
        else:
            return State(pose, np.asarray(translation, np.float32), photo.expression, photo.correction)
        correction = self._correction(expression, float(pose[JAW, 0] - photo.pose[JAW, 0]))
        return State(pose, np.asarray(translation, np.float32), expression.astype(np.float32), correction)

    def _correction(self, expression: F32, opened: float) -> F32:
        """Corrections by how far `expression` is on the way from the neutral's (0) to the photo's (1); opened: rad by
        which the jaw is, beyond the photo's."""
        photo, neutral = self.avatar.photo, self.avatar.neutral
        way = photo.expression - neutral.expression
        length = float(way @ way)
        share = float(np.clip((expression - neutral.expression) @ way / length, 0, 1)) if length > 1e-12 else 1.0
        shares = np.full(len(photo.correction), share)
        shares[TEETH_AWAY:] = 1 - np.clip(opened / TEETH_BACK, 0, 1)
        return (neutral.correction + shares * (photo.correction - neutral.correction)).astype(np.float32)

    def _is_ours(self, motion: Motion, refuse: bool = False) -> bool:
        model = self.avatar.body_model
        E = len(self.avatar.neutral.expression)
        given = 0 if motion.expression is None else len(motion.expression)
        if motion.face_model == model.get("sha256") and given == E:
            return True
        text = (
            f"the motion's expression ({given} values) belongs to face model {motion.face_model[:12] or 'unknown'}, "
            f"this avatar's is {str(model.get('sha256'))[:12]} ({E} values); record it as ARKit coefficients"
        )
        if refuse:
            raise ValueError(text)
        if motion.face_model not in self._foreign:
            self._foreign.add(motion.face_model)
            warnings.warn(f"{text}. It is left out.", stacklevel=4)
        return False


def _limits(avatar: Avatar) -> tuple[NDArray, NDArray]:
    """(55, 3) lowest and highest turn of each joint relative to the photo, rad; UNLIMITED where nothing is said."""
    low, high = np.full((N_JOINTS, 3), -UNLIMITED), np.full((N_JOINTS, 3), UNLIMITED)
    for name, ranges in avatar.limits.items():
        if name in JOINT:
            low[JOINT[name]], high[JOINT[name]] = np.array(ranges).T
    return low, high


def _translation_limits(avatar: Avatar) -> tuple[NDArray, NDArray]:
    ranges = avatar.limits.get(TRANSLATION, ((-UNLIMITED, UNLIMITED),) * 3)
    low, high = np.array(ranges).T
    return low, high


def warm() -> None:
    """Compile the rig's kernels and the skinning's, or load them from the cache."""
    f, i = np.float32, np.int32
    directions = SparseDirections(np.array([0, 1], i), np.zeros(1, i), np.ones((1, 3), f))
    mesh = SkinnedMesh(
        np.zeros((3, 3), f), np.array([[0, 1, 2]], i), np.zeros((2, 3), f), np.array([-1, 0], i),
        np.zeros((3, 1), np.uint8), np.ones((3, 1), f), directions, np.zeros(1, i), directions,
    )  # fmt: skip
    one = np.ones(1, f)
    Poser(mesh)(np.full((2, 3), 0.1, f), one, np.zeros(3, f), (one, directions))
    compose(np.ones((1, 3), f), np.ones((1, 3), f))
