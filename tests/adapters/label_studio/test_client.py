"""The client: where it fetches from and where not, within what bounds, and with which token."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from samovar.errors import ImageError, InputError
from samovar_adapters.label_studio.client import Client, Unreachable
from tests.adapters.label_studio.servers import Answer, serving

PICTURE = b"picture"


def plain(path: str, authorization: str | None, body: bytes) -> Answer:
    return 200, PICTURE, {}


def jwt(seconds: float, name: str = "access") -> str:
    body = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds, "name": name}).encode()).decode()
    return f"head.{body.rstrip('=')}.signature"


# ------------------------------------------------------------------------------------------------- where from


def test_uploads_and_local_files_come_from_the_server_with_the_token() -> None:
    with serving(plain) as studio:
        client = Client(studio.url, "abc")
        assert client.image("/data/upload/1/ä b.jpg") == PICTURE
        assert client.image("/data/local-files/?d=folder/a.jpg") == PICTURE
        assert client.image(f"{studio.url}/data/upload/1/c.jpg") == PICTURE
    assert [authorization for _, authorization in studio.asked] == ["Token abc"] * 3
    assert studio.asked[0][0] == "/data/upload/1/%C3%A4%20b.jpg"


@pytest.mark.parametrize("url", ["", "/ls"])
def test_behind_a_prefix_uploads_are_asked_where_label_studio_says_they_are(url: str) -> None:
    with serving(plain) as studio:
        client = Client(studio.url + url, "abc")
        for reference in ("/ls/data/upload/1/a.jpg", "/ls/data/local-files/?d=a.jpg", "/ls/static/samples/a.jpg"):
            assert client.image(reference) == PICTURE
            assert studio.asked[-1] == (reference, "Token abc")
        client.image("/data/upload/1/a.jpg")
    assert studio.asked[-1][0] == f"{url}/data/upload/1/a.jpg"


def test_addresses_in_label_studios_own_name_are_asked_of_the_server() -> None:
    """It may be called otherwise from where it runs, or from a browser, than from here."""
    with serving(plain) as studio:
        client = Client(studio.url, "abc")
        own = "http://localhost:8080/data/local-files/?d=a.jpg"
        with pytest.raises(ImageError, match="--allow-host localhost"):
            client.image(own)
        client.known_as("http://localhost:8080")
        assert client.image(own) == PICTURE
        for other in ("http://localhost:8081/data/upload/1/a.jpg", "http://localhost:8080/etc/passwd"):
            with pytest.raises(ImageError):
                client.image(other)
        client.known_as("anything at all")
    assert studio.asked == [("/data/local-files/?d=a.jpg", "Token abc")]


@pytest.mark.parametrize("storage", ["s3", "s3s", "gs", "gcswif", "azure-blob", "azure-spi", "redis"])
def test_every_storage_of_label_studio_is_asked_through_it(storage: str) -> None:
    with serving(plain) as studio:
        assert Client(studio.url, "abc").image(f"{storage}://bucket/a.jpg", task=7) == PICTURE


@pytest.mark.parametrize("key", ["abc", " abc ", "Token abc", "token  abc"])
def test_a_token_may_be_copied_with_its_header(key: str) -> None:
    with serving(plain) as studio:
        Client(studio.url, key).image("/data/upload/1/a.jpg")
    assert studio.asked[0][1] == "Token abc"


@pytest.mark.parametrize("key", [None, "legacy"])
def test_an_image_for_which_the_token_is_refused_is_said_to_be(key: str | None) -> None:
    with serving(lambda *given: (401, b"{}", {})) as studio, pytest.raises(Unreachable, match=r"401.*check --api-key"):
        Client(studio.url, key).image("/data/upload/1/a.jpg")


def test_a_picture_in_a_storage_is_asked_of_the_server_for_its_task() -> None:
    with serving(plain) as studio:
        assert Client(studio.url, "abc").image("s3://bucket/a.jpg", task=7) == PICTURE
    path = studio.asked[0][0]
    assert path.startswith("/tasks/7/resolve/?fileuri=")
    encoded = path.partition("=")[2].replace("%3D", "=")
    assert base64.urlsafe_b64decode(encoded) == b"s3://bucket/a.jpg"


def test_another_host_is_asked_only_if_allowed_and_never_told_the_token() -> None:
    with serving(plain) as studio, serving(plain) as bucket:
        with pytest.raises(ImageError, match=r"--allow-host 127\.0\.0\.1"):
            Client(studio.url, "abc").image(f"{bucket.url}/a.jpg")
        assert bucket.asked == []
        assert Client(studio.url, "abc", allowed=(bucket.host,)).image(f"{bucket.url}/a.jpg") == PICTURE
    assert bucket.asked == [("/a.jpg", None)]


def test_a_redirect_leads_only_where_one_may_go_and_never_with_the_token() -> None:
    with serving(plain) as bucket:

        def elsewhere(path: str, authorization: str | None, body: bytes) -> Answer:
            return 303, b"", {"Location": f"{bucket.url}/signed"}

        with serving(elsewhere) as studio:
            with pytest.raises(ImageError, match="not allowed"):
                Client(studio.url, "abc").image("/data/upload/1/a.jpg")
            assert bucket.asked == []
            assert Client(studio.url, "abc", allowed=(bucket.host,)).image("/data/upload/1/a.jpg") == PICTURE
    assert bucket.asked == [("/signed", None)]


@pytest.mark.parametrize(
    "reference",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "ftp://127.0.0.1/a.jpg",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:1/a.jpg",
        "http://[::1]/a.jpg",
        "http://127.0.0.1@evil.example/a.jpg",
        "//evil.example/a.jpg",
        "s3://bucket/a.jpg",
        "",
    ],
)
def test_nothing_else_is_fetched(reference: str) -> None:
    with serving(plain) as studio:
        with pytest.raises(ImageError) as caught:
            Client(studio.url, "abc").image(reference)
        assert studio.asked == []
    assert "abc" not in str(caught.value)


def test_a_host_whose_name_only_begins_like_the_servers_is_another() -> None:
    with serving(plain) as studio:
        for reference in (f"{studio.url}.evil.example/a.jpg", studio.url.replace("//", "//evil@") + "/a.jpg"):
            with pytest.raises(ImageError):
                Client(studio.url, "abc").image(reference)
        assert studio.asked == []


def test_a_data_url_needs_no_server() -> None:
    assert Client().image("data:image/png;base64,cGljdHVyZQ==") == PICTURE
    with pytest.raises(ImageError, match="--url"):
        Client().image("/data/upload/1/a.jpg")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="address"):
        Client("localhost:8080")


# ------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("announced", [True, False])
def test_a_picture_beyond_the_bound_is_refused(announced: bool) -> None:
    def large(path: str, authorization: str | None, body: bytes) -> Answer:
        # A length of nothing, left out below, is what a chunked answer looks like to the reader.
        return 200, b"x" * 300_000, {} if announced else {"Content-Length": "", "Connection": "close"}

    with serving(large) as studio, pytest.raises(ImageError, match="at most"):
        Client(studio.url, max_bytes=200_000).image("/data/upload/1/a.jpg")


def test_a_server_that_is_slow_is_given_up_on() -> None:
    def slow(path: str, authorization: str | None, body: bytes) -> Answer:
        time.sleep(1.5)
        return plain(path, authorization, body)

    with serving(slow) as studio:
        began = time.perf_counter()
        with pytest.raises(ImageError, match=r"expected the (whole )?image"):
            Client(studio.url, seconds=0.3).image("/data/upload/1/a.jpg")
        assert time.perf_counter() - began < 1.2


@pytest.mark.parametrize("status", [404, 500, 403])
def test_a_picture_that_is_not_there_is_said(status: int) -> None:
    with serving(lambda *given: (status, b"no", {})) as studio, pytest.raises(ImageError, match=str(status)):
        Client(studio.url, "abc").image("/data/upload/1/a.jpg")


def test_a_server_that_is_down_is_said() -> None:
    with serving(plain) as studio:
        gone = studio.url
    with pytest.raises(ImageError, match=r"expected the (whole )?image"):
        Client(gone).image("/data/upload/1/a.jpg")
    with pytest.raises(Unreachable, match="is it running"):
        Client(gone).project(1)


def test_redirects_end() -> None:
    with serving(lambda path, *given: (302, b"", {"Location": path})) as studio:
        with pytest.raises(ImageError, match="redirects"):
            Client(studio.url).image("/data/upload/1/a.jpg")
        assert len(studio.asked) == 6


# ------------------------------------------------------------------------------------------------- tokens


def test_a_personal_access_token_buys_access_tokens_and_another_when_one_ends() -> None:
    lives = iter([jwt(300, "first"), jwt(300, "second")])
    ended: list[str] = []

    def studio_says(path: str, authorization: str | None, body: bytes) -> Answer:
        if path == "/api/token/refresh":
            assert json.loads(body) == {"refresh": personal}
            return 200, json.dumps({"access": next(lives)}).encode(), {}
        if authorization in ended:
            return 401, b"{}", {}
        return 200, PICTURE, {}

    personal = jwt(1e6, "personal")
    with serving(studio_says) as studio:
        client = Client(studio.url, personal)
        for _ in range(3):
            assert client.image("/data/upload/1/a.jpg") == PICTURE
        assert [path for path, _ in studio.asked].count("/api/token/refresh") == 1
        ended.append(studio.asked[-1][1] or "")
        assert client.image("/data/upload/1/a.jpg") == PICTURE
        assert [path for path, _ in studio.asked].count("/api/token/refresh") == 2


def test_a_token_that_ends_under_many_fetches_fails_none_of_them() -> None:
    lives = iter([jwt(300, "first"), jwt(300, "second"), jwt(300, "third")])
    together, first = threading.Barrier(8), None

    def studio_says(path: str, authorization: str | None, body: bytes) -> Answer:
        if path == "/api/token/refresh":
            return 200, json.dumps({"access": next(lives)}).encode(), {}
        if first is not None and authorization == first:
            together.wait(20)  # all of them have been sent before the first is refused
            return 401, b"{}", {}
        return 200, PICTURE, {}

    with serving(studio_says) as studio, ThreadPoolExecutor(8) as pool:
        client = Client(studio.url, jwt(1e6))
        client.image("/data/upload/1/first.jpg")
        first = studio.asked[-1][1]
        paths = [f"/data/upload/1/{index}.jpg" for index in range(8)]
        assert list(pool.map(client.image, paths)) == [PICTURE] * 8
        assert [path for path, _ in studio.asked].count("/api/token/refresh") == 2


def test_an_access_token_about_to_end_is_replaced_before_it_does() -> None:
    lives = iter([jwt(10), jwt(300)])

    def studio_says(path: str, authorization: str | None, body: bytes) -> Answer:
        if path == "/api/token/refresh":
            return 200, json.dumps({"access": next(lives)}).encode(), {}
        return 200, PICTURE, {}

    with serving(studio_says) as studio:
        client = Client(studio.url, jwt(1e6))
        client.image("/data/upload/1/a.jpg")
        client.image("/data/upload/1/a.jpg")
        client.image("/data/upload/1/a.jpg")
        assert [path for path, _ in studio.asked].count("/api/token/refresh") == 2


def test_a_token_that_is_refused_says_what_to_do() -> None:
    with serving(lambda *given: (401, b"{}", {})) as studio:
        with pytest.raises(Unreachable, match="make a new one"):
            Client(studio.url, jwt(1e6)).project(1)
        with pytest.raises(Unreachable, match="401"):
            Client(studio.url, "legacy").project(1)


def test_all_tasks_of_a_project_are_walked_through_page_by_page() -> None:
    from urllib.parse import parse_qs, urlsplit

    def studio_says(path: str, authorization: str | None, body: bytes) -> Answer:
        query = json.loads(parse_qs(urlsplit(path).query)["query"][0])
        after = query["filters"]["items"][0]["value"]
        page = [{"id": number, "data": {}} for number in range(after + 1, min(after + 100, 230) + 1)]
        return 200, json.dumps({"tasks": page}).encode(), {}

    with serving(studio_says) as studio:
        client = Client(studio.url, "abc")
        assert [task["id"] for task in client.tasks(7)] == list(range(1, 231))
        assert [task["id"] for task in client.tasks(7, after=228)] == [229, 230]
