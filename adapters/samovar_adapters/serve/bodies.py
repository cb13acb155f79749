"""Request bodies, read within bounds: each one's size, and what all of them hold at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samovar.errors import InputError
from samovar.sizes import format_bytes
from samovar_adapters.serve.problems import Busy, TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["BodyLimits"]


class BodyLimits:
    """Reads bodies of at most `each` bytes, and holds at most `together` bytes of unfinished ones."""

    def __init__(self, each: int, together: int) -> None:
        self.each, self.together = each, together
        self._held = 0

    async def read(self, request: Request, limit: int | None = None) -> bytes:
        """The whole body. Raises TooLarge, as soon as that is known, and Busy."""
        most = min(self.each, limit or self.each)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                if self._held + len(part) > self.together:
                    raise Busy("too many uploads at once; try again in a moment")
                self._held += len(part)
                size += len(part)
                parts.append(part)
                if size > most:
                    raise _too_large(most)
        finally:
            self._held -= size
        return b"".join(parts)

    async def json(self, request: Request, limit: int | None = None) -> dict[str, Any]:
        """The body as a JSON object. Raises InputError, TooLarge and Busy."""
        body = await self.read(request, limit)
        import orjson

        try:
            value = orjson.loads(body)
        except ValueError as error:
            raise InputError(f"expected a JSON object; got something else ({error})") from error
        if not isinstance(value, dict):
            raise InputError(f"expected a JSON object; got {type(value).__name__}")
        return value


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"expected a body of at most {format_bytes(most)}; got more; send a smaller picture")


Bodies = BodyLimits
