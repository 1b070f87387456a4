"""Descriptors of an image's regions from one feature map (Ge et al., ECCV 2020; Xu et al., ICPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from vpr.errors import ConfigError
from vpr.models.aggregators.netvlad import NetVLAD, normalise

# Regions of a grid of so many rows and columns: the cells of each, counted row by row.
LAYOUTS = {
    2: ((0, 1, 2, 3), (0, 1), (2, 3), (0, 2), (1, 3), (0,), (1,), (2,), (3,)),
    3: (tuple(range(9)), (0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8)),
}


def regions(net: NetVLAD, map: Tensor, grid: int) -> Tensor:
    """Return descriptors (B, R, K * C), float32, rows of unit norm, of the regions of maps (B, C, h, w).

    A region's VLAD is the sum of its cells', which add up before anything is normalised.
    The first region is the whole image, and has the descriptor that `net` gives.

    Args:
        net: aggregator that assigns the vectors of the map to clusters.
        grid: 2 -> 9 regions of 2 x 2 cells: image, top, bottom, left, right, and the quarters row by row (SFRS);
            3 -> 7 regions of 3 x 3 cells: image, rows from the top, columns from the left (WAKD).

    Raises:
        ConfigError: there is no such layout, or the grid does not divide the map.
    """
    check_regions(map.shape[-2:], grid)
    x = _cells(net.descriptors(map), map.shape[-2:], grid)
    sums = net.sums(net.assign(x), x)  # (B * cells, K, C)
    member = torch.zeros(len(LAYOUTS[grid]), grid * grid, device=map.device)
    for region, cells in enumerate(LAYOUTS[grid]):
        member[region, list(cells)] = 1
    with torch.autocast(map.device.type, enabled=False):
        vlad = torch.einsum("rg,bgkc->brkc", member, sums.unflatten(0, (len(map), grid * grid)))
    return normalise(vlad.flatten(0, 1)).unflatten(0, (len(map), -1))


def check_regions(map_size: tuple[int, ...] | torch.Size, grid: int, stride: int | None = None) -> None:
    """Check that maps of (h, w) cells have regions of that grid.

    Args:
        stride: of the backbone in pixels; with it, the message says which image sizes would do.

    Raises:
        ConfigError: there is no such layout, or the grid does not divide the map.
    """
    if grid not in LAYOUTS:
        raise ConfigError(f"Regions of {grid} x {grid} cells: there are {_or(sorted(LAYOUTS))}, as SFRS and WAKD have.")
    h, w = map_size
    if h % grid == 0 and w % grid == 0 and min(h, w) > 0:
        return
    unit = stride or 1
    sizes = _or(f"[{a},{b}]" for a in _nearest(h, grid, unit) for b in _nearest(w, grid, unit))
    what = f"Type image.size={sizes}." if stride else f"Choose an image size whose map is {sizes}."
    raise ConfigError(f"Regions of {grid} x {grid} cells cannot be cut from a map of {h} x {w}. {what}")


def _cells(rows: Tensor, size: torch.Size, grid: int) -> Tensor:
    """Bring (B, X, h * w) to (B * grid * grid, X, cells): the positions of each cell of the grid, row by row."""
    b, x, _ = rows.shape
    h, w = size[0] // grid, size[1] // grid
    return rows.view(b, x, grid, h, grid, w).permute(0, 2, 4, 1, 3, 5).reshape(b * grid * grid, x, h * w)


def _nearest(cells: int, grid: int, stride: int) -> list[int]:
    below = cells // grid * grid
    return [n * stride for n in sorted({below, -(-cells // grid) * grid}) if n]


def _or(options: object) -> str:
    return " or ".join(map(str, options))  # type: ignore[call-overload]
