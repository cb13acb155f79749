"""Downloads against a server that serves ranges, breaks off, refuses and lies."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
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

from samovar.errors import MissingExtraError, WeightsError
from samovar_plugins.toolkit.weights import download, locate

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

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        data = self.server.files.get(self.path.partition("?")[0])
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
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", "1" * 40)
        if self.server.etag:
            self.send_header("ETag", f'"{self.server.etag}"')
        self.end_headers()
        if self.command == "HEAD":
            return
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
    assert {path.name for path in found[0].result().parent.iterdir()} <= {"w.pth", ".w.pth.lock"}


@pytest.mark.slow
def test_a_download_that_does_not_get_on_is_not_waited_for_any_longer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samovar_plugins.toolkit.weights._WAIT", 0.1)
    target = download(f"{server.url}/w.pth", SHA256)
    target.unlink()
    stuck = pytest.raises(WeightsError, match=r"another process downloads .* and has got nothing for")
    with FileLock(target.with_name(".w.pth.lock")), stuck:
        download(f"{server.url}/w.pth", SHA256)


def test_a_server_that_hangs_up_is_no_trouble_with_the_disk(server: Server) -> None:
    server.silent = True
    with pytest.raises(WeightsError, match=r"cannot download .*w\.pth.*; check the network"):
        download(f"{server.url}/w.pth", SHA256)


def test_a_server_without_ranges_sends_it_all_again(server: Server) -> None:
    server.cut, server.ranges = 300_000, False
    with pytest.raises(WeightsError):
        download(f"{server.url}/w.pth", SHA256)
    server.cut = None
    assert download(f"{server.url}/w.pth", SHA256).read_bytes() == DATA


def test_a_whole_but_unfinished_file_is_checked_and_taken(server: Server) -> None:
    target = download(f"{server.url}/w.pth", SHA256)
    target.rename(target.with_name("w.pth.part"))
    assert download(f"{server.url}/w.pth", SHA256) == target
    assert target.read_bytes() == DATA


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
    assert not list((tmp_path / "weights").rglob("w.pth*"))


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
    path = locate(None, f"{server.url}/w.pt.zip")
    assert (path.name, path.read_bytes()) == ("w.pt", b"weights")


def located(name: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`locate` of a hub id in a process of its own: the hub's library reads the environment once."""
    program = "import sys; from samovar_plugins.toolkit.weights import locate; print(locate(sys.argv[1], ''))"
    given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    given |= {"HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1", **environ}
    return subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, env=given, check=False)


def kept(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A repository as the hub's library keeps it below $HF_HOME."""
    repository = folder / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for file, content in files.items():
        (snapshot / file).write_bytes(content)
    return snapshot


def test_weights_that_other_programs_got_from_the_hub_are_used(tmp_path: Path) -> None:
    snapshot = kept(tmp_path, "owner/one", {"model.safetensors": DATA, "config.json": b"{}"})
    nobody = "http://127.0.0.1:1"
    assert located("owner/one", tmp_path, HF_ENDPOINT=nobody).stdout.strip() == str(snapshot)


@pytest.mark.slow
def test_a_model_named_by_its_hub_id_has_the_weights_that_are_there(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from safetensors.torch import save

    from tests.plugins.edge_tam.weights import PUBLISHED, random_weights

    kept(tmp_path, "yonigozlan/EdgeTAM-hf", {"model.safetensors": save(random_weights(PUBLISHED, 256, 2048))})
    program = "import samovar; print(samovar.load('yonigozlan/EdgeTAM-hf', device='cpu', cache='off').name)"
    given = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "SAMOVAR_WEIGHTS_DIR": str(tmp_path / "none"),
    }
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=given, check=False)
    assert done.stdout.strip() == "edge-tam", done.stderr


def test_offline_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = located("owner/two", tmp_path, HF_HUB_OFFLINE="1")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("samovar.errors.WeightsError: cannot get 'owner/two' from the hub"), done.stderr


def test_half_a_checkpoint_in_the_hubs_cache_is_not_enough(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
    kept(tmp_path, "owner/three", {"model.safetensors.index.json": index, "model-1.safetensors": DATA})
    assert located("owner/three", tmp_path, HF_HUB_OFFLINE="1").returncode == 1


@pytest.mark.slow
def test_a_hub_id_is_downloaded(server: Server, tmp_path: Path) -> None:
    commit = "1" * 40
    server.etag = hashlib.sha256(DATA).hexdigest()
    files = {"model.safetensors": DATA, "other.bin": DATA}
    listed = {"id": "owner/four", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
    server.files = {f"/owner/four/resolve/{commit}/{name}": content for name, content in files.items()}
    server.files["/api/models/owner/four/revision/main"] = json.dumps(listed).encode()
    tree = [{"type": "file", "path": name, "size": len(content), "oid": "2" * 40} for name, content in files.items()]
    server.files[f"/api/models/owner/four/tree/{commit}"] = json.dumps(tree).encode()
    done = located("owner/four", tmp_path, HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == DATA


def test_without_the_hubs_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMOVAR_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'need huggingface_hub; run: pip install "samovar\[sam\]"'):
        locate("owner/five", "")


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(str(tmp_path), "") == tmp_path
