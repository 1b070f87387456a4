"""An image with a depth buffer, on which textured rectangles and plain polygons of the map are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vpr.data.toycity.camera import Camera

_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


class Patch(NamedTuple):
    """Part of the image that a plane may fill: box, its coverage mask (h, w) uint8 and inverse depths (h, w)."""

    x: slice
    y: slice
    mask: np.ndarray
    nearness: np.ndarray


class Canvas:
    """`frame` (H, W, 3) uint8 RGB and `nearness` (H, W) float32, the inverse depth in 1/m (0 = sky)."""

    def __init__(self, camera: Camera, frame: np.ndarray) -> None:
        self.camera = camera
        self.frame = frame
        self.nearness = np.zeros(frame.shape[:2], np.float32)

    def texture(
        self,
        image: Callable[[int], np.ndarray],
        scale: float,
        origin: np.ndarray,
        along: np.ndarray,
        up: np.ndarray,
        shape: np.ndarray = _UNIT,
        alpha: bool = False,
    ) -> None:
        """Draw a texture on the parallelogram `origin + a*along + b*up`, cut to `shape` (N, 2) in units of (a, b).

        `image(level)` gives it (top row first, RGB or with `alpha` RGBA) shrunk by `2**level`, or the smallest there
        is; it is asked only if something is to be seen. `scale` is pixels per metre at level 0.
        """
        patch = self._patch(origin + shape[:, :1] * along + shape[:, 1:] * up)
        if patch is None:
            return
        density = scale / max(float(patch.nearness.max()), 1e-3) / self.camera.focal
        picture = image(int(np.log2(max(density, 1))))
        h, w = picture.shape[:2]
        plane = np.stack([along / w, -up / h, origin + up - self.camera.position], axis=1)
        shift = np.array([[1, 0, -patch.x.start], [0, 1, -patch.y.start], [0, 0, 1.0]])
        size = (patch.mask.shape[1], patch.mask.shape[0])
        pose = shift @ self.camera.projection @ plane
        warped = cv2.warpPerspective(picture, pose, size, borderMode=cv2.BORDER_REPLICATE)
        if alpha:
            self._blend(patch, warped)
        else:
            self._put(patch, warped)

    def polygon(self, points: np.ndarray, colour: Sequence[float] | np.ndarray, opacity: float = 1.0) -> None:
        """Fill a planar polygon (N, 3) with one colour; where it is translucent it leaves the depth as it was."""
        patch = self._patch(points)
        if patch is None:
            return
        fill = np.empty((*patch.mask.shape, 3), np.uint8)
        fill[:] = [min(max(c, 0), 255) for c in colour]
        if opacity < 1:
            below = self.frame[patch.y, patch.x]
            cv2.copyTo(cv2.addWeighted(fill, opacity, below, 1 - opacity, 0), patch.mask, below)
        else:
            self._put(patch, fill)

    def hides(self, points: np.ndarray) -> bool:
        """Tell whether all of a box around these corners (N, 3), all before the camera, is behind what is drawn."""
        rays = (points - self.camera.position) @ self.camera.projection.T
        depth = rays[:, 2].min()
        if depth < 1:
            return False
        pixels = rays[:, :2] / rays[:, 2:]
        x0, y0 = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        x1, y1 = np.ceil(pixels.max(0)).astype(int) + 1
        area = self.nearness[y0 : max(y1, 0), x0 : max(x1, 0)]
        return area.size == 0 or float(area.min()) > 1 / depth

    def _patch(self, points: np.ndarray) -> Patch | None:
        """Find the pixels of a planar polygon that lie before what is drawn already."""
        pixels = self.camera.outline(points)
        if pixels is None:
            return None
        low = np.floor(pixels.min(0)).astype(int)
        high = np.ceil(pixels.max(0)).astype(int) + 1
        x0, y0 = max(low[0], 0), max(low[1], 0)
        x1, y1 = min(high[0], self.camera.width), min(high[1], self.camera.height)
        if x0 >= x1 or y0 >= y1:
            return None
        normal = _cross(points[1] - points[0], points[-1] - points[0])
        distance = normal @ (points[0] - self.camera.position)
        if abs(distance) < 1e-9:  # seen edge on
            return None
        a, b, c = (normal / distance) @ self.camera.unprojection  # 1/depth is affine in the pixel
        nearness = (a * np.arange(x0, x1, dtype=np.float32) + np.float32(c)) + (
            b * np.arange(y0, y1, dtype=np.float32)[:, None]
        )
        x, y = slice(int(x0), int(x1)), slice(int(y0), int(y1))
        nearness = nearness.astype(np.float32)
        before = cv2.compare(nearness, self.nearness[y, x], cv2.CMP_GT)
        mask = np.zeros(before.shape, np.uint8)
        cv2.fillPoly(mask, [np.round((pixels - (x0, y0)) * 16).astype(np.int32)], 255, shift=4)
        mask = np.asarray(cv2.bitwise_and(mask, before))
        return Patch(x, y, mask, nearness) if mask.any() else None

    def _put(self, patch: Patch, image: np.ndarray) -> None:
        cv2.copyTo(image, patch.mask, self.frame[patch.y, patch.x])
        cv2.copyTo(patch.nearness, patch.mask, self.nearness[patch.y, patch.x])

    def _blend(self, patch: Patch, image: np.ndarray) -> None:
        alpha = np.asarray(cv2.bitwise_and(image[..., 3], patch.mask))
        below = self.frame[patch.y, patch.x]
        weight = alpha[..., None].astype(np.float32) / 255
        below[:] = (below + (image[..., :3] - below.astype(np.float32)) * weight + 0.5).astype(np.uint8)
        solid = np.where(alpha > 127, 255, 0).astype(np.uint8)
        cv2.copyTo(patch.nearness, solid, self.nearness[patch.y, patch.x])


def tinted(image: np.ndarray, colour: Sequence[float]) -> np.ndarray:
    """Multiply the RGB of an image (H, W, 3 or 4) uint8 with a colour (3,), 1 = unchanged, and saturate."""
    return np.asarray(cv2.multiply(image, (*colour, 1.0)))  # type: ignore[call-overload]  # its stub knows no scalars


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Vector product of two (3,): numpy's own spends its time on shapes."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def pyramid(image: np.ndarray, levels: int = 4) -> list[np.ndarray]:
    """Halve an image (H, W, C) repeatedly, by area."""
    out = [image]
    while len(out) < levels and min(out[-1].shape[:2]) >= 8:
        h, w = out[-1].shape[:2]
        out.append(cv2.resize(out[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
    return out
