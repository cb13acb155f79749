"""`PluginManager`: asks plugins, once each, what they bring, and tells them what happened."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from samovar.errors import PluginError
from samovar.events import EvictEvent, SegmentEvent
from samovar.plugins.claims import Claim, Claims
from samovar.plugins.records import PluginInfo
from samovar.plugins.roster import Roster
from samovar.plugins.specs import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    Spec,
    TrackerSpec,
)
from samovar.plugins.trace import Tracer

if TYPE_CHECKING:
    import click
    import pluggy

    from samovar.plugins.commands import Additions

__all__ = ["PluginManager"]

S = TypeVar("S", bound=Spec)


class PluginManager:
    """All plugins of one process; `samovar.load_plugins()` gives the one in use.

    Hooks are called one plugin at a time, not through pluggy's own call of all of them: there the first plugin that
    raises would silence the rest. Hook wrappers are therefore refused.
    """

    def __init__(self, *, blocked: Collection[str] = (), trace: bool = False, installed: bool = True) -> None:
        """With `installed=False` there are only the plugins that `register` is given."""
        self._roster = Roster(blocked=blocked, tracer=Tracer(enabled=trace), installed=installed)
        self._answers: dict[tuple[str, str], tuple[object, ...]] = {}
        self._command_lines: list[tuple[click.Group, Additions]] = []
        self._complained: set[tuple[str, str]] = set()

    @classmethod
    def from_environment(cls) -> PluginManager:
        """A manager that obeys SAMOVAR_BLOCK (names, comma separated) and SAMOVAR_TRACE_PLUGINS (1 to trace)."""
        names = (name.strip() for name in os.environ.get("SAMOVAR_BLOCK", "").split(","))
        trace = os.environ.get("SAMOVAR_TRACE_PLUGINS", "0") not in ("", "0")
        return cls(blocked=[name for name in names if name], trace=trace)

    def load_entry_points(self) -> None:
        """Import and register every installed plugin, once; what fails is recorded."""
        self._roster.search()

    def register(self, plugin: object, name: str) -> None:
        """Register `plugin` (a module, an instance or a class with hook functions) under `name`, from code.

        Raises:
            PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
        """
        with self._roster.lock:
            self._roster.register(plugin, name)
            for impl in self._roster.implementations("register_commands"):
                if impl.plugin_name == name:
                    for _, additions in self._command_lines:
                        self._add_commands(impl, additions)

    def unregister(self, name: str) -> None:
        """Forget the plugin of that name; commands that it added stay. Raises PluginError when there is none."""
        with self._roster.lock:
            self._roster.unregister(name)
            self._answers = {key: answer for key, answer in self._answers.items() if key[1] != name}

    def list_plugins(self) -> list[PluginInfo]:
        """Every plugin by name, the broken and the blocked too, after asking each of them what it brings."""
        with self._roster.lock:
            conflicts = self._conflicts()
            infos = [record.info(conflicts.get(record.name, ())) for record in self._roster.records]
        return sorted(infos, key=lambda info: (info.name, info.module or ""))

    def broken(self) -> list[str]:
        """The names of plugins with problems known so far."""
        return sorted({record.name for record in self._roster.records if record.problems})

    # ------------------------------------------------------------------------------------------- discovering

    def list_segmenters(self) -> list[SegmenterSpec]:
        """Every model that plugins bring, in the order of the plugins' names."""
        return [claim.spec for claim in self.claims(SegmenterSpec)]

    def list_prompt_sources(self) -> list[PromptSourceSpec]:
        """Every prompt source that plugins bring."""
        return [claim.spec for claim in self.claims(PromptSourceSpec)]

    def list_mask_sinks(self) -> list[MaskSinkSpec]:
        """Every mask sink that plugins bring."""
        return [claim.spec for claim in self.claims(MaskSinkSpec)]

    def list_cache_tiers(self) -> list[CacheTierSpec]:
        """Every cache tier that plugins bring."""
        return [claim.spec for claim in self.claims(CacheTierSpec)]

    def list_trackers(self) -> list[TrackerSpec]:
        """Every tracker that plugins bring."""
        return [claim.spec for claim in self.claims(TrackerSpec)]

    def list_inpainters(self) -> list[InpainterSpec]:
        """Every inpainter that plugins bring."""
        return [claim.spec for claim in self.claims(InpainterSpec)]

    def claims(self, kind: type[S]) -> Claims[S]:
        """All specs of one kind, each with its plugin."""
        with self._roster.lock:
            found = [
                Claim(impl.plugin_name, self._roster.record(impl.plugin_name).origin, spec)
                for impl in self._roster.implementations(kind.hook)
                for spec in self._answer(impl, kind)
                if isinstance(spec, kind)
            ]
        return Claims(kind.noun, found)

    def find(self, kind: type[S], name: str) -> S:
        """The spec of that name or alias.

        Raises:
            UnknownNameError: there is none.
            PluginError: two plugins claim it; names both.
        """
        return self.claims(kind).find(name, self._hint(kind))

    def _answer(self, impl: pluggy.HookImpl, kind: type[S]) -> tuple[object, ...]:
        """What one plugin registers; asked once, since a hook may be slow and must not be asked twice."""
        key = (kind.hook, impl.plugin_name)
        if key not in self._answers:
            self._answers[key] = self._roster.call(impl, kind.hook, lambda answer: _specs(kind, answer)) or ()
        return self._answers[key]

    def _hint(self, kind: type[S]) -> str:
        listing = "samovar models" if kind.hook == SegmenterSpec.hook else "samovar plugins"
        broken = self.broken()
        why = f"; `samovar plugins` says what is wrong with {', '.join(broken)}" if broken else ""
        return f"`{listing}` lists what is installed{why}"

    def _conflicts(self) -> dict[str, list[str]]:
        """Plugin → one line for each name that it and another claim."""
        lines: dict[str, list[str]] = {}
        for conflicts in (
            self.claims(SegmenterSpec).conflicts(),
            self.claims(PromptSourceSpec).conflicts(),
            self.claims(MaskSinkSpec).conflicts(),
            self.claims(CacheTierSpec).conflicts(),
            self.claims(TrackerSpec).conflicts(),
            self.claims(InpainterSpec).conflicts(),
        ):
            for plugin, found in conflicts.items():
                lines.setdefault(plugin, []).extend(found)
        return lines

    def identify_weights(self, path: Path) -> str | None:
        """The name of the model whose weights `path` holds, from the first plugin that recognises it, or None."""
        for impl in self._roster.implementations("identify_weights"):
            name = self._roster.call(impl, "identify_weights", _name_or_none, path=path)
            if name is not None:
                return name
        return None

    # ------------------------------------------------------------------------------------------ command line

    def register_commands(self, cli: click.Group, taken: Iterable[str] = ()) -> None:
        """Put every plugin's commands on `cli`, once; those of plugins registered later follow by themselves.

        Args:
            cli: the command line.
            taken: names that no plugin may use, beyond those of the commands already on `cli`.
        """
        from samovar.plugins.commands import Additions

        with self._roster.lock:
            if any(known is cli for known, _ in self._command_lines):
                return
            additions = Additions(cli, frozenset(taken))
            self._command_lines.append((cli, additions))
            for impl in self._roster.implementations("register_commands"):
                self._add_commands(impl, additions)

    def _add_commands(self, impl: pluggy.HookImpl, additions: Additions) -> None:
        import click

        own = click.Group("samovar")
        done = self._roster.call(impl, "register_commands", lambda _: True, cli=own)
        if done:
            origins = {record.name: record.origin for record in self._roster.records}
            for plugin, line in additions.merge(own.commands, impl.plugin_name, origins):
                self._roster.record(plugin).conflicts.append(line)

    # ------------------------------------------------------------------------------------------------ events

    def after_segment(self, event: SegmentEvent) -> None:
        """Tell every plugin that a call has answered its prompts."""
        self._tell("after_segment", event)

    def on_evict(self, event: EvictEvent) -> None:
        """Tell every plugin that an entry has left the cache."""
        self._tell("on_evict", event)

    def _tell(self, hook: str, event: object) -> None:
        for impl in self._roster.implementations(hook):
            if self._roster.call(impl, hook, lambda _: True, event=event) is None:
                self._complain(impl.plugin_name, hook)

    def _complain(self, plugin: str, hook: str) -> None:
        """Log the first failure of an event hook: in a server, say, nobody looks at `samovar plugins` meanwhile."""
        if (plugin, hook) not in self._complained:
            self._complained.add((plugin, hook))
            import logging

            reason = next((line for line in self._roster.record(plugin).problems if line.startswith(hook)), hook)
            logging.getLogger(__name__).warning(
                "plugin %r: %s; it is called on, and further failures are silent", plugin, reason
            )


def _specs(kind: type[S], answer: object) -> tuple[object, ...]:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise PluginError(f"expected an iterable of {kind.__name__}; got {type(answer).__name__}; return a list")
    specs = tuple(answer)
    for spec in specs:
        if not isinstance(spec, kind):
            raise PluginError(f"expected {kind.__name__}; got {type(spec).__name__}: {spec!r:.60}")
    return specs


def _name_or_none(answer: object) -> str | None:
    if answer is not None and not isinstance(answer, str):
        raise PluginError(f"expected the name of a model or None; got {type(answer).__name__}: {answer!r:.60}")
    return answer
