"""The HTTP client against servers that break off, redirect, refuse and lie. What is true of image URLs: test_fetch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from samovar.errors import InputError, SamovarError
from samovar.http import BrokenOffError, Client, HttpError, TooLargeError

DATA = bytes(range(256)) * 2000


@dataclass
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass
class Reply:
    """What the server answers; `sent` in place of the body that the headers announce."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: bytes | None = None


class Serving:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []


@contextmanager
def serving(reply: Callable[[Asked], Reply | None]) -> Iterator[Serving]:
    """Serve on a free port of 127.0.0.1; None of `reply` hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, self.headers, body)
            server.asked.append(asked)
            answer = reply(asked)
            if answer is None:
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked has heard enough
                self.wfile.write(answer.body if answer.sent is None else answer.sent)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Serving(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def ranges(asked: Asked) -> Reply:
    """Serves DATA as a server does that can go on where a download broke off."""
    wanted = asked.headers.get("Range")
    start = int(wanted[6:-1]) if wanted else 0
    if start >= len(DATA):
        return Reply(416)
    if not start:
        return Reply(body=DATA)
    return Reply(206, DATA[start:], {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"})


# ---------------------------------------------------------------------------------------------------- requests


def test_any_status_is_an_answer_with_its_headers_and_the_beginning_of_its_body() -> None:
    with serving(lambda asked: Reply(418, b"short " * 50_000, {"X-Said": "tea"})) as server:
        response = Client(max_bytes=100, seconds=20).get(server.url)
    assert (response.status, response.ok, response.headers["x-said"]) == (418, False, "tea")
    assert response.body.startswith(b"short ")
    assert len(response.body) <= 65_536


def test_json_is_sent_and_read() -> None:
    with serving(lambda asked: Reply(body=asked.body[::-1] if asked.path == "/bad" else asked.body)) as server:
        assert Client().request("POST", server.url, json={"a": [1]}).json() == {"a": [1]}
        assert server.asked[0].headers["Content-Type"] == "application/json"
        assert (server.asked[0].method, json.loads(server.asked[0].body)) == ("POST", {"a": [1]})
        with pytest.raises(HttpError, match="expected JSON"):
            Client().request("POST", server.url + "/bad", json={"a": [1]}).json()


def test_a_body_goes_to_the_file_given_but_not_that_of_a_refusal() -> None:
    with serving(lambda asked: Reply(200 if asked.path == "/good" else 500, DATA)) as server:
        into = io.BytesIO()
        assert Client().get(server.url + "/bad", into=into).body.startswith(DATA[:1000])
        assert into.getvalue() == b""
        assert Client().get(server.url + "/good", into=into).body == b""
        assert into.getvalue() == DATA


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (302, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirected_post_becomes_a_get_where_browsers_do_so(status: int, method: str) -> None:
    with serving(lambda asked: Reply(status, headers={"Location": "/b"}) if asked.path == "/a" else Reply()) as server:
        Client().request("POST", server.url + "/a", body=b"x")
    assert (server.asked[1].method, server.asked[1].body) == (method, b"" if method == "GET" else b"x")


# ------------------------------------------------------------------------------------------------- who is asked


def test_every_address_is_checked_before_it_is_asked_redirects_among_them() -> None:
    checked: list[str] = []

    def check(url: str) -> None:
        checked.append(url)
        if url.endswith("/b"):
            raise InputError("not there")

    with serving(lambda asked: Reply(302, headers={"Location": "/b"})) as server:
        for seconds in (None, 20.0):
            checked.clear()
            server.asked.clear()
            with pytest.raises(InputError, match="not there"):
                Client(check=check, seconds=seconds).get(server.url + "/a")
            assert [one.path for one in server.asked] == ["/a"]
            assert checked == [server.url + "/a", server.url + "/b"]


def test_only_the_host_that_is_meant_sees_the_token() -> None:
    own = {"Authorization": "Bearer secret"}
    with (
        serving(lambda asked: Reply()) as other,
        serving(lambda asked: Reply(302, headers={"Location": other.url})) as server,
    ):
        client = Client(authorize=lambda url: own if url.startswith(server.url) else {})
        assert client.get(server.url, headers={"X-All": "1"}).ok
    assert [one.headers["Authorization"] for one in server.asked + other.asked] == ["Bearer secret", None]
    assert [one.headers["X-All"] for one in server.asked + other.asked] == ["1", "1"]


def test_a_proxy_of_the_environment_is_asked_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: Reply(body=b"proxy")) as proxy, serving(lambda asked: Reply(body=b"server")) as server:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:p%40ss@"))
        monkeypatch.setenv("no_proxy", "")
        assert Client().get(f"{server.url}/a").body == b"proxy"
        assert proxy.asked[0].path == f"{server.url}/a"
        assert proxy.asked[0].headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
        assert Client(proxies=False).get(server.url).body == b"server"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert Client().get(server.url).body == b"server"


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:1/", "http://127.0.0.1:1/?secret", "secret", "ftp:secret"])
def test_no_message_repeats_the_address(url: str) -> None:
    with pytest.raises(SamovarError) as caught:
        Client(seconds=20).get(url)
    if url != "secret":  # what stands where the scheme does is no secret
        assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------- downloads


def test_a_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def broken(asked: Asked) -> Reply:
        reply = ranges(asked)
        reply.sent = reply.body[:200_000]
        return reply

    with serving(broken) as server:
        for received in (200_000, 400_000):
            with pytest.raises(BrokenOffError, match=f"got {received:,} of 512,000 bytes before the") as caught:
                Client("file").download(server.url, path)
            assert (caught.value.received, caught.value.total) == (received, len(DATA))
            assert path.read_bytes() == DATA[:received]
        assert Client("file").download(server.url, path).status == 206
        assert Client("file").download(server.url, path).status == 416
    assert path.read_bytes() == DATA
    asked = [one.headers["Range"] for one in server.asked]
    assert asked == [None, "bytes=200000-", "bytes=400000-", "bytes=512000-"]


def test_a_server_that_cannot_go_on_sends_it_all_and_nothing_old_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 300_000)
    with serving(lambda asked: Reply(body=DATA)) as server:
        assert Client().download(server.url, path).status == 200
    assert path.read_bytes() == DATA


def test_another_part_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA[:1000])
    whole = Reply(206, DATA, {"Content-Range": "bytes 0-511999/512000"})
    with serving(lambda asked: whole) as server, pytest.raises(HttpError, match="got another part"):
        Client().download(server.url, path)
    assert path.read_bytes() == DATA[:1000]


def test_a_refused_download_leaves_no_file_and_an_old_one_as_it_is(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(403, b"no")) as server:
        assert Client().download(server.url, tmp_path / "file").status == 403
        assert not (tmp_path / "file").exists()
        (tmp_path / "file").write_bytes(b"old")
        assert Client().download(server.url, tmp_path / "file").body == b"no"
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_download_is_bounded_with_what_is_there_already(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA[:1000])
    with serving(ranges) as server, pytest.raises(TooLargeError, match="expected at most 500,000 bytes, got 512,000"):
        Client(max_bytes=500_000).download(server.url, path)
    assert path.read_bytes() == DATA[:1000]


def test_a_folder_that_cannot_be_written_is_the_callers_error(tmp_path: Path) -> None:
    with serving(ranges) as server, pytest.raises(FileNotFoundError):
        Client().download(server.url, tmp_path / "nowhere" / "file")


def test_silence_ends_a_download_without_a_deadline(tmp_path: Path) -> None:
    over = threading.Event()

    def silent(asked: Asked) -> Reply:
        over.wait(20)
        return Reply()

    with serving(silent) as server:
        with pytest.raises(HttpError, match=r"expected the answer, got nothing for 0\.2 s"):
            Client(idle_seconds=0.2).download(server.url, tmp_path / "file")
        over.set()


def test_a_server_that_hangs_up_is_named_as_such() -> None:
    with serving(lambda asked: None) as server, pytest.raises(HttpError, match="got RemoteDisconnected"):
        Client().get(server.url)


# -------------------------------------------------------------------------------------------------------- import


def test_the_network_is_imported_with_the_first_request() -> None:
    program = "import sys, samovar.http, samovar.image; assert not {'urllib3', 'http.client', 'ssl'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
