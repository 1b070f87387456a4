"""Drawing tools: a pinhole camera, an image with a depth buffer, and sheets on which textures are drawn in metres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

NEAR = 0.3  # metres; what is nearer is cut away
PIXELS_PER_METRE = 18
WALL, SHOP, SIGN, LEDGE = 0, 240, 241, 242  # labels; 1..239 number the windows
Colour = Sequence[float] | np.ndarray
_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera in map coordinates: x east, y north, z up.

    Position in metres, heading in degrees clockwise from +y, pitch in degrees upwards, the rest in pixels.
    """

    position: tuple[float, float, float]
    heading: float
    pitch: float
    focal: float
    width: int
    height: int

    @cached_property
    def rotation(self) -> np.ndarray:
        """(3, 3): rows are the camera's right, down and forward in map coordinates."""
        h, p = np.radians(self.heading), np.radians(self.pitch)
        forward = np.array([np.sin(h) * np.cos(p), np.cos(h) * np.cos(p), np.sin(p)])
        right = np.array([np.cos(h), -np.sin(h), 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) matrix from camera coordinates to pixels; the principal point is the image centre."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    @cached_property
    def projection(self) -> np.ndarray:
        """(3, 3) matrix from map vectors relative to the camera to homogeneous pixels."""
        return self.intrinsics @ self.rotation

    @cached_property
    def unprojection(self) -> np.ndarray:
        """(3, 3) matrix from homogeneous pixels to map vectors of depth 1."""
        return np.linalg.inv(self.projection)

    def sees(self, points: np.ndarray, margin: float) -> np.ndarray:
        """Tell which map points (N, 2) stand in the view from above, or `margin` metres beside it."""
        offset = np.asarray(points) - self.position[:2]
        ahead, sideways = offset @ self.rotation[2, :2], offset @ self.rotation[0, :2]
        slope = self.width / self.focal / 2
        return (ahead > -margin) & (np.abs(sideways) < slope * np.maximum(ahead, 0) + margin * np.hypot(1, slope))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project map points (N, 3) in front of the camera to pixels (N, 2)."""
        rays = (np.asarray(points, float) - self.position) @ self.projection.T
        return rays[:, :2] / rays[:, 2:]

    def outline(self, points: np.ndarray) -> np.ndarray | None:
        """Clip a polygon (N, 3) at the near plane and project it to pixels (M, 2); None if it lies behind."""
        rays = (points - self.position) @ self.projection.T
        ahead = rays[:, 2] > NEAR
        if not ahead.all():
            if not ahead.any():
                return None
            kept = []
            for a, b, a_in, b_in in zip(rays, np.roll(rays, -1, 0), ahead, np.roll(ahead, -1), strict=True):
                if a_in:
                    kept.append(a)
                if a_in != b_in:
                    kept.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
            rays = np.array(kept)
        return rays[:, :2] / rays[:, 2:]


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


def _bounded(colour: Colour) -> list[float]:
    return [min(max(float(c), 0.0), 255.0) for c in colour]


class Sheet:
    """`rgb` (h, w, 3) and `label` (h, w), both uint8; x runs right and z up from the pavement, in metres."""

    def __init__(self, width: float, height: float, scale: float = PIXELS_PER_METRE) -> None:
        self.width, self.height, self.scale = width, height, scale
        shape = (max(round(height * scale), 2), max(round(width * scale), 2))
        self.rgb = np.zeros((*shape, 3), np.uint8)
        self.label = np.zeros(shape, np.uint8)

    def _pixel(self, x: float, z: float) -> tuple[int, int]:
        return round(x * self.scale), self.rgb.shape[0] - round(z * self.scale)

    def rect(self, x0: float, z0: float, x1: float, z1: float, colour: Colour, label: int | None = None) -> None:
        """Fill a rectangle; at least one pixel."""
        (left, bottom), (right, top) = self._pixel(x0, z0), self._pixel(x1, z1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        self.rgb[rows, columns] = _bounded(colour)
        if label is not None:
            self.label[rows, columns] = label

    def fade(self, x0: float, z0: float, x1: float, z1: float, top: Colour, bottom: Colour, label: int) -> None:
        """Fill a rectangle with a vertical gradient."""
        (left, low), (right, high) = self._pixel(x0, z0), self._pixel(x1, z1)
        rows, columns = slice(max(high, 0), max(low, 0)), slice(max(left, 0), max(right, 0))
        count = self.rgb[rows, columns].shape[0]
        mix = np.linspace(0, 1, count)[:, None, None]
        self.rgb[rows, columns] = np.clip(np.asarray(top) * (1 - mix) + np.asarray(bottom) * mix, 0, 255)
        self.label[rows, columns] = label

    def poly(self, points: Sequence[tuple[float, float]], colour: Colour, label: int | None = None) -> None:
        """Fill a polygon of (x, z)."""
        pixels = np.array([self._pixel(x, z) for x, z in points], np.int32)
        cv2.fillPoly(self.rgb, [pixels], _bounded(colour))
        if label is not None:
            cv2.fillPoly(self.label, [pixels], label)

    def arch(
        self, x0: float, z0: float, x1: float, colour: Colour, label: int | None = None, rise: float = 0.5
    ) -> None:
        """Fill the half ellipse that stands on the line z0 between x0 and x1, `rise` times as high as wide."""
        turns = np.linspace(0, np.pi, 12)
        middle, half = (x0 + x1) / 2, (x1 - x0) / 2
        self.poly(
            [(middle + half * c, z0 + 2 * half * rise * s) for c, s in zip(np.cos(turns), np.sin(turns), strict=True)],
            colour,
            label,
        )

    def line(self, x0: float, z0: float, x1: float, z1: float, colour: Colour, pixels: int = 1) -> None:
        """Draw a line, its thickness in pixels."""
        cv2.line(self.rgb, self._pixel(x0, z0), self._pixel(x1, z1), _bounded(colour), pixels)

    def text(self, words: str, x0: float, z0: float, x1: float, z1: float, colour: Colour, font: int) -> None:
        """Write into a box, as large as fits."""
        (w, h), _ = cv2.getTextSize(words, font, 1.0, 1)
        size = min((x1 - x0) * self.scale / w, (z1 - z0) * self.scale / h)
        x, y = self._pixel((x0 + x1) / 2, (z0 + z1) / 2)
        corner = (round(x - w * size / 2), round(y + h * size / 2))
        cv2.putText(
            self.rgb, words, corner, font, size, [float(c) for c in colour], 2 if size > 0.7 else 1, cv2.LINE_AA
        )


class Skin:
    """A sheet that is drawn when first looked at, in full, half, quarter ... size."""

    def __init__(self, draw: Callable[[], Sheet]) -> None:
        self._draw = draw

    @cached_property
    def levels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs of `rgb` and `label`, the largest first."""
        sheet = self._draw()
        out: list[tuple[np.ndarray, np.ndarray]] = [(sheet.rgb, sheet.label)]
        while len(out) < 4:
            rgb, label = out[-1]
            h, w = label.shape[0] // 2, label.shape[1] // 2
            smaller = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA)
            out.append((smaller, np.ascontiguousarray(label[: 2 * h : 2, : 2 * w : 2])))
        return out
