"""One JSON object a line on standard error, or plain lines for people."""

from __future__ import annotations

import json
import logging
import sys
import time

__all__ = ["configure"]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        text = " ".join(str(value) for value in fields.values()) if record.getMessage() == "request" else ""
        named = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"samovar: {text or ' '.join(filter(None, (record.getMessage(), named)))}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(as_json: bool, quiet: bool = False) -> None:
    """Where the server's log goes and what it looks like. `quiet`: warnings and errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Plain())
    for name in ("samovar", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # we log requests ourselves
