"""What every working pixel looks like: colour, texture and edge strength, as planes of floats.

Edge strength is the largest eigenvalue of the colour structure tensor (Di Zenzo 1986) at several scales; texture is
the local mean of oriented and band-pass filter responses.
"""

from __future__ import annotations

import functools
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


@functools.cache
def _colour_table() -> NDArray[np.int16]:
    """CIE L*, a*, b* (D65) of 33×33×33 sRGB colours, red first: L/100, (a+128)/256 and (b+128)/256 in 1/16384."""
    step = np.linspace(0, 1, 33)
    linear = np.where(step <= 0.04045, step / 12.92, ((step + 0.055) / 1.055) ** 2.4)
    red, green, blue = np.meshgrid(linear, linear, linear, indexing="ij")
    x = (0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.950456
    y = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    z = (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.088754
    fx, fy, fz = (np.where(v > 216 / 24389, np.cbrt(v), (841 * v / 108) + 16 / 116) for v in (x, y, z))
    shares = (116 * fy - 16) / 100, (500 * (fx - fy) + 128) / 256, (200 * (fy - fz) + 128) / 256
    table = np.rint(np.stack(shares, axis=3) * 16384).astype(np.int16)
    table.setflags(write=False)
    return table


@njit
def _lab(pixels: NDArray[np.uint8], table: NDArray[np.int16]) -> Plane:
    """H×W×3 float32 L*a*b* of sRGB bytes, by the rounded arithmetic of OpenCV's conversion of floats.

    The networks were fitted on colours from OpenCV, which fills the same table with a software's floats: once a
    process, but in more time than half an image takes.
    """
    rows, cols = pixels.shape[0], pixels.shape[1]
    flat = table.reshape(-1)
    out = np.empty((rows, cols, 3), np.float32)
    cell = np.empty(256, np.int32)
    part = np.empty(256, np.int32)
    for byte in range(256):
        place = int(np.rint(byte / 255 * 16384))
        cell[byte] = min(place >> 9, 31)
        part[byte] = (place >> 5) - 16 * cell[byte]
    for y in range(rows):
        for x in range(cols):
            r, g, b = pixels[y, x, 0], pixels[y, x, 1], pixels[y, x, 2]
            at = 3 * ((cell[r] * 33 + cell[g]) * 33 + cell[b])
            near_r, near_g, near_b = 16 - part[r], 16 - part[g], 16 - part[b]
            lightness, first, second = 0, 0, 0
            for corner in range(4):
                weight = (part[r] if corner & 2 else near_r) * (part[g] if corner & 1 else near_g)
                here = at + 3 * 33 * (33 * (corner >> 1) + (corner & 1))
                lightness += weight * (near_b * flat[here] + part[b] * flat[here + 3])
                first += weight * (near_b * flat[here + 1] + part[b] * flat[here + 4])
                second += weight * (near_b * flat[here + 2] + part[b] * flat[here + 5])
            out[y, x, 0] = np.float32((lightness + 2048) >> 12) * np.float32(100 / 16384)
            out[y, x, 1] = np.float32((first + 2048) >> 12) * np.float32(256 / 16384) - np.float32(128)
            out[y, x, 2] = np.float32((second + 2048) >> 12) * np.float32(256 / 16384) - np.float32(128)
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
    lab = _lab(pixels, _colour_table())
    texture = _texture(np.ascontiguousarray(lab[:, :, 0]))
    edges = [_edge_strength(lab, sigma) for sigma in (1.0, 2.0, 4.0)]
    edges.append(_edge_strength(texture * np.float32(3), 2.0))
    return Channels(_blur(image, 0.6), lab, texture, np.stack(edges, axis=2))
