"""The embedding cache beside going without, and beside what others keep tensors in. One run, interleaved.

`python -m benchmarks.cache` prints:

- a click on an image that another process has encoded before, against encoding it again (the default model, and SAM's
  ViT-B with random weights if torch is installed), until the mask is there as COCO RLE, in a process that has just
  loaded the model: with an earlier click on another image, and as its first of all;
- finding an embedding by the image's file, against decoding the image first: the click, and the lookup alone;
- a job over photos whose embeddings are there, against decoding all of them ahead;
- a warm hit in memory and on disk, against `np.load`, diskcache and zarr on the same tensors (what is not installed is
  left out: `pip install diskcache zarr`);
- `samovar cache warm`, against the bare loop over the encoder;
- hashing and looking up a 12-megapixel image, against sha256 of its pixels;
- 8-bit and half-precision entries: bytes, and how far masks move (MobileSAM, random weights; of the masks, those that
  cover between 1 % and 99 % of the photo).

Times are medians of interleaved repeats; ratios are of those. The pages read are in the kernel's cache, as after
writing them: what is compared is the work, not the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import samovar
from benchmarks._cache_models import Click, sam_weights
from benchmarks._cache_reads import Reads, tensor_sets
from samovar.cache import Cache, CacheConfig, DiskTier
from samovar.cache.index import AliasTable
from samovar.cache.warm import warm

HEAD = f"{'work':<46} {'against':<32} {'ours':>10} {'theirs':>10} {'ratio':>7}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and repeats, and no ViT-B")
    parser.add_argument("--only", nargs="*", choices=sorted(ROWS), help="only these rows")
    options = parser.parse_args()
    print(HEAD)
    for name, rows in ROWS.items():
        if not options.only or name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                for row in rows(Path(folder), options.quick):
                    print(row, flush=True)


def line(work: str, against: str, ours: float, theirs: float) -> str:
    """One row; both in milliseconds, and how many times less ours is."""
    return f"{work:<46} {against:<32} {ours:>7.2f} ms {theirs:>7.2f} ms {theirs / ours:>6.1f}×"


def interleaved(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall milliseconds of each way, in every round in another order: what came before leaves its traces."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(repeats):
        for name in random.Random(seed).sample(list(ways), len(ways)):
            began = time.perf_counter()
            ways[name]()
            times[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def clicks(folder: Path, quick: bool) -> Iterator[str]:
    """A second visit to an image, in a new process: from the click to the mask."""
    photo = photos(1)[0]
    models: list[tuple[str, Path | None, int]] = [("default", None, 2 if quick else 5)]
    weights = None if quick else sam_weights(folder, "sam-vit-b")
    models += [("sam-vit-b", weights, 2)] if weights is not None else []
    for model, checkpoint, repeats in models:
        click = Click(model, checkpoint, folder, photo)
        click()
        times = interleaved_seconds(
            {
                "hit": click,
                "miss": partial(click, cached=False),
                "first hit": partial(click, first=True),
                "first miss": partial(click, cached=False, first=True),
            },
            repeats,
        )
        yield line(f"second visit, new process, {model}: click → mask", "encoding again", times["hit"], times["miss"])
        work = f"  the process's first click of all, {model}"
        yield line(work, "encoding again", times["first hit"], times["first miss"])


def files(folder: Path, quick: bool) -> Iterator[str]:
    """A second visit to a 12-megapixel photo, in a new process, with and without what is known of its file."""
    click = Click("default", None, folder, large_photo(folder))
    click()
    times = interleaved_seconds({"alias": click, "decode": partial(click, alias=False)}, 2 if quick else 7)
    yield line("second visit, 12 MP JPEG, default: click → mask", "decoding it first", times["alias"], times["decode"])


def interleaved_seconds(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Median milliseconds of the seconds that each way gives, one after another in every round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(way() * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def large_photo(folder: Path) -> Path:
    """A JPEG of 4000×3000 pixels."""
    from PIL import Image as Pillow

    path = folder / "large.jpg"
    with Pillow.open(photos(1)[0]) as photo:
        photo.convert("RGB").resize((4000, 3000), Pillow.Resampling.BICUBIC).save(path, quality=90)
    return path


def aliases(folder: Path, quick: bool) -> Iterator[str]:
    """The lookup alone, of a 12-megapixel JPEG file, without and with what is known of the file."""
    path, segmenter, tier = large_photo(folder), Tiny(), DiskTier(folder / "cache", 1 << 30)
    Cache([tier], disk=tier).get_or_encode([samovar.Image(path)], segmenter)

    def look(known: bool) -> None:
        cache = Cache([tier], disk=tier, aliases=AliasTable(tier.index if known else None))
        if cache.get_or_encode([samovar.Image(path)], segmenter).encoded:
            raise SystemExit("a lookup missed; its time would mean nothing")

    times = interleaved({"alias": lambda: look(True), "decode": lambda: look(False)}, 3 if quick else 15)
    yield line("lookup of a 12 MP JPEG by its file", "by its pixels, decoded first", times["alias"], times["decode"])


def reads(folder: Path, quick: bool) -> Iterator[str]:
    """A warm hit, until the tensors are ready to use."""
    for name, tensors in tensor_sets():
        times = interleaved(Reads.of(tensors, folder / name.replace(", ", "-")).ways, 20 if quick else 200)
        for ours in (way for way in times if way.startswith("samovar")):
            for theirs in (way for way in times if not way.startswith("samovar")):
                work = f"warm hit, {ours.removeprefix('samovar ')}: {name}"
                yield line(work, theirs, times[ours], times[theirs])


def warming(folder: Path, quick: bool) -> Iterator[str]:
    """`cache warm` against a loop of decoding and encoding, turn by turn over the same images."""
    runtime = samovar.load("default", cache="off")
    segmenter = runtime.segmenter
    paths = photos(16 if quick else 200)
    segmenter.encode([samovar.Image(paths[0])])
    cache = Cache.open(folder / "cache")
    ours = theirs = 0.0
    for start in range(0, len(paths), 8):
        group: list[Path | str] = list(paths[start : start + 8])
        began = time.perf_counter()
        for path in group:
            segmenter.encode([samovar.Image(path)])
        middle = time.perf_counter()
        if any(one.status != "encoded" for one in warm(group, cache, segmenter)):
            raise SystemExit("an image was not encoded; the times would mean nothing")
        theirs += middle - began
        ours += time.perf_counter() - middle
    each = 1000 / len(paths)
    yield line(f"cache warm over {len(paths)} images, each", "the bare encoder loop", ours * each, theirs * each)
    cache.clear()


def hashing(folder: Path, quick: bool) -> Iterator[str]:
    """From the pixels of a 12-megapixel image to its embedding in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    whole, segmenter, cache = samovar.Image(pixels), Tiny(), Cache.open(CacheConfig.load(folder=folder, tiers="memory"))
    cache.get_or_encode([whole], segmenter)

    def look() -> None:
        same = whole.crop(0, 0, 4000, 3000)  # a new image over the same memory, not hashed yet
        if cache.get_or_encode([same], segmenter).encoded:
            raise SystemExit("a lookup missed; its time would mean nothing")

    ways = {"ours": look, "sha256": lambda: hashlib.sha256(pixels.data).digest()}
    times = interleaved(ways, 3 if quick else 25)
    yield line("hash and lookup of a 12 MP image", "sha256 of its pixels", times["ours"], times["sha256"])


def integers(folder: Path, quick: bool) -> Iterator[str]:
    """How far masks move when embeddings are kept in 8 bits instead of 16."""
    weights = sam_weights(folder, "mobile-sam")
    if weights is None:
        return
    runtimes = {
        precision: samovar.load("mobile-sam", weights=weights, device="cpu", cache=_in(folder, precision))
        for precision in ("exact", "half", "int8")
    }
    ious: dict[tuple[str, str], list[float]] = {("half", "exact"): [], ("int8", "half"): []}
    for path in photos(3 if quick else 24):
        image = samovar.Image(path)
        across, down = np.meshgrid(np.linspace(0.1, 0.9, 5) * image.width, np.linspace(0.1, 0.9, 5) * image.height)
        points = np.stack([across.ravel(), down.ravel()], axis=1).astype(np.float32)
        masks = {precision: runtime.segment(image, points) for precision, runtime in runtimes.items()}
        covered = masks["exact"].areas / (image.width * image.height)
        structured = (covered > 0.01) & (covered < 0.99)
        for (precision, than), found in ious.items():
            found += np.diag(masks[precision].iou(masks[than]))[structured].tolist()
    nbytes = {
        name: sum(row.nbytes for row in made.cache.stats() if row.tier == "disk") for name, made in runtimes.items()
    }
    for (precision, than), found in ious.items():
        share = f"{nbytes[precision] / nbytes[than]:.3f} of the bytes"
        quality = f"mask IoU mean {np.mean(found):.5f}, worst {np.min(found):.4f} of {len(found)}"
        yield f"{precision + ' entries, MobileSAM, random weights':<46} {than + ' entries':<32} {share}; {quality}"


def jobs(folder: Path, quick: bool) -> Iterator[str]:
    """A job over many photos whose embeddings are there, with and without decoding them ahead."""
    from samovar.pipeline import run, worklist

    paths = photos(16 if quick else 200)
    runtime = samovar.load("default", cache=folder / "cache")
    for _ in warm(paths, runtime.cache, runtime.segmenter):
        pass
    work, _ = worklist([str(path) for path in paths])
    whole = samovar.Prompt(box=(10, 10, 100, 100))

    def visit(needs_pixels: Callable[[samovar.Image], bool]) -> None:
        cache = Cache([disk], aliases=AliasTable(disk.index))
        new = samovar.Runtime(runtime.segmenter, cache=cache)
        outcomes = run(work, lambda item, image: new.segment(image, whole), {}, needs_pixels=needs_pixels)
        if any(outcome.error for outcome in outcomes):
            raise SystemExit("an image failed; the times would mean nothing")

    disk = DiskTier(folder / "cache", None)
    ways = {
        "left": lambda: visit(lambda image: not runtime.cache.holds(image, runtime.segmenter)),
        "decoded": lambda: visit(lambda image: True),
    }
    times = interleaved(ways, 2 if quick else 5)
    each = 1 / len(paths)
    work_name = f"a box in each of {len(paths)} photos, second visit, each"
    yield line(work_name, "decoding them ahead", times["left"] * each, times["decoded"] * each)


def _in(folder: Path, precision: str) -> Cache:
    return Cache.open(
        CacheConfig.load(folder=folder / precision, tiers="disk", precision=precision, admission="always")
    )


class Tiny:
    """A segmenter that does next to nothing, so that what is measured is the cache."""

    fingerprint = "tiny"
    prompt_kinds: frozenset[Any] = frozenset()

    def encode(self, images: Any) -> list[samovar.Embedding]:
        tensors = {"features": np.zeros((256, 64, 64), np.float16)}
        return [samovar.Embedding(tensors, image.width, image.height, self.fingerprint) for image in images]

    def decode(self, embeddings: Any, prompts: Any, options: Any) -> list[samovar.Masks]:
        return []

    def decode_bytes(self, width: int, height: int) -> int:
        return 1


def photos(count: int) -> list[Path]:
    """`count` photos of the test data, more than once where there are not so many different ones."""
    import os

    folder = Path(os.environ.get("SAMOVAR_DATA") or Path(__file__).parents[2] / "shared" / "data") / "masks" / "images"
    found = sorted(folder.glob("*.jpg"))
    if not found:
        sys.exit(f"no photos in {folder}; name the folder of test data in SAMOVAR_DATA")
    return found[:count]


ROWS: dict[str, Callable[[Path, bool], Iterator[str]]] = {
    "aliases": aliases,
    "reads": reads,
    "hashing": hashing,
    "warming": warming,
    "integers": integers,
    "jobs": jobs,
    "files": files,
    "clicks": clicks,
}


if __name__ == "__main__":
    main()
