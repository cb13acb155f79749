"""Click latency at the Label Studio backend, beside one that encodes the picture again for every click. One run.

`python -m benchmarks.label_studio` starts `samovar label-studio` as a process and sends it what Label Studio
sends. It prints, for the embedded default and for SAM's full-size ViT-B with random weights:

- the first click on a picture, the second, and one after a restart of the backend;
- a click at the same backend with `--cache off`: the same model, server and request, but encoding for every click, as
  backends do that keep nothing between requests;
- many annotators at once, each on a picture of their own: how long the slowest of their first clicks took, median and
  99th percentile of those in the time after, how many pictures were encoded, and how many answers were not what the
  model says about that picture and place, asked alone and without a cache.

The re-encoding backend's clicks are interleaved with the caching one's, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

import samovar
from benchmarks._cache_models import sam_weights
from samovar_adapters.label_studio import brush

PHOTO = Path(__file__).resolve().parent.parent / "docs" / "assets" / "photo.jpg"
WIDTH, HEIGHT = 480, 320
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="thing"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="thing"/></KeyPointLabels></View>"""
HEAD = f"{'model':<10} {'click':<34} {'caching':>10} {'re-encoding':>12} {'ratio':>8}"
SAME = 0.98
"""IoU with the expected mask from which an answer counts as this picture's."""


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
            _alone(name, weights, Path(folder))
            _crowd(name, weights, Path(folder), options.annotators, options.seconds)


def pictures(count: int) -> list[bytes]:
    """Different crops of one photo as JPEG, 480×320."""
    photo = cv2.cvtColor(samovar.Image(PHOTO).pixels, cv2.COLOR_RGB2BGR)
    random = np.random.default_rng(0)
    crops = []
    for index in range(count):
        x, y = random.integers(0, photo.shape[1] - WIDTH), random.integers(0, photo.shape[0] - HEIGHT)
        crop = photo[y : y + HEIGHT, x : x + WIDTH][:, :: 1 if index % 2 else -1]
        crops.append(cv2.imencode(".jpg", crop)[1].tobytes())
    return crops


class Backend:
    """A running backend and the clicks that are sent to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def click(self, picture: bytes, x: float, y: float) -> tuple[float, samovar.Masks]:
        """Seconds from the request to the answer, and the mask."""
        value = {"x": x, "y": y, "width": 0.5, "keypointlabels": ["thing"]}
        drawn = {
            "type": "keypointlabels",
            "to_name": "image",
            "from_name": "point",
            "is_positive": True,
            "value": value,
        }
        address = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        tasks = [{"id": 1, "data": {"image": address}}]
        body = {"tasks": tasks, "label_config": CONFIG, "params": {"context": {"result": [drawn]}}}
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/predict", data, {"Content-Type": "application/json"})
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = json.loads(response.read())
        seconds = time.perf_counter() - began
        [prediction] = answer["results"]
        if not prediction["result"]:
            return seconds, samovar.Masks.from_array(np.zeros((1, HEIGHT, WIDTH), bool))
        return seconds, brush.decode(prediction["result"][0]["value"]["rle"], WIDTH, HEIGHT)

    def encodes(self) -> int:
        """How many pictures it has encoded."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("samovar_encode_seconds_count"))


@contextmanager
def backend(name: str, weights: Path | None, cache: str) -> Iterator[Backend]:
    """`samovar label-studio` on a free port, its model loaded and everything compiled."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "samovar",
        "label-studio",
        "--port",
        str(port),
        "--model",
        name,
        "--quiet",
        "--no-warm-up",
    ]
    command += ["--cache", cache, "--timeout", "280", *(() if weights is None else ("--weights", str(weights)))]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "2"})
    try:
        running = Backend(f"http://127.0.0.1:{port}")
        _wait(running.url, process)
        running.click(pictures(20)[-1], 50, 50)  # a picture that no measurement uses
        yield running
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if json.loads(response.read())["ready"]:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the backend ended with status {process.returncode}")


def _alone(name: str, weights: Path | None, folder: Path) -> None:
    """One annotator on one picture."""
    picture = pictures(1)[0]
    kept, again = [], []
    with backend(name, weights, str(folder / "cache")) as caching, backend(name, weights, "off") as forgetful:
        first, _ = caching.click(picture, 40, 40)
        for step in range(2 if weights else 7):
            kept += [caching.click(picture, 41 + 2 * step + part, 45)[0] for part in (0, 1)]
            again.append(forgetful.click(picture, 41 + 2 * step, 45)[0])
        print(_row(name, "first", first, statistics.median(again)))
        print(_row(name, "second", statistics.median(kept), statistics.median(again)))
    with backend(name, weights, str(folder / "cache")) as restarted:
        print(_row(name, "after a restart", restarted.click(picture, 40, 41)[0], statistics.median(again)))


def _crowd(name: str, weights: Path | None, folder: Path, annotators: int, seconds: float) -> None:
    """Each annotator clicks on a picture of their own, as fast as answers come; all begin with a click that encodes."""
    shown = pictures(annotators)
    places = [(25.0 + 10 * (step % 6), 30.0 + 10 * (step // 6)) for step in range(24)]
    firsts: list[float] = []
    times: list[float] = []
    answers: list[dict[int, list[samovar.Masks]]] = [{} for _ in shown]
    all_encoded = threading.Barrier(annotators)
    with backend(name, weights, str(folder / "crowd")) as running:
        before = running.encodes()

        def annotate(index: int) -> None:
            step = index
            until = None
            while until is None or time.monotonic() < until:
                place = step % len(places)
                took, mask = running.click(shown[index], *places[place])
                (firsts if until is None else times).append(took)
                kinds = answers[index].setdefault(place, [])
                if not any(mask.same_as(known) for known in kinds):
                    kinds.append(mask)
                if until is None:
                    all_encoded.wait(900)
                    until = time.monotonic() + seconds
                step += 1

        threads = [threading.Thread(target=annotate, args=(index,)) for index in range(annotators)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        encodes = running.encodes() - before
    p50, p99 = np.percentile(times, [50, 99])
    print(
        f"{name}: {annotators} annotators on {annotators} pictures: slowest first click {max(firsts):.1f} s; then for "
        f"{seconds:g} s {len(times)} clicks, p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms; {encodes} encodes, "
        f"{_wrong(name, weights, shown, places, answers)} wrong answers",
        flush=True,
    )


def _wrong(
    name: str,
    weights: Path | None,
    shown: list[bytes],
    places: list[tuple[float, float]],
    answers: list[dict[int, list[samovar.Masks]]],
) -> int:
    """How many of the different answers are not what the model says by itself."""
    model = samovar.load(name, weights=weights, cache="off")
    prompts = [samovar.Prompt(points=[(x * WIDTH / 100, y * HEIGHT / 100)]) for x, y in places]
    wrong = 0
    for picture, given in zip(shown, answers):
        expected = model.segment(picture, prompts)
        for place, masks in given.items():
            for mask in masks:
                empty = not expected.areas[place]
                fits = empty if not mask.areas[0] else float(mask.iou(expected[place])[0, 0]) >= SAME
                wrong += not fits
    return wrong


def _row(name: str, click: str, ours: float, theirs: float) -> str:
    return f"{name:<10} {click:<34} {ours * 1e3:>7.1f} ms {theirs * 1e3:>9.0f} ms {theirs / ours:>7.1f}×"


if __name__ == "__main__":
    main()
