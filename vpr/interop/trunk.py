"""torchvision's networks as several projects keep them: an `nn.Sequential` of their layers, which have numbers."""

from __future__ import annotations

PLACES = {"conv1": 0, "bn1": 1, **{f"layer{stage}": stage + 3 for stage in range(1, 5)}}
"""Of a ResNet's parts among its children; the ReLU and the pooling between have no tensors."""


def published_name(key: str) -> str:
    """Turn our name of a backbone's tensor into the published one: `model.layer1.0.conv1.weight`, `4.0.conv1.weight`.

    Those of a VGG have numbers in both: `features.28.weight`, `28.weight`.
    """
    trunk, _, rest = key.partition(".")
    if trunk == "features":
        return rest
    part, _, tensor = rest.partition(".")
    return f"{PLACES[part]}.{tensor}"
