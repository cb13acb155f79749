"""What requests have for the decoder's thread, and how it answers them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from samovar.masks import Masks
from samovar.runtime import EncodedRequest

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions
    from samovar.runtime import Runtime
    from samovar_adapters.serve.metrics import Metrics

__all__ = ["NOT_THERE", "Question", "Ready", "answers", "found"]

NOT_THERE: Any = object()
"""The answer to a question that has nothing to decode."""

Ready: TypeAlias = EncodedRequest | Masks
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
    requests = [one for one in ready if isinstance(one, EncodedRequest)]
    decoded = iter(runtime.decode_requests(requests, options) if requests else ())
    if requests:
        metrics.batch_sizes.observe(len(requests))
    drawn: list[Any] = []
    for question, one in zip(questions, ready):
        if one is None:
            drawn.append(NOT_THERE)
        else:
            drawn.append(question.draw(next(decoded) if isinstance(one, EncodedRequest) else one))
    return drawn


def found(runtime: Runtime, read: Callable[[], tuple[Image, Prompts]], *, in_memory: bool = False) -> Ready | None:
    """What takes no encoding and no look at the picture to prepare; else None.

    Raises: as `read` and `Runtime.encode_request`, and PromptError.

    Args:
        in_memory: nor any reading from a disk.
    """
    image, prompts = read()
    if len(prompts) == 0:
        return Masks.empty(image.width, image.height)
    prompts.check_inside(image.width, image.height)  # here alone, for all that follows, and before encoding in vain
    embedding = None
    if prompts.kinds <= runtime.prompt_kinds:
        embedding = runtime.cache.find(image, runtime.segmenter, model=runtime.name, in_memory=in_memory)
    if embedding is None:
        return None
    return runtime.encode_request(image, prompts, embedding=embedding)
