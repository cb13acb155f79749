"""What is known of each plugin, working or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["PluginInfo", "Record", "Status"]

Status = Literal["ok", "conflict", "broken", "blocked"]


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, as `samovar plugins` shows it.

    Attributes:
        name: of its entry point, or as it was registered.
        distribution, version: of the package that brought it; None when it was registered from code.
        module: what its entry point names; None when it was registered from code.
        status: "ok"; "conflict" (it and another plugin claim one name; the rest of it works); "broken" (`problems` says
            why; hooks of it that work are still used); "blocked" by SAMOVAR_BLOCK.
        hooks: those that it implements and that could be registered.
        problems: one line each.
    """

    name: str
    distribution: str | None
    version: str | None
    module: str | None
    status: Status
    hooks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def blocked(self) -> bool:
        """Whether SAMOVAR_BLOCK keeps it out."""
        return self.status == "blocked"


@dataclass
class Record:
    """The manager's own notes on one plugin. Package metadata is read only when somebody asks."""

    name: str
    module: str | None = None
    source: Distribution | None = None
    blocked: bool = False
    hooks: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The package and its version, in words."""
        return "this process's own code" if self.source is None else f"{self._said('name')} {self._said('version')}"

    def _said(self, field: Literal["name", "version"]) -> str | None:
        """What the package's metadata say; None for a plugin registered from code, "unknown" where they are torn."""
        if self.source is None:
            return None
        try:
            return str(getattr(self.source, field) or "unknown")
        except Exception:  # noqa: BLE001 - whatever is wrong with a package's files must not take the host down
            return "unknown"

    def info(self, conflicts: Iterable[str]) -> PluginInfo:
        """The public account of it; `conflicts` are further lines on names that it and another plugin claim."""
        clashes = (*self.conflicts, *conflicts)
        status: Status = "broken" if self.problems else "conflict" if clashes else "ok"
        return PluginInfo(
            name=self.name,
            distribution=self._said("name"),
            version=self._said("version"),
            module=self.module,
            status="blocked" if self.blocked else status,
            hooks=self.hooks,
            problems=(*self.problems, *clashes),
        )
