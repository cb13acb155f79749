"""`Registry`: finds plugins, imports them, registers them, calls their hooks, and notes what is wrong with each."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any, Generic, Literal, TypeVar

import pluggy

from samovar.errors import PluginError, UnknownNameError
from samovar.plugins import hookspecs
from samovar.plugins.hookspecs import PROJECT
from samovar.plugins.specs import Spec

__all__ = ["PluginInfo", "PluginState", "Registration", "Registrations", "Registry", "one_line"]

S = TypeVar("S", bound=Spec[Any])
T = TypeVar("T")

Status = Literal["ok", "conflict", "broken", "blocked"]

BROKEN = (Exception, SystemExit)
"""What a plugin's code may raise without harm: one that exits the process is as broken as one that raises."""


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
class PluginState:
    """What is known of one plugin, working or not. Package metadata is read only when somebody asks."""

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
            return str((self.source.name if field == "name" else self.source.version) or "unknown")
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


@dataclass(frozen=True)
class Registration(Generic[S]):
    """One spec and the plugin that registered it."""

    plugin: str
    origin: str
    spec: S


class Registrations(Generic[S]):
    """All specs of one kind.

    A name that two plugins claim spoils only that name: listing shows both, looking it up is an error that names both.
    Refusing both plugins outright would let any package take another's models away by claiming one of their names, and
    letting the first win would make the answer depend on what else is installed.
    """

    def __init__(self, noun: str, registrations: Iterable[Registration[S]]) -> None:
        self._noun = noun
        self._all = tuple(registrations)
        self._by_name: dict[str, list[Registration[S]]] = {}
        for one in self._all:
            for name in one.spec.names:
                self._by_name.setdefault(name, []).append(one)

    def __iter__(self) -> Iterator[Registration[S]]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """A plugin and one line, for each name that it and another plugin claim."""
        for name, claimants in self._by_name.items():
            if len(claimants) > 1:
                for plugin in dict.fromkeys(one.plugin for one in claimants):
                    yield plugin, self._conflict(name)

    def find(self, name: str, hint: str) -> S:
        """The spec of that name or alias.

        Raises:
            UnknownNameError: there is none; `hint` says what to do.
            PluginError: two plugins claim it; names both.
        """
        found = self._by_name.get(name, [])
        if not found:
            names = {one.spec.name for one in self._all}
            raise UnknownNameError.among(self._noun, name, names, hint, aliases=self._by_name.keys() - names)
        if len(found) > 1:
            raise PluginError(self._conflict(name))
        return found[0].spec

    def _conflict(self, name: str) -> str:
        """One line that names every plugin claiming `name` and says how to choose."""
        origins = {one.plugin: f"{one.plugin!r} ({one.origin})" for one in self._by_name[name]}
        if len(origins) == 1:
            return f"{self._noun} {name!r} is registered twice by plugin {' '.join(origins.values())}; fix that plugin"
        blocks = " or ".join(f"SAMOVAR_BLOCK={plugin}" for plugin in origins)
        claimants = " and ".join(origins.values())
        return f"{self._noun} {name!r} is claimed by plugins {claimants}; uninstall one of them or set {blocks}"


class Registry:
    """Every plugin found by entry point or registered from code.

    Hooks are called one plugin at a time, in the order of the plugins' names, after those of plugins that were
    registered from code; not through pluggy's own call of all of them, where the first plugin that raises would silence
    the rest. Hook wrappers are therefore refused.

    Args:
        blocked: names of plugins to leave out; they are not even imported.
        trace: write a line to standard error for each plugin loaded and each hook called.
        installed: False: only the plugins that `register` is given.
    """

    def __init__(self, *, blocked: Collection[str], trace: bool, installed: bool) -> None:
        self.lock = threading.RLock()
        self.states: list[PluginState] = []
        self._registered: dict[str, PluginState] = {}
        self._blocked = frozenset(blocked)
        self._trace = trace
        self._searching = self._searched = not installed
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self.hooks = tuple(sorted(name for name in vars(self._pluggy.hook) if not name.startswith("_")))

    def search(self) -> None:
        """Import and register every installed plugin, once. What fails is noted; other threads wait for the end."""
        if self._searched:
            return
        with self.lock:
            if self._searching:  # a plugin that asks for plugins while it is imported sees those registered so far
                return
            self._searching = True
            found, torn = _discover()
            self.states += torn
            # Sorted backwards, since pluggy calls last what was registered first.
            for entry in sorted(found, key=lambda entry: (entry.name, entry.value), reverse=True):
                self._load(entry)
            self._searched = True

    def register(self, plugin: object, name: str) -> None:
        """Register `plugin` under `name`, from code; nothing happens if that name is blocked.

        Raises:
            PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
        """
        state = PluginState(name, blocked=name in self._blocked)
        with self.lock:
            if not state.blocked:
                self._attach(state, plugin)
            self.states.append(state)

    def unregister(self, name: str) -> None:
        """Forget the plugin of that name. Raises PluginError when there is none."""
        with self.lock:
            if name not in self._registered:
                raise PluginError(f"no plugin {name!r} is registered; `samovar plugins` lists those that are")
            self._pluggy.unregister(name=name)
            self.states.remove(self._registered.pop(name))

    def state(self, plugin: str) -> PluginState:
        """What is known of a plugin; nothing if it has been unregistered in the meantime."""
        return self._registered.get(plugin) or PluginState(plugin)

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Who implements `hook`, in the order of calling."""
        caller: pluggy.HookCaller = vars(self._pluggy.hook)[hook]
        return caller.get_hookimpls()[::-1]

    def call(self, impl: pluggy.HookImpl, hook: str, accept: Callable[[object], T], **arguments: object) -> T | None:
        """What one plugin answers, as `accept` takes it; None, with the first failure noted, where either raises."""
        try:
            with self._traced(f"{impl.plugin_name}: {hook}"):
                return accept(impl.function(*(arguments[name] for name in impl.argnames)))
        except BROKEN as error:
            problems = self.state(impl.plugin_name).problems
            if not any(problem.startswith(f"{hook}: ") for problem in problems):
                problems.append(f"{hook}: {one_line(error)}")
            return None

    def _load(self, entry: EntryPoint) -> None:
        state = PluginState(entry.name, module=entry.value, source=entry.dist)
        self.states.append(state)
        if entry.name in self._blocked:
            state.blocked = True
            self._say(f"{entry.name}: blocked")
            return
        try:
            with self._traced(f"{entry.name}: loaded from {entry.value}"):
                try:
                    plugin = entry.load()
                except BROKEN as error:
                    raise PluginError(f"import of {entry.value}: {one_line(error)}") from error
                self._attach(state, plugin)
        except PluginError as error:
            state.problems.append(str(error))

    def _attach(self, state: PluginState, plugin: object) -> None:
        holder = self._registered.get(state.name)
        if holder is not None:
            claimants = f"by {holder.origin} and by {state.origin}"
            message = f"plugin name {state.name!r} is claimed {claimants}; uninstall or rename one of them"
            if state.source is not None:
                holder.conflicts.append(message)
            raise PluginError(message)
        if plugin is None or self._pluggy.is_registered(plugin):
            raise PluginError(f"plugin {state.name!r} is {'None' if plugin is None else 'already registered'}")
        try:
            self._pluggy.register(plugin, state.name)
            callers = self._pluggy.get_hookcallers(plugin) or []
            for caller in callers:
                self._check(caller, plugin)
        except BROKEN as error:
            self._pluggy.unregister(name=state.name)
            raise PluginError(" ".join(str(error).split())) from error
        state.hooks = tuple(sorted(caller.name for caller in callers if caller.has_spec()))
        if not state.hooks:
            state.problems.append("it implements no hook; mark its hook functions with @samovar.hookimpl")
        self._registered[state.name] = state

    def _check(self, caller: pluggy.HookCaller, plugin: object) -> None:
        for impl in caller.get_hookimpls():
            if impl.plugin is not plugin:
                continue
            if not caller.has_spec() and not impl.optionalhook:
                near = get_close_matches(caller.name, self.hooks, n=1)
                listing = f"did you mean {near[0]}?" if near else f"known: {', '.join(self.hooks)}"
                raise PluginError(f"unknown hook {caller.name}; {listing}")
            if impl.wrapper or impl.hookwrapper:
                raise PluginError(f"{caller.name} is a hook wrapper; each plugin is called on its own: return a value")

    @contextmanager
    def _traced(self, what: str) -> Iterator[None]:
        """Report `what` with its time, or with the whole traceback of what it raised."""
        started = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self._say(f"{what}: failed: {one_line(error)}", *traceback.format_exception(error))
            raise
        self._say(f"{what}: {1000 * (time.perf_counter() - started):.1f} ms")

    def _say(self, line: str, *more: str) -> None:
        if self._trace:
            sys.stderr.write("".join((f"samovar plugins: {line}\n", *more)))


def _discover() -> tuple[list[EntryPoint], list[PluginState]]:
    """The entry points of the group, and the state of each package whose list of them cannot be read."""
    try:
        return list(entry_points(group=PROJECT)), []
    except Exception:  # noqa: BLE001 - one package with a torn file fails them all, with whatever parsing it raises
        pass
    # A package at a time: slower, but the torn one is left out. Of two of one name the first counts.
    found: list[EntryPoint] = []
    torn: list[PluginState] = []
    seen = set()
    for source in distributions():
        name = "unknown"
        try:
            name = source.name
            if name not in seen:
                seen.add(name)
                found += source.entry_points.select(group=PROJECT)
        except Exception as error:  # noqa: BLE001
            problem = f"its entry points cannot be read: {one_line(error)}"
            torn.append(PluginState(name, source=source, problems=[problem]))
    return found, torn


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 200 characters."""
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
