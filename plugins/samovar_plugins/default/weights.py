"""The fitted numbers, read from the one small file beside this module.

`fitted.npz` holds thirteen small networks as float16 vectors (see `network`), 20,179 numbers in all. They were fitted
by `python -m benchmarks.fit_default --out FOLDER --disguises 4` on 97 COCO photos with COCO's panoptic masks
(annotations CC BY 4.0, COCO Consortium; photos under their own Flickr licences, not in the package) and on nothing
else.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from samovar.errors import WeightsError

from .network import Layers, probabilities, unfold

__all__ = ["Weights", "load_weights"]

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
    def border(self) -> Net | None:
        """Log-odds that a border between two regions is an object's outline."""
        return self.nets.get("border")

    @property
    def border_sizeless(self) -> Net | None:
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
