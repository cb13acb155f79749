"""The command as a process: told to stop under load, given too much, and without a Label Studio."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.adapters.serve.served import flat

pytestmark = pytest.mark.slow

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="cat"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="cat"/></KeyPointLabels></View>"""


@contextmanager
def backend(tmp_path: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "samovar", "label-studio", "--port", str(port), "--json-logs"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--cache", str(tmp_path / "cache"), *options], stdout=stream, stderr=stream
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield url, process, log
    finally:
        process.kill()
        process.wait()


def click(picture: str) -> bytes:
    value = {"x": 50, "y": 50, "width": 1, "keypointlabels": ["cat"]}
    drawn = [{"type": "keypointlabels", "to_name": "image", "is_positive": True, "value": value}]
    tasks = [{"id": 1, "data": {"image": picture}}]
    return json.dumps({"tasks": tasks, "label_config": CONFIG, "params": {"context": {"result": drawn}}}).encode()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def post(url: str, body: bytes) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=180) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def answered(client: http.client.HTTPConnection) -> int:
    with client.getresponse() as response:
        response.read()
        return response.status


def test_told_to_stop_it_finishes_what_is_under_way_and_ends(tmp_path: Path) -> None:
    body = click(data_url(flat(1)))
    with backend(tmp_path) as (url, process, _), ExitStack() as stack:
        clients = [http.client.HTTPConnection(url.removeprefix("http://"), timeout=180) for _ in range(4)]
        for client in clients:  # the first clicks: the model still compiles, so that they take their time
            stack.callback(client.close)
            client.request("POST", "/predict", body, {"Content-Type": "application/json"})
        idle = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        stack.callback(idle.close)
        idle.connect()
        post(url, body)  # once this is answered, the others have been taken on
        process.send_signal(signal.SIGTERM)
        assert [answered(client) for client in clients] == [200] * 4
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{url}/health", timeout=5)


def test_answers_on_a_connection_that_is_kept_open_wait_for_no_acknowledgement(tmp_path: Path) -> None:
    with backend(tmp_path, "--no-warm-up") as (url, _, _), ExitStack() as stack:
        client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        stack.callback(client.close)
        times = []
        for _ in range(60):  # a new connection's first packets are acknowledged at once
            began = time.perf_counter()
            client.request("GET", "/health")
            assert answered(client) == 200
            times.append(time.perf_counter() - began)
        assert sorted(times[30:])[5] < 0.03


def test_told_to_stop_under_load_it_answers_what_it_has_taken_on(tmp_path: Path) -> None:
    answers: list[tuple[int, dict[str, object]]] = []
    refused: list[type[object]] = []

    def annotate(index: int) -> None:
        try:
            for step in range(500):
                answers.append(post(url, click(data_url(flat(index * 10, step % 4)))))  # noqa: PERF401
        except urllib.error.URLError as error:
            refused.append(type(error.reason))
        except OSError as error:
            refused.append(type(error))

    with backend(tmp_path) as (url, process, log):
        post(url, click(data_url(flat(1))))
        annotators = [threading.Thread(target=annotate, args=(index,)) for index in range(8)]
        for one in annotators:
            one.start()
        until = time.monotonic() + 60
        while len(answers) < 16 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        for one in annotators:
            one.join(60)
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert len(answers) > 8
        # Not taken on any more, the one way in which a request may end without an answer: refused, or cut off before
        # the server has read any of it.
        assert len(refused) == 8
        assert set(refused) <= {ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected}
        assert {status for status, _ in answers} == {200}
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical")]


def test_too_large_a_request_is_refused_and_the_server_stays_small(tmp_path: Path) -> None:
    with backend(tmp_path, "--max-body", "4MiB") as (url, process, _):
        post(url, click(data_url(flat(1))))
        before = memory(process.pid)
        body = click("data:image/png;base64," + "A" * (50 << 20))
        for _ in range(3):
            with suppress(OSError):  # refused while it was still being sent, which breaks the pipe
                assert post(url, body)[0] == 413
        assert memory(process.pid) - before < 100 << 20
        assert post(url, click(data_url(flat(2))))[0] == 200


def test_without_a_label_studio_clicks_say_so_and_the_backend_goes_on(tmp_path: Path) -> None:
    with backend(tmp_path, "--url", "http://127.0.0.1:9", "--api-key", "abc") as (url, _, _):
        status, said = post(url, click("/data/upload/1/a.png"))
        assert status == 400
        assert "check that Label Studio serves it" in str(said["error"])
        assert "abc" not in str(said)
        assert post(url, click(data_url(flat(2))))[0] == 200


def test_a_wrong_model_address_or_password_is_found_out_before_anything_listens() -> None:
    for options, says in (
        (("--model", "no-such-model"), "unknown model"),
        (("--url", "localhost:8080"), "expected Label Studio's address"),
        (("--auth", "nobody"), "USER:PASSWORD"),
        (("--source", "no-such-source"), "unknown prompt source"),
    ):
        command = [sys.executable, "-m", "samovar", "label-studio", "--port", "0", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def memory(process: int) -> int:
    """Bytes of resident memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
