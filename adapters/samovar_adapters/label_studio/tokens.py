"""Label Studio's two kinds of tokens."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping

__all__ = ["Token"]

_MARGIN = 30.0  # seconds before an access token ends in which another is fetched


class Token:
    """Either kind of token, as the header that it makes.

    Args:
        key: a legacy token, sent as it is, or a personal access token: a JWT, which buys access tokens of some minutes.
    """

    def __init__(self, key: str | None) -> None:
        self.key = key.strip() if key else None
        self._access: str | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def header(self, refresh: Callable[[str], str]) -> dict[str, str]:
        """The header that a request carries; `refresh(key)` buys an access token where one is needed."""
        if self.key is None:
            return {}
        if self.key.count(".") != 2:
            return {"Authorization": f"Token {self.key}"}
        with self._lock:
            if self._access is None or time.time() > self._until - _MARGIN:
                self._access = refresh(self.key)
                self._until = _expiry(self._access)
            return {"Authorization": f"Bearer {self._access}"}

    def ended(self, refused: Mapping[str, str]) -> bool:
        """Note that the server refused this header; whether another access token may help.

        Many requests may be refused with one header. The first of them drops its token, the others must not drop the
        token that was bought in the meantime.
        """
        authorization = refused.get("Authorization", "")
        with self._lock:
            if authorization == f"Bearer {self._access}":
                self._access = None
        return authorization.startswith("Bearer ")


def _expiry(token: str) -> float:
    """When a JWT ends, in seconds since 1970; its signature is the server's business."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return time.time() + 60
