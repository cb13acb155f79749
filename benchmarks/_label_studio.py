"""What the Label Studio benchmark plays: a server that hands out pictures, annotators, and the backend as a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

import samovar
from samovar_adapters.label_studio.regions import decode_brush

__all__ = ["HEIGHT", "WIDTH", "Backend", "backend", "mask_of", "pictures", "studio"]

PHOTO = Path(__file__).resolve().parent.parent / "docs" / "assets" / "photo.jpg"
WIDTH, HEIGHT = 1920, 1280
CROP = 480, 320
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="thing"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="thing"/></KeyPointLabels></View>"""


def pictures(count: int) -> list[bytes]:
    """Different crops of one photo, enlarged to 1920×1280, as JPEG."""
    photo = cv2.cvtColor(samovar.Image(PHOTO).pixels, cv2.COLOR_RGB2BGR)
    random = np.random.default_rng(0)
    made = []
    for index in range(count):
        x, y = random.integers(0, photo.shape[1] - CROP[0]), random.integers(0, photo.shape[0] - CROP[1])
        crop = photo[y : y + CROP[1], x : x + CROP[0]][:, :: 1 if index % 2 else -1]
        large = cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", large)[1].tobytes())
    return made


def mask_of(region: bytes) -> samovar.Masks:
    """What `Backend.click` gives, as a mask."""
    if not region:
        return samovar.Masks.from_array(np.zeros((1, HEIGHT, WIDTH), bool))
    return decode_brush(list(region), WIDTH, HEIGHT)


@contextmanager
def studio(shown: Sequence[bytes]) -> Iterator[str]:
    """The address of a server that has the pictures where Label Studio has its uploads, by their place in `shown`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = shown[int(self.path.rpartition("/")[2])]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Backend:
    """A running backend and the clicks that are sent to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def click(self, picture: int, x: float, y: float) -> tuple[float, bytes]:
        """Seconds from the request to the answer, and the brush region in it; `x` and `y` in percent."""
        value = {"x": x, "y": y, "width": 0.5, "keypointlabels": ["thing"]}
        drawn = {
            "type": "keypointlabels",
            "to_name": "image",
            "from_name": "point",
            "is_positive": True,
            "value": value,
        }
        tasks = [{"id": picture, "data": {"image": f"/data/upload/1/{picture}"}}]
        body = {"tasks": tasks, "label_config": CONFIG, "params": {"context": {"result": [drawn]}}}
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/predict", data, {"Content-Type": "application/json"})
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = json.loads(response.read())
        seconds = time.perf_counter() - began
        [prediction] = answer["results"]
        return seconds, bytes(prediction["result"][0]["value"]["rle"]) if prediction["result"] else b""

    def encodes(self) -> int:
        """How many pictures it has encoded."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("samovar_encode_seconds_count"))


@contextmanager
def backend(name: str, weights: Path | None, cache: str, address: str, unused: int) -> Iterator[Backend]:
    """`samovar label-studio` on a free port, its model loaded and everything compiled.

    Args:
        address: of the `studio`.
        unused: a picture that no measurement uses.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "samovar", "label-studio", "--quiet", "--no-warm-up", "--timeout", "280"]
    command += ["--port", str(port), "--model", name, "--cache", cache, "--url", address]
    command += () if weights is None else ("--weights", str(weights))
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "2"})
    try:
        running = Backend(f"http://127.0.0.1:{port}")
        _wait(running.url, process)
        running.click(unused, 50, 50)
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
