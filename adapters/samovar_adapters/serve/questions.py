"""What requests have for the decoder's thread, and how it answers them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from samovar.masks import Masks
from samovar.runtime import Prepared

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions
    from samovar.runtime import Runtime
    from samovar_adapters.serve.metrics import Metrics

__all__ = ["NOT_THERE", "Question", "Ready", "answers", "found"]

NOT_THERE: Any = object()
"""The answer to a question that has nothing to decode."""

Ready: TypeAlias = Prepared | Masks
"""What is left to be decoded; masks where nothing is."""


@dataclass(frozen=True)
class Question:
    """What one request has for the decoder's thread.

    Attributes:
        ready: gives what is to be decoded; None if it is not there.
        draw: what to make of the masks.
    """

    ready: Callable[[], Ready | None]
    draw: Callable[[Masks], Any]


def answers(runtime: Runtime, options: DecodeOptions, questions: Sequence[Question], metrics: Metrics) -> list[Any]:
    """What each question makes of its masks, all decoded together; `NOT_THERE` for one that has nothing to decode."""
    ready = [question.ready() for question in questions]
    prepared = [one for one in ready if isinstance(one, Prepared)]
    decoded = iter(runtime.answer(prepared, options) if prepared else ())
    if prepared:
        metrics.batch_sizes.observe(len(prepared))
    drawn: list[Any] = []
    for question, one in zip(questions, ready):
        if one is None:
            drawn.append(NOT_THERE)
        else:
            drawn.append(question.draw(next(decoded) if isinstance(one, Prepared) else one))
    return drawn


def found(runtime: Runtime, read: Callable[[], tuple[Image, Prompts]], *, in_memory: bool = False) -> Ready | None:
    """What takes no encoding and no look at the picture to prepare; else None. Raises as `read` and `Runtime.prepare`.

    Args:
        in_memory: nor any reading from a disk.
    """
    image, prompts = read()
    if len(prompts) == 0:
        return Masks.empty(image.width, image.height)
    embedding = None
    if prompts.kinds <= runtime.segmenter.prompt_kinds:
        embedding = runtime.cache.find(image, runtime.segmenter, model=runtime.name, in_memory=in_memory)
    if embedding is None:
        prompts.check_inside(image.width, image.height)  # before it is encoded in vain
        return None
    return runtime.prepare(image, prompts, embedding=embedding)
