"""Small HTTP servers to fetch from: what each path answers is a function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "Server", "serving"]

Answer = tuple[int, bytes, Mapping[str, str]]


class Server:
    """A running server: its address and what it was asked, as (path, Authorization)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = url.removeprefix("http://")
        self.asked: list[tuple[str, str | None]] = []


@contextmanager
def serving(answer: Callable[[str, str | None, bytes], Answer]) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1; `answer(path, authorization, body)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization")
            server.asked.append((self.path, authorization))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content, headers = answer(self.path, authorization, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked has heard enough
                self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server = Server(f"http://127.0.0.1:{httpd.server_port}")
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()
