"""A pinhole camera in map coordinates: x east, y north, z up, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.3  # metres; what is nearer is cut away


@dataclass(frozen=True)
class Camera:
    """Position in metres, heading in degrees clockwise from +y, pitch in degrees upwards, the rest in pixels."""

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
