"""What Samovar reads to list the model, and to recognise a checkpoint of it; imports no torch."""

import samovar
from samovar.plugins import SegmenterSpec
from samovar_plugins.toolkit import Family

SPEC = SegmenterSpec(
    name="conv-sam",
    target="samovar_conv_sam.plugin:FAMILY.load",
    prompts=("points", "box", "mask"),
    summary="SAM's decoder on a convolutional encoder",
    licence="Apache-2.0",
    extra="sam",
)


def detect(shapes):
    return SPEC.name if shapes.get("image_encoder.0.weight", ())[1:] == (3, 3, 3) else None


def build(weights):
    from samovar_conv_sam.model import build

    return build(weights)


FAMILY = Family([SPEC], detect, build)


@samovar.hookimpl
def register_segmenters():
    return FAMILY.specs


@samovar.hookimpl
def identify_weights(path):
    return FAMILY.identify(path)
