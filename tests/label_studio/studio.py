"""A real Label Studio and a real backend, as processes, and what one asks of them over HTTP."""

from __future__ import annotations

import json
import os
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
from pathlib import Path
from typing import Any

__all__ = ["EMAIL", "PASSWORD", "Backend", "Project", "Studio", "backend_process", "config", "studio_process"]

EMAIL, PASSWORD, TOKEN = "ann@example.com", "a long passw0rd", "0123456789abcdef0123456789abcdef01234567"
LABELS = '<Label value="thing"/><Label value="other"/>'


def config(*tags: str, smart: bool = True) -> str:
    """A labelling configuration: these tags, such as "BrushLabels", and smart key points and rectangles."""
    asks = "" if smart else 'smart="false"'  # every tag does that says nothing
    drawn = "".join(f'<{tag} name="{tag.lower()}" toName="image" {asks}>{LABELS}</{tag}>' for tag in tags)
    asking = "".join(
        f'<{tag} name="smart-{tag.lower()}" toName="image" smart="true">{LABELS}</{tag}>'
        for tag in (("KeyPointLabels", "RectangleLabels") if smart else ())
    )
    return f'<View><Image name="image" value="$image"/>{drawn}{asking}</View>'


@dataclass(frozen=True)
class Studio:
    """A running Label Studio."""

    url: str
    files: Path
    log: Path

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """JSON in, JSON out. Raises AssertionError with what the server says."""
        data, headers = None, {"Authorization": f"Token {token or TOKEN}"}
        if isinstance(body, tuple):  # a file: its name and its bytes
            boundary = uuid.uuid4().hex
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{body[0]}"\r\n\r\n'
            data = head.encode() + body[1] + f"\r\n--{boundary}--\r\n".encode()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        elif body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                said = response.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:400]!r}") from error
        return json.loads(said) if said else None

    def project(self, title: str, labelling: str, backend: Backend | None = None) -> Project:
        """A new project, with the backend connected to it."""
        number = self.ask("POST", "/api/projects", {"title": title, "label_config": labelling})["id"]
        ml = None
        if backend is not None:
            wanted = {"url": backend.url, "project": number, "title": "Samovar", "is_interactive": True}
            ml = self.ask("POST", "/api/ml", wanted)
            assert ml["state"] == "CO", ml
        return Project(self, number, ml and ml["id"])

    @property
    def token(self) -> str:
        """The legacy token."""
        return TOKEN

    def personal_token(self) -> str:
        """A new personal access token."""
        allowed = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        self.ask("POST", "/api/jwt/settings", allowed)
        return str(self.ask("POST", "/api/token/")["token"])


@dataclass(frozen=True)
class Project:
    """A project of a running Label Studio."""

    studio: Studio
    number: int
    ml: int | None

    def upload(self, file: Path) -> int:
        """Import a picture or a video; the number of its task."""
        before = set(self.tasks())
        self.studio.ask("POST", f"/api/projects/{self.number}/import", (file.name, file.read_bytes()))
        [new] = set(self.tasks()) - before
        return new

    def add(self, picture: str | list[str], key: str = "image") -> int:
        """A task whose picture, or pictures, are at this address; its number."""
        before = set(self.tasks())
        self.studio.ask("POST", f"/api/projects/{self.number}/import", [{key: picture}])
        [new] = set(self.tasks()) - before
        return new

    def tasks(self) -> list[int]:
        """The numbers of all tasks."""
        found = self.studio.ask("GET", f"/api/tasks?project={self.number}&page_size=1000")
        return [task["id"] for task in (found["tasks"] if isinstance(found, dict) else found)]

    def task(self, number: int) -> dict[str, Any]:
        """A task with its annotations and predictions."""
        return dict(self.studio.ask("GET", f"/api/tasks/{number}"))

    def annotate(self, task: int, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Submit an annotation of these regions; the regions that Label Studio then has of it."""
        made = self.studio.ask("POST", f"/api/tasks/{task}/annotations/", {"result": result, "lead_time": 1.0})
        return list(self.studio.ask("GET", f"/api/annotations/{made['id']}/")["result"])

    def export(self, path: Path) -> Path:
        """The project as Label Studio exports it, in a file."""
        tasks = self.studio.ask("GET", f"/api/projects/{self.number}/export?exportType=JSON")
        path.write_text(json.dumps(tasks))
        return path

    def click(self, task: int, *drawn: dict[str, Any]) -> dict[str, Any]:
        """What Label Studio hands the editor when an annotator has drawn this."""
        path = f"/api/ml/{self.ml}/interactive-annotating"
        answer = self.studio.ask("POST", path, {"task": task, "context": {"result": list(drawn)}})
        assert "errors" not in answer, answer
        return dict(answer["data"])


@dataclass(frozen=True)
class Backend:
    """A running `samovar label-studio`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        """One number of its /metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until `url` answers. Raises AssertionError with the end of the log when the process ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{url} does not answer:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes to `log` and is stopped at the end."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def studio_process(program: str, folder: Path) -> Iterator[Studio]:
    """A fresh Label Studio that trusts this machine."""
    port = free_port()
    files = folder / "files"
    files.mkdir()
    environment = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
    }
    command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", EMAIL, "--password", PASSWORD, "--user-token", TOKEN, "--enable-legacy-api-token"]
    log = folder / "label-studio.log"
    with running(command, log, environment) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process, log, 600)
        yield Studio(url, files, log)


@contextmanager
def backend_process(studio: Studio, folder: Path, *options: str, key: str = TOKEN) -> Iterator[Backend]:
    """`samovar label-studio` on a free port, for that Label Studio."""
    port = free_port()
    command = [sys.executable, "-m", "samovar", "label-studio", "--port", str(port), "--url", studio.url]
    log = folder / f"backend-{port}.log"
    with running([*command, "--api-key", key, *options], log, {}) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process, log, 180)
        yield Backend(url, process, log)
