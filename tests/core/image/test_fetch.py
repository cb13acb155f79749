"""URLs: what is fetched, and that no server can make the caller wait, swallow or follow more than it should."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image as Pillow

from samovar.errors import ImageError
from samovar.http import MAX_REDIRECTS, without_secrets
from samovar.image import Image, is_url, parse_data_url
from samovar.image.sources import fetch
from tests.hostile import encoded, photo

PIXELS = photo(31, 20)
PNG = encoded(Pillow.fromarray(PIXELS), "PNG")


class Server(BaseHTTPRequestHandler):
    """Answers well at /ok.png and badly everywhere else."""

    protocol_version = "HTTP/1.1"
    stop: ClassVar[threading.Event] = threading.Event()
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.close_connection = True
        name = self.path.partition("?")[0].strip("/").partition(".")[0].replace("-", "_")
        # The client hangs up on purpose in most of these.
        with contextlib.suppress(OSError):
            getattr(self, f"give_{name}", self.give_missing)()

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def give_ok(self) -> None:
        self.head(Content_Length=len(PNG))
        self.wfile.write(PNG)

    def give_chunked(self) -> None:
        self.head(Transfer_Encoding="chunked")
        for start in range(0, len(PNG), 100):
            part = PNG[start : start + 100]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def give_missing(self) -> None:
        self.send_error(404)

    def give_broken(self) -> None:
        self.send_error(500)

    def give_large(self) -> None:
        self.head(Content_Length=10**12)
        self.wfile.write(PNG)

    def give_endless(self) -> None:
        self.head()
        while not self.stop.is_set():
            self.wfile.write(bytes(65_536))

    def give_short(self) -> None:
        self.head(Content_Length=len(PNG))
        self.wfile.write(PNG[:50])

    def give_dripping_body(self) -> None:
        self.head(Content_Length=len(PNG))
        self.drip()

    def give_dripping_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip()

    def give_silence(self) -> None:
        self.stop.wait(20)

    def drip(self) -> None:
        while not self.stop.wait(0.05):
            self.wfile.write(b"a")
            self.wfile.flush()

    def give_moved(self) -> None:
        self.head(302, Location="/ok.png", Content_Length=0)

    def give_moved_with_endless_body(self) -> None:
        self.head(302, Location="/ok.png")
        while not self.stop.is_set():
            self.wfile.write(bytes(65_536))

    def give_to_file(self) -> None:
        self.head(302, Location="file:///etc/hostname", Content_Length=0)

    def give_to_ftp(self) -> None:
        self.head(302, Location="ftp://127.0.0.1/cat.jpg", Content_Length=0)

    def give_circle(self) -> None:
        step = int(self.path.partition("?")[2] or 0)
        self.head(302, Location=f"/circle?{step + 1}", Content_Length=0)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(None) as address:
        yield f"http://{address}"


@contextlib.contextmanager
def running(context: ssl.SSLContext | None) -> Iterator[str]:
    Server.stop.clear()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    http.daemon_threads = True
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{http.server_port}"
    Server.stop.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(
    "path", ["/ok.png", "/chunked", "/moved", "/ok.png?token=a b&größe=ü", "/moved-with-endless-body"]
)
def test_an_image_is_fetched(server: str, path: str) -> None:
    image = Image(server + path)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert image.file_digest() == blake3(PNG).hexdigest()
    assert image.path is None


def test_an_image_is_fetched_on_first_use_and_only_once(server: str) -> None:
    Server.seen.clear()
    image = Image(server + "/ok.png")
    assert Server.seen == []
    assert (image.width, image.height) == (31, 20)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    image.file_digest()
    assert Server.seen == ["/ok.png"]


@pytest.mark.parametrize(
    ("path", "got"),
    [
        ("/cat.jpg", "got status 404 Not Found; check the address"),
        ("/broken", "got status 500"),
        ("/short", "got 50 of"),
        ("/to-file", "expected a redirect to http or https, got one to 'file'; check"),
        ("/to-ftp", "got one to 'ftp'"),
        ("/circle", "expected at most 5 redirects, got more"),
    ],
)
def test_a_failure_is_one_line_that_starts_with_the_address(server: str, path: str, got: str) -> None:
    with pytest.raises(ImageError) as caught:
        _ = Image(server + path).pixels
    assert str(caught.value).startswith(f"{server}{path}: expected")
    assert got in str(caught.value)
    assert "\n" not in str(caught.value)


def test_redirects_are_bounded(server: str) -> None:
    Server.seen.clear()
    with pytest.raises(ImageError):
        fetch(server + "/circle")
    assert len(Server.seen) == MAX_REDIRECTS + 1


def test_a_body_that_announces_too_much_is_not_read(server: str) -> None:
    with pytest.raises(ImageError, match=r"expected at most 1,000,000 bytes, got 1,000,000,000,000; download it"):
        fetch(server + "/large", max_bytes=1_000_000)


def test_a_body_that_grows_too_large_is_broken_off(server: str) -> None:
    with pytest.raises(ImageError, match=r"expected at most 1,000,000 bytes, got more"):
        fetch(server + "/endless", max_bytes=1_000_000)


@pytest.mark.parametrize("path", ["/dripping-head", "/dripping-body", "/silence"])
def test_a_slow_server_is_given_up_in_time_however_it_drips(server: str, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"expected the whole image within 0\.5 s, got none or only a part of it"):
        fetch(server + path, seconds=0.5)
    assert time.monotonic() - started < 15  # the server would go on for longer, or for ever
    patience = time.monotonic() + 10
    while any(thread.name == "samovar-http" for thread in threading.enumerate()):
        assert time.monotonic() < patience, "the download's thread goes on after it was given up"
        time.sleep(0.02)


def test_an_address_where_nothing_listens_is_refused(server: str) -> None:
    with pytest.raises(ImageError, match="refused"):
        fetch("http://127.0.0.1:1/cat.jpg")


@pytest.mark.parametrize("url", ["http://", "http://[::1/x", "http://127.0.0.1:port/x", "https:///x", "http://a b/x"])
def test_a_malformed_address_is_one_line(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        fetch(url)
    assert "\n" not in str(caught.value)


def test_passwords_and_tokens_never_reach_a_message() -> None:
    assert without_secrets("https://me:secret@example.org:8443/a/cat.jpg?token=secret#x") == (
        "https://example.org:8443/a/cat.jpg"
    )
    assert "secret" not in without_secrets("http://me:secret@[bad/cat.jpg?token=secret")
    with pytest.raises(ImageError, match="without user and password") as caught:
        fetch("http://me:secret@127.0.0.1:1/cat.jpg")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("http://example.org/x", True),
        ("HTTPS://example.org/x", True),
        ("s3://bucket/x", True),
        ("data:image/png;base64,xx", True),
        ("photos/cat.jpg", False),
        ("C:\\photos\\cat.jpg", False),
        ("C://photos/cat.jpg", False),
        ("a:b.jpg", False),
        (b"http://example.org", False),
        (None, False),
    ],
)
def test_urls_are_told_from_paths(source: object, url: bool) -> None:
    assert is_url(source) is url


def test_data_urls_of_both_encodings_with_white_space_and_without_padding() -> None:
    assert parse_data_url("data:,a%20b") == b"a b"
    assert parse_data_url("DATA:image/png;BASE64,aGVs\n bG8") == b"hello"
    assert parse_data_url("data:image/png;charset=x;base64,aGVsbG8%3D") == b"hello"
    with pytest.raises(ImageError, match="expected base64"):
        parse_data_url("data:;base64,a$b")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is needed to make a certificate")
def test_https_is_fetched_and_a_stranger_s_certificate_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    wanted = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *wanted.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running(context) as address:
        with pytest.raises(ImageError, match="certificate"):
            fetch(f"https://{address}/ok.png")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(f"https://{address}/ok.png") == PNG
