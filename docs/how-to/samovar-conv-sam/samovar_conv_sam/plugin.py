"""What Samovar reads to list the model; imports no torch."""

import samovar
from samovar.plugins import SegmenterSpec


@samovar.hookimpl
def register_segmenters():
    return [
        SegmenterSpec(
            name="conv-sam",
            target="samovar_conv_sam.model:load",
            prompts=("points", "box", "mask"),
            summary="SAM's decoder on a convolutional encoder",
            licence="Apache-2.0",
            extra="sam",
        )
    ]
