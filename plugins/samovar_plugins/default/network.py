"""Tiny multilayer perceptrons and their fitted numbers, read from the one small file beside this module.

A network standardises its inputs, has two hidden layers of rectified units and one linear output. All its numbers lie
in one flat float32 vector, so that kernels (see `rag`) take networks as plain arrays: mean (d), 1/deviation (d), W1
(d×h), b1 (h), W2 (h×h), b2 (h), w3 (h), b3 (1). The rows of one prompt are evaluated together and apart from all
others', in blocks so small that no BLAS spreads them over threads: an answer depends neither on the rest of the batch
nor on the number of cores.

`fitted.npz` holds thirteen small networks as float16 vectors, 20,179 numbers in all. They were fitted by
`python -m benchmarks.fit_default --out FOLDER --disguises 4` on 97 COCO photos with COCO's panoptic masks (annotations
CC BY 4.0, COCO Consortium; photos under their own Flickr licences, not in the package) and on nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from samovar.errors import WeightsError
from samovar.jit import njit

__all__ = [
    "Layers",
    "Weights",
    "code_digest",
    "hidden_units",
    "load_weights",
    "parameter_count",
    "probabilities",
    "unfold",
]

_BLOCK = 128


def parameter_count(inputs: int, hidden: int) -> int:
    """How many numbers a network has."""
    return 2 * inputs + inputs * hidden + hidden + hidden * hidden + hidden + hidden + 1


def hidden_units(parameters: int, inputs: int) -> int:
    """The hidden units of a network of that many parameters, solved from `parameter_count`.

    Raises:
        WeightsError: no network on `inputs` features has that many.
    """
    linear = inputs + 3
    hidden = round((-linear + math.sqrt(max(linear * linear - 4 * (2 * inputs + 1 - parameters), 0))) / 2)
    if hidden < 1 or parameter_count(inputs, hidden) != parameters:
        raise WeightsError(
            f"expected a network on {inputs} features; got {parameters} numbers, which fit none; refit or reinstall"
        )
    return hidden


@dataclass(frozen=True, eq=False)
class Layers:
    """A network with the standardising folded into its first layer. float32.

    Attributes:
        w1, b1: d×h and h.
        w2, b2: h×h and h.
        w3, b3: h, and the last number.
    """

    w1: NDArray[np.float32]
    b1: NDArray[np.float32]
    w2: NDArray[np.float32]
    b2: NDArray[np.float32]
    w3: NDArray[np.float32]
    b3: float


def unfold(net: NDArray[np.float32], inputs: int) -> Layers:
    """The layers of a network on so many inputs. Raises WeightsError if it has others."""
    hidden = hidden_units(len(net), inputs)
    sizes = (inputs, inputs, inputs * hidden, hidden, hidden * hidden, hidden, hidden)
    mean, scale, w1, b1, w2, b2, w3, b3 = np.split(net, np.cumsum(sizes))
    w1 = scale[:, None] * w1.reshape(inputs, hidden)
    return Layers(w1, b1 - mean @ w1, w2.reshape(hidden, hidden), b2, w3, float(b3[0]))


@njit(fastmath=True)
def _rectify(layer: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    for i in range(layer.shape[0]):
        for j in range(layer.shape[1]):
            layer[i, j] = max(layer[i, j] + bias[j], np.float32(0))


@njit(fastmath=True)
def _odds(
    layer: NDArray[np.float32], bias: NDArray[np.float32], weight: NDArray[np.float32], last: float
) -> NDArray[np.float32]:
    out = np.empty(layer.shape[0], np.float32)
    for i in range(layer.shape[0]):
        total = np.float32(last)
        for j in range(layer.shape[1]):
            total += max(layer[i, j] + bias[j], np.float32(0)) * weight[j]
        out[i] = min(max(total, np.float32(-30)), np.float32(30))
    return out


def _product(rows: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty((len(rows), weight.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        np.matmul(rows[start : start + _BLOCK], weight, out=out[start : start + _BLOCK])
    return out


def probabilities(net: Layers, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's outputs for rows×inputs as probabilities, float32."""
    first = _product(rows, net.w1)
    _rectify(first, net.b1)
    odds = _odds(_product(first, net.w2), net.b2, net.w3, net.b3)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


_FILE = Path(__file__).with_name("fitted.npz")

Net = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Weights:
    """All networks (see `network`), by name; a missing one falls back on a hand-made rule."""

    nets: dict[str, Net] = field(default_factory=dict)
    _layers: dict[tuple[str, int], Layers] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with the numbers."""
        digest = hashlib.sha256()
        for name, net in sorted(self.nets.items()):
            digest.update(f"{name} {net.dtype.str} {net.shape}\n".encode())
            digest.update(net.tobytes())
        return digest.hexdigest()[:16]

    def probabilities(self, name: str, rows: NDArray[np.float32], fallback: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network of that name says of rows×inputs; the fallback when it was not fitted.

        Raises:
            WeightsError: it has other inputs.
        """
        if name not in self.nets:
            return fallback
        inputs = rows.shape[1]
        layers = self._layers.get((name, inputs))
        if layers is None:
            layers = self._layers[name, inputs] = unfold(self.nets[name], inputs)
        return probabilities(layers, rows)

    @property
    def edge(self) -> Net | None:
        """Log-odds that an edge between two regions is an object's outline."""
        return self.nets.get("border")

    @property
    def edge_sizeless(self) -> Net | None:
        """The same from features that say nothing of size."""
        return self.nets.get("border_sizeless")


@functools.cache
def load_weights(path: Path | None = None) -> Weights:
    """The networks in `path` (an .npz of float vectors), by default those in the package.

    Raises:
        WeightsError: the file is missing or holds anything but vectors of finite floats.
    """
    source = _FILE if path is None else path
    try:
        data = source.read_bytes()
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            nets = {name: archive[name].astype(np.float32) for name in archive.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise WeightsError(f"cannot read the fitted numbers of the default segmenter at {source}: {error}") from error
    for name, net in nets.items():
        if net.ndim != 1 or not np.isfinite(net).all():
            raise WeightsError(f"{source}: {name} must be a vector of finite numbers; reinstall the package")
        net.setflags(write=False)
    return Weights(nets)


@functools.cache
def code_digest(folder: Path = Path(__file__).parent) -> str:
    """16 hexadecimal digits that change whenever any module of this package does.

    All modules count, though some only decode: a version number, or a list of those that encode, is one that somebody
    forgets to change; an embedding made again costs a fraction of a second.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()[:16]
