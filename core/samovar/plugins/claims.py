"""Who claims which name: the specs of one kind, with the plugin that each came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from samovar.errors import PluginError, UnknownNameError
from samovar.plugins.specs import Spec

__all__ = ["Claim", "Claims"]

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Claim(Generic[S]):
    """One spec and the plugin that registered it."""

    plugin: str
    origin: str
    spec: S


class Claims(Generic[S]):
    """All specs of one kind.

    A name that two plugins claim spoils only that name: listing shows both, looking it up is an error that names both.
    Refusing both plugins outright would let any package take another's models away by claiming one of their names, and
    letting the first win would make the answer depend on what else is installed.
    """

    def __init__(self, noun: str, claims: Iterable[Claim[S]]) -> None:
        self._noun = noun
        self._claims = tuple(claims)
        self._by_name: dict[str, list[Claim[S]]] = {}
        for claim in self._claims:
            for name in claim.spec.names:
                self._by_name.setdefault(name, []).append(claim)

    def __iter__(self) -> Iterator[Claim[S]]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def conflicts(self) -> dict[str, list[str]]:
        """Plugin → one line for each name that it and another plugin claim."""
        lines: dict[str, list[str]] = {}
        for name, claims in self._by_name.items():
            if len(claims) > 1:
                for plugin in dict.fromkeys(claim.plugin for claim in claims):
                    lines.setdefault(plugin, []).append(self._conflict(name))
        return lines

    def find(self, name: str, hint: str) -> S:
        """The spec of that name or alias.

        Raises:
            UnknownNameError: there is none; `hint` says what to do.
            PluginError: two plugins claim it; names both.
        """
        claims = self._by_name.get(name, [])
        if not claims:
            names = {claim.spec.name for claim in self._claims}
            raise UnknownNameError.among(self._noun, name, names, hint, aliases=self._by_name.keys() - names)
        if len(claims) > 1:
            raise PluginError(self._conflict(name))
        return claims[0].spec

    def _conflict(self, name: str) -> str:
        """One line that names every plugin claiming `name` and says how to choose."""
        origins = {claim.plugin: f"{claim.plugin!r} ({claim.origin})" for claim in self._by_name[name]}
        if len(origins) == 1:
            return f"{self._noun} {name!r} is registered twice by plugin {' '.join(origins.values())}; mend that plugin"
        blocks = " or ".join(f"SAMOVAR_BLOCK={plugin}" for plugin in origins)
        claimants = " and ".join(origins.values())
        return f"{self._noun} {name!r} is claimed by plugins {claimants}; uninstall one of them or set {blocks}"
