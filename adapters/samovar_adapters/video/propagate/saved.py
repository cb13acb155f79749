"""The propagating tracker's state as named arrays, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError
from samovar.image import Image
from samovar.tracking import Snapshot
from samovar_adapters.video.propagate.appearance import Appearance, Examples
from samovar_adapters.video.propagate.target import Target

__all__ = ["pack", "unpack"]

_KIND = "propagate-2"


def pack(targets: Sequence[Target], frame: Image, count: int) -> Snapshot:
    """All that a tracker knows after `frame`, its `count`-th step."""
    told = [
        {
            "id": target.id,
            "label": target.label,
            "usual": target.usual,
            "hidden": target.hidden,
            "score": target.score,
            "frames": len(target.appearance.frames),
        }
        for target in targets
    ]
    state = {"kind": _KIND, "count": count, "name": frame.name, "targets": told}
    arrays: dict[str, NDArray[Any]] = {"state": np.array(json.dumps(state)), "frame": frame.pixels}
    for index, target in enumerate(targets):
        arrays[f"chance-{index}"] = target.chance
        for number, seen in enumerate(target.appearance.frames):
            arrays.update({f"{part}-{index}-{number}": array for part, array in seen._asdict().items()})
    return arrays


def unpack(snapshot: Snapshot) -> tuple[list[Target], Image, int]:
    """The targets, the latest frame and the number of steps. Raises InputError for another tracker's snapshot."""
    try:
        state = json.loads(str(snapshot["state"]))
        kind = state["kind"]
    except (KeyError, TypeError, ValueError):
        kind = "something else"
    if kind != _KIND:
        raise InputError(f"expected the snapshot of a {_KIND} tracker; got {kind}; track from the start instead")
    targets = []
    for index, told in enumerate(state["targets"]):
        frames = [
            Examples(*(snapshot[f"{part}-{index}-{number}"] for part in Examples._fields))
            for number in range(told.pop("frames"))
        ]
        targets.append(Target(chance=snapshot[f"chance-{index}"], appearance=Appearance(frames), **told))
    return targets, Image(snapshot["frame"], name=state["name"]), int(state["count"])
