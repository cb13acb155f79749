"""What the sources of OpenMMLab's libraries share: their argument on the command line, and their failures."""

from __future__ import annotations

from collections.abc import Sequence
from pickle import UnpicklingError

from samovar.errors import InputError, UnknownNameError

__all__ = ["FAILURES", "fraction", "parse_argument", "reason"]

FAILURES = (OSError, KeyError, TypeError, AttributeError, ValueError, SyntaxError, UnpicklingError)
"""What OpenMMLab's code raises for a config or a checkpoint that it can make nothing of."""


def parse_argument(
    source: str, argument: str | None, positions: Sequence[str], settings: Sequence[str]
) -> dict[str, str]:
    """`"CONFIG,CHECKPOINT,text=a cat"` as a dictionary: what has no "=" by position, the rest by name.

    What has none after a "text=" still belongs to that.

    Args:
        source: the source's name, for messages.
        argument: as typed.
        positions: names of the parts that need none, in order; the first is required.
        settings: names of the others.

    Raises:
        InputError: nothing where the first is required, or more parts than positions.
        UnknownNameError: a name that is none of these.
    """
    found: dict[str, str] = {}
    free = list(positions)
    latest = ""
    for part in filter(None, (argument or "").split(",")):
        name, equals, value = part.partition("=")
        if latest == "text" and not (equals and name.isidentifier()):
            found["text"] += f",{part}"  # words may have commas in them
            continue
        latest = name if equals else ""
        if equals and name.isidentifier():
            if name not in (*positions, *settings):
                known = (*positions, *settings)
                raise UnknownNameError.among("setting", name, known, f"write it as in {source}:{positions[0].upper()}")
            found[name] = value
        elif free:
            found[free.pop(0)] = part
        else:
            raise InputError(f"{source} takes at most {len(positions)} parts without a name; got {argument!r}")
    if positions[0] not in found:
        raise InputError(f"{source} needs a {positions[0]}; write it as in {source}:{positions[0].upper()}")
    return found


def fraction(source: str, setting: str, text: str) -> float:
    """`text` as a number between 0 and 1. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"{source}: {setting} must be between 0 and 1; got {text!r}")
    return value


def reason(error: Exception) -> str:
    """What went wrong in OpenMMLab's code, on one line: its registries tell it in several."""
    if isinstance(error, UnpicklingError):
        return (
            "its checkpoint holds more than tensors, which torch reads only from files that you trust; if you do, set "
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
        )
    return " ".join(str(error).split()) or type(error).__name__
