"""How fast the networks could be at best: their multiplications alone, at the rate of a large product measured here."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

__all__ = ["encoder_flops", "logits_flops", "product_rate"]


def product_rate(torch: Any, device: str, dtype: Any, timed: Callable[[Callable[[], Any]], float]) -> float:
    """Operations a second of the best of a few products.

    Args:
        timed: seconds of a call.
    """
    from samovar_plugins.sam.layers import Linear
    from samovar_plugins.sam.product import Product

    rows, inputs, outputs = (8192, 8192, 8192) if device.startswith("cuda") else (4096, 3072, 768)
    multiply = Product(Linear(torch.randn(outputs, inputs, device=device, dtype=dtype), None))
    given = torch.randn(rows, inputs, device=device, dtype=dtype)
    for _ in range(3):
        multiply(given)
    return 2 * rows * inputs * outputs / statistics.median(timed(lambda: multiply(given)) for _ in range(9))


def encoder_flops(torch: Any, weights: Any) -> float:
    """Of one image."""
    parts, frames = _shapes_only(torch, weights)
    return _counted(lambda: parts.encoder(frames))


def logits_flops(torch: Any, weights: Any, count: int) -> float:
    """Of `count` boxes on an image: what they share, and each one's own."""
    parts, frames = _shapes_only(torch, weights)
    found = {name: tensor[0] for name, tensor in parts.encoder(frames).items()}
    tokens = torch.empty(count, 2, found["image"].shape[0], device="meta")
    return _counted(lambda: parts.decoder(parts.decoder.share(found, None), tokens, several=False, best=False))


def _shapes_only(torch: Any, weights: Any) -> tuple[Any, Any]:
    """The model and a frame on torch's `meta` device, which computes nothing."""
    from samovar_plugins.sam.layers import State
    from samovar_plugins.sam.networks import build

    with torch.inference_mode():
        parts = build("sam", State(weights, "meta"))
    return parts, torch.empty(1, 3, parts.encoder.frame, parts.encoder.frame, device="meta")


def _counted(call: Callable[[], Any]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return float(counter.get_total_flops())
