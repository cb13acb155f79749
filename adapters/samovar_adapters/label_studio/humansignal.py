"""`SamovarBackend`: for deployments that run HumanSignal's own server, label-studio-ml 1.0.9 or 2.x.

Its pins leave no room for a model beside it: it asks a running `samovar label-studio` at $SAMOVAR_URL.
It imports nothing but label-studio-ml and the standard library: `pip install --no-deps samovar` is enough beside it.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

__all__ = ["SamovarBackend"]

SECONDS = 95.0


class SamovarBackend(LabelStudioMLBase):  # type: ignore[misc]  # has no annotations
    """Passes requests on and answers back, unchanged."""

    def setup(self) -> None:
        """Called by 2.x for every project: the model's version is the server's."""
        versions = self._ask("GET", "/versions")["versions"]
        self.set("model_version", versions[0])

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """One prediction a task, as `samovar label-studio` answers. Raises RuntimeError with what it says."""
        wanted = {"tasks": tasks, "label_config": self.label_config, "params": {"context": context}}
        results: list[dict[str, Any]] = self._ask("POST", "/predict", wanted)["results"]
        # 1.0.9 reads "result" of every entry; 2.x and Label Studio itself skip an entry without.
        return [{"result": [], "score": 0.0, **one} for one in results] if len(tasks) == 1 else results

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """There is nothing to train."""
        return {}

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        url = os.environ.get("SAMOVAR_URL", "http://localhost:8000").rstrip("/") + path
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{url}: status {error.code}: {error.read(500).decode(errors='replace')}") from error
        except OSError as error:
            raise RuntimeError(
                f"{url}: expected a running `samovar label-studio`; got {error}; check SAMOVAR_URL"
            ) from error
