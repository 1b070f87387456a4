"""Local features of two images: keypoints, matches between them, and those that one homography explains.

`RootSIFT` needs nothing beside OpenCV; `LightGlue` and `LoFTR` are networks of kornia (extra `local`), whose weights
are downloaded at their first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from vpr.errors import ConfigError, WeightsUnavailable

INSTALL = 'pip install "vpr-distill[local]"'


Pairs = tuple[np.ndarray, np.ndarray]
"""Matched points of two images, (n, 2) float32 each: x and y in pixels."""


class Matcher(Protocol):
    """Local features: `extract` is called once an image, `match` once a pair.

    Attributes:
        parallel: whether several threads may call it at once.
    """

    parallel: bool

    def extract(self, image: np.ndarray) -> Any:
        """Return the features of an image (H, W, 3) uint8 RGB."""
        ...

    def match(self, left: Any, right: Any) -> Pairs:
        """Return the matched points of two images, by their features."""
        ...


class RootSIFT:
    """SIFT (Lowe, IJCV 2004) as RootSIFT (Arandjelovic & Zisserman, CVPR 2012); mutual nearest neighbours.

    Descriptors are upright: photos of places stand upright, and a turned window is another one.

    Args:
        keypoints: the strongest, at most so many.
        ratio: a match is nearer than so many times the second nearest (Lowe's ratio test).
        contrast: least contrast of a keypoint; OpenCV's own is 0.04, and dark photos have less.
    """

    parallel = True

    def __init__(self, keypoints: int = 512, ratio: float = 0.9, contrast: float = 0.02) -> None:
        self.keypoints, self.ratio, self.contrast = keypoints, ratio, contrast

    def extract(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points (n, 2) in pixels, and descriptors (n, 128) of unit norm, float32."""
        sift = cv2.SIFT.create(nfeatures=0, contrastThreshold=self.contrast)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        upright = {}
        for point in sift.detect(grey, None):
            point.angle = 0.0
            upright[point.pt, point.octave, point.size] = point  # one window, whatever orientations it has
        points = sorted(upright.values(), key=lambda point: -point.response)[: self.keypoints]
        if not points:
            return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
        described, descriptors = sift.compute(grey, points)
        roots = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
        return np.array([point.pt for point in described], np.float32), roots.astype(np.float32)

    def match(self, left: Any, right: Any) -> Pairs:
        (of_left, one), (of_right, other) = left, right
        if min(len(one), len(other)) < 2:
            return of_left[:0], of_right[:0]
        similarities = one @ other.T
        nearest, back = similarities.argmax(1), similarities.argmax(0)
        rows = np.arange(len(one))
        best = similarities[rows, nearest]
        second = np.partition(similarities, -2, axis=1)[:, -2]
        first, next_one = (np.sqrt(np.maximum(2 - 2 * values, 0)) for values in (best, second))
        chosen = (back[nearest] == rows) & (first < self.ratio * next_one)
        return of_left[chosen], of_right[nearest[chosen]]


class LightGlue:
    """DISK keypoints (Tyszkiewicz et al., NeurIPS 2020), matched by LightGlue (Lindenberger et al., ICCV 2023); kornia.

    Args:
        keypoints: the strongest, at most so many.
        device: of the networks.

    Raises:
        ConfigError: kornia is not installed.
        WeightsUnavailable: the weights cannot be downloaded.
    """

    parallel = False

    def __init__(self, keypoints: int = 512, device: torch.device | str = "cpu") -> None:
        self.keypoints, self.device = keypoints, torch.device(device)
        kornia = _kornia("lightglue")
        self.disk = _pretrained("lightglue", lambda: kornia.DISK.from_pretrained("depth")).eval().to(self.device)
        self.glue = _pretrained("lightglue", lambda: kornia.LightGlue("disk")).eval().to(self.device)

    @torch.inference_mode()
    def extract(self, image: np.ndarray) -> dict[str, Tensor]:
        features = self.disk(_tensor(image, self.device), n=self.keypoints, pad_if_not_divisible=True)[0]
        size = torch.tensor([[image.shape[1], image.shape[0]]], device=self.device)
        return {
            "keypoints": features.keypoints[None],
            "descriptors": features.descriptors[None],
            "image_size": size,
        }

    @torch.inference_mode()
    def match(self, left: Any, right: Any) -> Pairs:
        if min(left["keypoints"].shape[1], right["keypoints"].shape[1]) < 2:
            return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
        one, other = self.glue({"image0": left, "image1": right})["matches"][0].unbind(1)
        points = left["keypoints"][0, one], right["keypoints"][0, other]
        return points[0].float().cpu().numpy(), points[1].float().cpu().numpy()


class LoFTR:
    """Detector-free matches (Sun et al., CVPR 2021), outdoor weights; kornia. Arguments and errors as of `LightGlue`.

    `keypoints` has no meaning here.
    """

    parallel = False

    def __init__(self, keypoints: int = 512, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        kornia = _kornia("loftr")
        self.network = _pretrained("loftr", lambda: kornia.LoFTR("outdoor")).eval().to(self.device)

    def extract(self, image: np.ndarray) -> Tensor:
        """Return the grey image (1, 1, h, w), cut at the right and below to multiples of 8 pixels."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
        return _tensor(grey[: grey.shape[0] // 8 * 8, : grey.shape[1] // 8 * 8], self.device)

    @torch.inference_mode()
    def match(self, left: Any, right: Any) -> Pairs:
        if min(*left.shape[-2:], *right.shape[-2:]) < 32:
            return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
        matches = self.network({"image0": left, "image1": right})
        return matches["keypoints0"].float().cpu().numpy(), matches["keypoints1"].float().cpu().numpy()


MATCHERS: dict[str, Callable[[int, torch.device | str], Matcher]] = {
    "sift": lambda keypoints, device: RootSIFT(keypoints),
    "lightglue": LightGlue,
    "loftr": LoFTR,
}
"""By name, (keypoints, device) -> matcher."""


def of_one_homography(pairs: Pairs, pixels: float) -> np.ndarray:
    """Tell which pairs one homography explains to `pixels`, (n,) bool, by MAGSAC++ (Barath et al., CVPR 2020).

    Of fewer than 4 pairs it explains none.
    """
    inside = np.zeros(len(pairs[0]), bool)
    if len(inside) >= 4:
        matrix, mask = cv2.findHomography(*pairs, cv2.USAC_MAGSAC, pixels, maxIters=1000, confidence=0.999)
        if matrix is not None and mask is not None:
            inside = mask.ravel().astype(bool)
    return inside


def _tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """Return (h, w, c) uint8 as (1, c, h, w) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 255


def _kornia(matcher: str) -> Any:
    try:
        import kornia.feature
    except ImportError as error:
        raise ConfigError(
            f"rerank.matcher={matcher} needs kornia, which is not installed. Type {INSTALL}, or rerank.matcher=sift, "
            "which needs nothing more."
        ) from error
    return kornia.feature


def _pretrained(matcher: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # urllib's, ssl's and torch.hub's all mean that the file cannot be had
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsUnavailable(
            f"The weights of rerank.matcher={matcher} cannot be downloaded ({reason}). Fetch them where there is a "
            f"network, by the same command, and copy {torch.hub.get_dir()}/checkpoints from there; or type "
            "rerank.matcher=sift, which needs none."
        ) from error
