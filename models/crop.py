"""A rotated square cut out of an image, and the way back: nets see the crop, callers think in the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


def to_width(picture: NDArray, width: int, height: int) -> NDArray:
    """(H, W[, C]) reduced to width px, by the same factor in height: rows are cut off or repeated below where `height`
    is that factor's product rounded. Stretched to both, a tall picture's foot lies up to half a pixel beside its
    camera's."""
    k = width / picture.shape[1]
    out = cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)[:height]
    lack = height - out.shape[0]
    return out if lack == 0 else cv2.copyMakeBorder(out, 0, lack, 0, 0, cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Crop:
    """A square of `side` image px about `centre`, turned so that content tilted by `roll` stands upright, `size` px."""

    centre: tuple[float, float]  # px of the image
    side: float  # px of the image
    roll: float = 0.0  # rad, clockwise on screen: the angle of the head that the crop sets upright
    size: int = 512  # px of the crop

    @property
    def scale(self) -> float:
        """Crop px per image px."""
        return self.size / self.side

    def crop_from_image(self) -> NDArray[np.float64]:
        """(2, 3) affine: image px to crop px; pixel centres lie at .5."""
        c, s = np.cos(self.roll) * self.scale, np.sin(self.roll) * self.scale
        rotation = np.array([[c, s], [-s, c]])
        return np.column_stack([rotation, self.size / 2 - rotation @ np.asarray(self.centre, float)])

    def cut(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) -> (size, size, 3); black beyond the image's border."""
        affine = self.crop_from_image()
        if self.scale < 0.5:  # bilinear alone would skip pixels: halve the scale that is left to it
            rgb, image_from_small = self._shrunk(rgb)
            affine[:, 2] += affine[:, :2] @ image_from_small[:, 2]
            affine[:, :2] = affine[:, :2] @ image_from_small[:, :2]
        mode = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_LINEAR
        return cv2.warpAffine(rgb, _opencv(affine), (self.size, self.size), flags=mode)  # type: ignore[return-value]

    def _shrunk(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The part of the image that the crop needs at twice the crop's scale, and (2, 3) image px from its px."""
        reach = self.side / 2 * (abs(np.cos(self.roll)) + abs(np.sin(self.roll))) + 2 / self.scale
        x0, y0 = (int(max(c - reach, 0)) for c in self.centre)
        part = rgb[y0 : int(self.centre[1] + reach) + 1, x0 : int(self.centre[0] + reach) + 1]
        height, width = (max(round(2 * self.scale * n), 1) for n in part.shape[:2])
        small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        image_from_small = np.array([[part.shape[1] / width, 0, x0], [0, part.shape[0] / height, y0]])
        return small, image_from_small  # type: ignore[return-value]

    def to_image(self, points: NDArray) -> NDArray[np.float64]:
        """Crop px (N, 2+) to image px; a third column (depth in crop px) is scaled along, further ones are kept."""
        points = np.array(points, np.float64)
        rotation = self.crop_from_image()
        points[:, :2] = (points[:, :2] - rotation[:, 2]) @ np.linalg.inv(rotation[:, :2]).T
        if points.shape[1] > 2:
            points[:, 2] /= self.scale
        return points

    def paste(self, plane: NDArray, shape: tuple[int, ...]) -> NDArray:
        """A plane (size, size) seen in the crop, laid into an image of `shape` (H, W, ...); 0 outside the crop."""
        affine = _opencv(cv2.invertAffineTransform(self.crop_from_image()))
        return cv2.warpAffine(plane, affine, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)

    @classmethod
    def whole(cls, shape: tuple[int, ...], zoom: float = 1.0, size: int = 512) -> Crop:
        """The smallest square that holds an image of shape (H, W, ...), `zoom` times as large."""
        return cls((shape[1] / 2, shape[0] / 2), float(max(shape[:2])) * zoom, 0.0, size)


def _opencv(affine: NDArray) -> NDArray[np.float64]:
    """An affine map between pixel centres at .5 as OpenCV wants it, which counts pixel centres as whole numbers."""
    return np.column_stack([affine[:, :2], affine @ [0.5, 0.5, 1.0] - 0.5])
