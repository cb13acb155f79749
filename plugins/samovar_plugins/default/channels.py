"""What every working pixel looks like: colour, texture and edge strength, as planes of floats.

Edge strength is the largest eigenvalue of the colour structure tensor (Di Zenzo 1986) at several scales; texture is
the local mean of oriented and band-pass filter responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["GRADIENTS", "Channels", "describe_pixels"]

GRADIENTS = 4
"""Planes of edge strength: colour at three scales, then texture."""

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Channels:
    """Planes of one working image.

    Attributes:
        smooth: H×W×3 float32, RGB in 0…255, slightly blurred: what regions grow on.
        lab: H×W×3 float32, CIE L*a*b* (L in 0…100).
        texture: H×W×6 float32, square roots of local filter energies.
        edges: H×W×GRADIENTS float32, edge strength.
    """

    smooth: Plane
    lab: Plane
    texture: Plane
    edges: Plane


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _slopes(plane: Plane) -> tuple[Plane, Plane]:
    return (
        np.asarray(cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3, scale=0.125), np.float32),
        np.asarray(cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3, scale=0.125), np.float32),
    )


@njit
def _larger_eigenvalue(gx: Plane, gy: Plane) -> Plane:
    """Square root of the structure tensor's larger eigenvalue, summed over the planes of two H×W×C slopes."""
    rows, cols, depth = gx.shape
    out = np.empty((rows, cols), np.float32)
    for y in range(rows):
        for x in range(cols):
            xx, yy, xy = np.float32(0), np.float32(0), np.float32(0)
            for c in range(depth):
                xx += gx[y, x, c] * gx[y, x, c]
                yy += gy[y, x, c] * gy[y, x, c]
                xy += gx[y, x, c] * gy[y, x, c]
            gap = np.sqrt((xx - yy) * (xx - yy) + np.float32(4) * xy * xy)
            out[y, x] = np.sqrt((xx + yy + gap) / np.float32(2))
    return out


def _edge_strength(planes: Plane, sigma: float) -> Plane:
    """Edge strength of H×W×C planes blurred by `sigma`."""
    return _larger_eigenvalue(*_slopes(_blur(planes, sigma)))


def _texture(light: Plane) -> Plane:
    gx, gy = _slopes(_blur(light, 0.8))
    diagonal = np.float32(np.sqrt(0.5))
    fine, middle, coarse = _blur(light, 1.5), _blur(light, 1.5), _blur(light, 4.0)
    energies = [
        _blur(np.abs(gx), 2.5),
        _blur(np.abs((gx + gy) * diagonal), 2.5),
        _blur(np.abs(gy), 2.5),
        _blur(np.abs((gy - gx) * diagonal), 2.5),
        _blur(np.abs(light - fine), 2.5),
        _blur(np.abs(middle - coarse), 4.0),
    ]
    return np.asarray(np.sqrt(np.stack(energies, axis=2) + np.float32(0.05)), np.float32)


def describe_pixels(pixels: NDArray[np.uint8]) -> Channels:
    """The planes of an H×W×3 uint8 RGB image."""
    image = pixels.astype(np.float32)
    lab = np.asarray(cv2.cvtColor(image / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)
    texture = _texture(np.ascontiguousarray(lab[:, :, 0]))
    edges = [_edge_strength(lab, sigma) for sigma in (1.0, 2.0, 4.0)]
    edges.append(_edge_strength(texture * np.float32(3), 2.0))
    return Channels(_blur(image, 0.6), lab, texture, np.stack(edges, axis=2))
