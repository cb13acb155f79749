"""Click latency at the Label Studio backend, beside one that encodes the picture again for every click. One run.

`python -m benchmarks.label_studio` starts `samovar label-studio` as a process and sends it what Label Studio does, with
pictures at addresses like those of its uploads. It prints, for the embedded default and for SAM's full-size ViT-B with
random weights, the median and 99th percentile of

- the first click on a picture, those after it, and the first one after a restart of the backend;
- many annotators at once, each on a picture of their own: all begin with a click that encodes, then they click as fast
  as answers come.

Each is measured twice: at the backend as it is, and at one with `--cache off`, which decodes and encodes a picture for
every click, as HumanSignal's published SAM 2 example does with `set_image`. It is the same model in the same server, so
that nothing else differs; and like the example it has the file at hand after the first click. One annotator's clicks
alternate between the two, so that a busy machine slows both alike.

Encodes are what `/metrics` counted. Answers are compared with what the model says about that picture and place when
asked alone and without a cache: anything else is a wrong answer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import samovar
from benchmarks._cache_models import sam_weights
from benchmarks._label_studio import HEIGHT, WIDTH, Backend, backend, mask_of, pictures, studio

PLACES = [(25.0 + 10 * (step % 6), 30.0 + 10 * (step // 6)) for step in range(24)]
"""Where annotators click, in percent."""
SAME = 0.98
"""IoU with the expected mask from which an answer counts as this picture's."""
HALF = f"{'clicks':>7}{'p50':>11}{'p99':>11}{'encodes':>8}{'wrong':>6}"
HEAD = f"{'':<28}{'caching':>43}{'re-encoding':>44}\n{'model':<10}{'click':<18}{HALF} {HALF}{'ratio':>9}"


@dataclass
class Clicks:
    """Clicks at one backend.

    Attributes:
        times: seconds that each took.
        answers: the different regions that came back, by picture and place.
        encodes: pictures that it encoded for them.
    """

    times: list[float] = field(default_factory=list)
    answers: dict[tuple[int, int], set[bytes]] = field(default_factory=dict)
    encodes: int = 0

    def click(self, at: Backend, picture: int, step: int) -> None:
        """Click once; may be called by many threads, each with a picture of its own."""
        place = step % len(PLACES)
        seconds, region = at.click(picture, *PLACES[place])
        self.times.append(seconds)
        self.answers.setdefault((picture, place), set()).add(region)


@dataclass(frozen=True)
class Setting:
    """One model on one set of pictures, the last of which only prepares backends."""

    name: str
    weights: Path | None
    folder: Path
    address: str
    shown: list[bytes]

    @contextmanager
    def backend(self, cache: str) -> Iterator[Backend]:
        """A backend with its cache in that part of the folder, or "off"."""
        where = cache if cache == "off" else str(self.folder / cache)
        with backend(self.name, self.weights, where, self.address, len(self.shown) - 1) as running:
            yield running


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few clicks and annotators, and no ViT-B")
    parser.add_argument("--annotators", type=int, default=16, help="how many at once, each on a picture of their own")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the annotators click")
    parser.add_argument("--models", nargs="*", default=["default", "sam-vit-b"], help="default, sam-vit-b or both")
    options = parser.parse_args()
    if options.quick:
        options.annotators, options.seconds, options.models = 4, 3.0, ["default"]
    print(HEAD, flush=True)
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            weights = None if name == "default" else sam_weights(Path(folder), name)
            if name != "default" and weights is None:
                print(f"{name}: left out, for torch is not installed", file=sys.stderr)
                continue
            shown = pictures(options.annotators + 1)
            with studio(shown) as address:
                setting = Setting(name, weights, Path(folder), address, shown)
                rows = [*_alone(setting, options.quick), *_crowds(setting, options.seconds)]
            expected = _expected(setting, rows)
            for what, ours, theirs in rows:
                ratio = np.median(theirs.times) / np.median(ours.times)
                halves = f"{_half(ours, expected)} {_half(theirs, expected)}"
                print(f"{name:<10}{what:<18}{halves}{ratio:>8.1f}×", flush=True)


Row = tuple[str, Clicks, Clicks]


def _alone(setting: Setting, quick: bool) -> Iterator[Row]:
    """One annotator: first clicks, later ones, and first ones after a restart; both backends' in turns."""
    few = setting.weights is not None or quick
    rounds, kept = (3, 40) if few else (30, 4)
    seen = range(2 if quick else 4 if few else 8)
    with setting.backend("alone") as caching, setting.backend("off") as forgetful:
        with _counted("first", caching, forgetful) as row:
            for picture in seen:
                row[1].click(caching, picture, 0)
                row[2].click(forgetful, picture, 0)
        yield row
        with _counted("second and later", caching, forgetful) as row:
            for step in range(rounds):
                for further in range(kept):
                    row[1].click(caching, 0, 1 + step * kept + further)
                row[2].click(forgetful, 0, 1 + step)
        yield row
    with setting.backend("alone") as caching, setting.backend("off") as forgetful:
        with _counted("after a restart", caching, forgetful) as row:
            for picture in seen:
                row[1].click(caching, picture, 1)
                row[2].click(forgetful, picture, 1)
        yield row


@contextmanager
def _counted(what: str, caching: Backend, forgetful: Backend) -> Iterator[Row]:
    row = what, Clicks(encodes=-caching.encodes()), Clicks(encodes=-forgetful.encodes())
    yield row
    row[1].encodes += caching.encodes()
    row[2].encodes += forgetful.encodes()


def _crowds(setting: Setting, seconds: float) -> Iterator[Row]:
    """An annotator for every picture: first clicks, and those of the time after. Without a cache all are first ones."""
    annotators = len(setting.shown) - 1
    first, later, every = Clicks(), Clicks(), Clicks()
    with setting.backend("crowd") as running:
        _annotate(running, annotators, first, 0)
        _annotate(running, annotators, later, seconds)
    with setting.backend("off") as running:
        _annotate(running, annotators, every, seconds)
    yield f"{annotators} at once, first", first, every
    yield f"{annotators} at once, {seconds:g} s", later, every


def _annotate(running: Backend, annotators: int, clicks: Clicks, seconds: float) -> None:
    """So many annotators click at once for that time, and at least once, each on a picture of their own."""
    before = running.encodes()
    until = time.monotonic() + seconds

    def annotate(picture: int) -> None:
        clicks.click(running, picture, picture)
        step = picture + 1
        while time.monotonic() < until:
            clicks.click(running, picture, step)
            step += 1

    threads = [threading.Thread(target=annotate, args=(picture,)) for picture in range(annotators)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clicks.encodes = running.encodes() - before


def _expected(setting: Setting, rows: list[Row]) -> dict[int, samovar.Masks]:
    """What the model says by itself about every picture that was clicked on, at all places."""
    model = samovar.load(setting.name, weights=setting.weights, cache="off")
    prompts = [samovar.Prompt(points=[(x * WIDTH / 100, y * HEIGHT / 100)]) for x, y in PLACES]
    clicked = {picture for _, *both in rows for clicks in both for picture, _ in clicks.answers}
    return {picture: model.segment(setting.shown[picture], prompts) for picture in clicked}


def _half(clicks: Clicks, expected: dict[int, samovar.Masks]) -> str:
    p50, p99 = np.percentile(clicks.times, [50, 99]) * 1e3
    wrong = 0
    for (picture, place), regions in clicks.answers.items():
        wanted = expected[picture][place]
        for mask in map(mask_of, regions):
            fits = float(mask.iou(wanted)[0, 0]) >= SAME if mask.areas[0] else not wanted.areas[0]
            wrong += not fits
    return f"{len(clicks.times):>7}{p50:>8.1f} ms{p99:>8.1f} ms{clicks.encodes:>8}{wrong:>6}"


if __name__ == "__main__":
    main()
