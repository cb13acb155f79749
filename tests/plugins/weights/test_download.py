"""Downloads against a server that serves ranges, breaks off, refuses and lies."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from samovar.errors import WeightsError
from samovar_plugins.weights import Source, download, locate

DATA = bytes(range(256)) * 4096
SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves `files` while `open`; `cut` bytes at most in one answer; `ranges` says whether it continues."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/w.pth": DATA}
        self.cut: int | None = None
        self.ranges = True
        self.etag: str | None = None
        self.gated = False
        self.silent = False
        self.open = threading.Event()
        self.open.set()
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        data = self.server.files.get(self.path)
        if self.server.silent:
            return
        self.server.open.wait(60)
        if self.server.gated or data is None:
            self.send_error(401 if self.server.gated else 404)
            return
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if self.server.etag:
            self.send_header("ETag", f'"{self.server.etag}"')
        self.end_headers()
        self.wfile.write(data[start:] if self.server.cut is None else data[start : start + self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SAMOVAR_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server: Server) -> None:
    first = download(f"{server.url}/w.pth", SHA256)
    assert first.read_bytes() == DATA
    assert download(f"{server.url}/w.pth", SHA256) == first
    assert len(server.asked) == 1


def test_what_broke_off_is_continued_where_it_broke_off(server: Server) -> None:
    server.cut = 300_000
    with pytest.raises(WeightsError, match=r"broke off after 0\.3 (of 1\.0 )?MB"):
        download(f"{server.url}/w.pth", SHA256)
    server.cut = None
    assert download(f"{server.url}/w.pth", SHA256).read_bytes() == DATA
    assert server.asked == [None, "bytes=300000-"]


def test_of_several_that_want_a_file_one_downloads_it(server: Server) -> None:
    server.open.clear()
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(download, f"{server.url}/w.pth", SHA256) for _ in range(3)]
        time.sleep(0.3)  # for those who do not wait to ask as well
        server.open.set()
    assert {one.result().read_bytes() for one in found} == {DATA}
    assert len(server.asked) == 1
    assert [path.name for path in found[0].result().parent.iterdir()] == ["w.pth"]


def test_a_download_that_does_not_get_on_is_not_waited_for_any_longer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["samovar_plugins.weights.download"]  # the package has a function of that name
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    target = download(f"{server.url}/w.pth", SHA256)
    target.unlink()
    stopped = FileLock(target.with_name("w.pth.lock"))
    with stopped, pytest.raises(WeightsError, match=r"another process downloads .* and has got nothing for"):
        download(f"{server.url}/w.pth", SHA256)


def test_a_server_that_hangs_up_is_no_trouble_with_the_disk(server: Server) -> None:
    server.silent = True
    with pytest.raises(WeightsError, match=r"cannot download .*: RemoteDisconnected"):
        download(f"{server.url}/w.pth", SHA256)


def test_a_server_without_ranges_sends_it_all_again(server: Server) -> None:
    server.cut, server.ranges = 300_000, False
    with pytest.raises(WeightsError):
        download(f"{server.url}/w.pth", SHA256)
    server.cut = None
    assert download(f"{server.url}/w.pth", SHA256).read_bytes() == DATA


def test_a_whole_but_unfinished_file_is_checked_and_taken(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "here" / "w.pth"
    target.parent.mkdir()
    target.with_name("w.pth.part").write_bytes(DATA)
    assert download(f"{server.url}/w.pth", SHA256, target=target).read_bytes() == DATA


@pytest.mark.parametrize(
    "digest",
    [
        SHA256,
        f"md5:{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}",
        f"git:{hashlib.sha1(b'blob %d' % len(DATA) + bytes(1) + DATA, usedforsecurity=False).hexdigest()}",
    ],
)
def test_every_kind_of_digest_is_checked(server: Server, digest: str) -> None:
    assert download(f"{server.url}/w.pth", digest).is_file()
    server.files["/w.pth"] = DATA[::-1]
    kind, _, value = digest.partition(":")
    with pytest.raises(WeightsError, match="digest"):
        download(f"{server.url}/w.pth", f"{kind}:{value[::-1]}")


def test_a_file_of_another_digest_is_removed(server: Server, tmp_path: Path) -> None:
    server.files["/w.pth"] = b"tampered"
    with pytest.raises(WeightsError, match="another sha256 digest"):
        download(f"{server.url}/w.pth", SHA256)
    assert not [path for path in (tmp_path / "weights").rglob("*") if path.is_file()]


def test_the_digest_that_the_server_states_is_checked_where_none_is_known(server: Server) -> None:
    server.etag = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(WeightsError, match="digest"):
        download(f"{server.url}/w.pth", None)


def test_a_gated_file_says_where_to_ask(server: Server) -> None:
    server.gated = True
    with pytest.raises(WeightsError, match=r"gated.*ask for access at https://example\.org, then set HF_TOKEN"):
        download(f"{server.url}/w.pth", None, gated="https://example.org")


def test_a_server_that_is_not_there_is_one_line(server: Server) -> None:
    with pytest.raises(WeightsError) as caught:
        download("http://127.0.0.1:1/w.pth", None)
    assert len(str(caught.value).splitlines()) == 1


def test_the_checkpoint_inside_a_zip_file_is_taken_out(server: Server, tmp_path: Path) -> None:
    packed = tmp_path / "w.pt.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("folder/w.pt", b"weights")
    server.files["/w.pt.zip"] = packed.read_bytes()
    path = locate(None, Source(f"{server.url}/w.pt.zip"))
    assert (path.name, path.read_bytes()) == ("w.pt", b"weights")


def test_a_hub_id_is_downloaded_as_one_file_or_as_parts(server: Server) -> None:
    base = "/owner/one/resolve/main"
    server.files[f"{base}/model.safetensors"] = DATA
    folder = locate("owner/one", Source(""))
    assert (folder / "model.safetensors").read_bytes() == DATA
    base = "/owner/two/resolve/main"
    server.files[f"{base}/model.safetensors.index.json"] = (
        b'{"weight_map": {"a": "p1.safetensors", "b": "p2.safetensors"}}'
    )
    server.files[f"{base}/p1.safetensors"], server.files[f"{base}/p2.safetensors"] = b"1", b"2"
    folder = locate("owner/two", Source(""))
    assert (folder / "p2.safetensors").read_bytes() == b"2"
    count = len(server.asked)
    assert locate("owner/two", Source("")) == folder
    assert len(server.asked) == count


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(str(tmp_path), Source("")) == tmp_path
