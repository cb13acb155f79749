"""How fast the networks could be at best: their multiplications alone, at the rate of a large product measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["encoder_flops", "logits_flops", "product_rate"]


def product_rate(torch: Any, device: str, dtype: Any, timed: Callable[[Callable[[], Any]], float]) -> float:
    """Operations a second of the best of a few products.

    Args:
        timed: seconds of a call.
    """
    from samovar_plugins.toolkit import Linear, PackedLinear

    rows, inputs, outputs = (8192, 8192, 8192) if device.startswith("cuda") else (4096, 3072, 768)
    multiply = PackedLinear(Linear(torch.randn(outputs, inputs, device=device, dtype=dtype), None))
    given = torch.randn(rows, inputs, device=device, dtype=dtype)
    for _ in range(3):
        multiply(given)
    return 2 * rows * inputs * outputs / statistics.median(timed(lambda: multiply(given)) for _ in range(9))


def encoder_flops(torch: Any, weights: Any) -> float:
    """Of one image; counted on torch's `meta` device, which computes nothing."""
    from samovar_plugins.sam.plugin import build_sam
    from samovar_plugins.toolkit import StateDict

    with torch.inference_mode():
        encoder = build_sam("sam", StateDict(weights, "meta")).encoder
    images = torch.empty(1, 3, encoder.image_size, encoder.image_size, device="meta")
    return _counted(torch, lambda: encoder(images))


def logits_flops(torch: Any, weights: Any, count: int, *, folded: bool) -> float:
    """Of `count` boxes, without what they share; with the image as each sees it made, or `folded` away."""
    from samovar_plugins.toolkit import SamDecoder, StateDict

    # In a dtype that is left to the products of torch, which its counter knows.
    decoder = StateDict(weights, dtype=torch.float64).at("mask_decoder")
    channels = decoder.tensor("iou_token.weight").shape[1]
    made = SamDecoder(decoder, torch.zeros(64 * 64, channels), torch.zeros(channels))
    shared = made.share({"image": torch.zeros(channels, 64, 64)}, None, many_prompts=folded)
    token = torch.zeros(1, 2, channels)
    made(shared, token, multimask_output=False, best_only=False)  # what is made once for all images is not counted
    return count * _counted(torch, lambda: made(shared, token, multimask_output=False, best_only=False))


def _counted(torch: Any, call: Callable[[], Any]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    def product(_: Any, left: Sequence[int], right: Sequence[int], **_rest: Any) -> int:
        return 2 * math.prod(left) * right[-1]

    # It knows only those that are not in place.
    in_place = {torch.ops.aten.addmm_: product, torch.ops.aten.baddbmm_: product}
    counter = FlopCounterMode(display=False, custom_mapping=in_place)
    with counter:
        call()
    return float(counter.get_total_flops())
