"""What a memory tracker remembers as named arrays, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar.errors import InputError
from samovar.tracking import Snapshot

__all__ = ["pack", "unpack"]

_KIND = "memory-1"
_PARTS = ("cond_frame_outputs", "non_cond_frame_outputs")


def pack(told: dict[str, Any], memory: dict[int, Any], frame: NDArray[np.uint8]) -> Snapshot:
    """The arrays.

    Args:
        told: whatever else is to be kept, as JSON takes it.
        memory: place of an object → the session's outputs for it.
        frame: the latest, H×W×3 uint8.
    """
    arrays: dict[str, NDArray[Any]] = {"frame": frame}
    kinds: dict[str, str] = {}
    for place, outputs in memory.items():
        for part in _PARTS:
            for number, out in outputs[part].items():
                for name, value in out.items():
                    key = f"{place}-{part}-{number}-{name}"
                    kinds[key] = str(value.dtype).removeprefix("torch.")
                    # NumPy has no bfloat16: its bits go as integers.
                    plain = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
                    arrays[key] = plain.cpu().numpy()
    arrays["state"] = np.array(json.dumps({"kind": _KIND, "kinds": kinds, **told}))
    return arrays


def unpack(snapshot: Snapshot, device: str) -> tuple[dict[str, Any], dict[int, Any], NDArray[np.uint8]]:
    """What `pack` was given. Raises InputError for another tracker's snapshot."""
    try:
        told = json.loads(str(snapshot["state"]))
        kind = told["kind"]
    except (KeyError, TypeError, ValueError):
        kind = "something else"
    if kind != _KIND:
        raise InputError(f"expected the snapshot of a {_KIND} tracker; got {kind}; track from the start instead")
    memory: dict[int, Any] = {}
    for key, kept in told["kinds"].items():
        place, part, number, name = key.split("-")
        outputs = memory.setdefault(int(place), {part: {} for part in _PARTS})
        outputs[part].setdefault(int(number), {})[name] = _tensor(snapshot[key], kept, device)
    return told, memory, snapshot["frame"]


def _tensor(array: NDArray[Any], kind: str, device: str) -> Tensor:
    tensor = torch.from_numpy(np.array(array))
    return (tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor).to(device)
