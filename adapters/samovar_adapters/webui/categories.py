"""The categories that `/sam/category-mask` names by number, as words."""

from __future__ import annotations

from typing import Any

from samovar.errors import InputError

__all__ = ["words_of"]

_MOST = 32

# The 150 classes of ADE20K (Zhou et al., 2017), each by its first name, in the benchmark's order.
_ADE20K = """wall, building, sky, floor, tree, ceiling, road, bed, window, grass, cabinet, sidewalk, person, ground,
door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, pedestal, box, column, signboard, chest
of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, display case,
pool table, pillow, screen door, staircase, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
bench, countertop, stove, palm tree, kitchen island, computer, swivel chair, boat, bar, arcade machine, hut, bus,
towel, light, truck, tower, chandelier, awning, street lamp, booth, television, airplane, dirt track, clothes, pole,
soil, banister, escalator, ottoman, bottle, sideboard, poster, stage, van, ship, fountain, conveyor belt, canopy,
washing machine, toy, swimming pool, stool, barrel, basket, waterfall, tent, bag, motorbike, cradle, oven, ball, food,
step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, exhaust hood,
sconce, vase, traffic light, tray, trash can, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator,
glass, clock, flag"""

# The 80 things and 53 stuffs of COCO's panoptic task (Kirillov et al., 2019), numbered without gaps.
_COCO = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy
bear, hair drier, toothbrush, banner, blanket, bridge, cardboard, counter, curtain, door, wooden floor, flower, fruit,
gravel, house, light, mirror, net, pillow, platform, playing field, railroad, river, road, roof, sand, sea, shelf,
snow, stairs, tent, towel, brick wall, stone wall, tiled wall, wooden wall, water, window blind, window, tree, fence,
ceiling, sky, cabinet, table, floor, pavement, mountain, grass, dirt, paper, food, building, rock, wall, rug"""

_NAMES = {
    processor: " ".join(names.split()).split(", ")
    for processor, names in (("seg_ufade20k", _ADE20K), ("seg_ofade20k", _ADE20K), ("seg_ofcoco", _COCO))
}


def words_of(category: Any, processor: Any) -> list[str]:
    """What `category` names: numbers of the processor's data set joined by `+`, as in "7+12"; words may be among them.

    Raises:
        InputError: neither, a number that the data set does not have, or another processor.
    """
    parts = [part.strip() for part in category.split("+")] if isinstance(category, str) else []
    if not all(parts) or not 0 < len(parts) <= _MOST:
        raise InputError(f"category: expected up to {_MOST} numbers or words joined by +; got {category!r:.80}")
    names = _NAMES.get(processor) if isinstance(processor, str) else None
    if names is None:
        raise InputError(f"processor: expected one of {', '.join(_NAMES)}; got {processor!r:.80}")
    return [_word(part, names, str(processor)) for part in dict.fromkeys(parts)]


def _word(part: str, names: list[str], processor: str) -> str:
    if not part.isdecimal():
        return part
    if len(part) > 4 or int(part) >= len(names):
        raise InputError(f"category: {processor} has the numbers 0 to {len(names) - 1}; got {part:.20}")
    return names[int(part)]
