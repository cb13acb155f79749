"""`njit`: compiled kernels that cost nothing until the first call.

Numba takes about half a second to import, so a module full of kernels must not load it. A function decorated here
stays plain Python until it is called; then numba is imported, and the machine code is compiled or read back from
numba's disk cache.

A kernel may call other kernels by their global name, of the same module or imported from another.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, overload

__all__ = ["Kernel", "before_compiling", "lean_cache_fits", "njit"]

P = ParamSpec("P")
R = TypeVar("R")

FEW = 1 << 15
"""Steps that take Python less time, all together, than importing numba takes."""

_OLDEST, _NEWEST = (0, 61), (0, 68)
"""Versions of numba whose inner workings `samovar.jit_cache` relies on; its tests passed with 0.61, 0.65 and 0.68."""

_compiling = RLock()
_spared = [0]  # steps that this process has taken in Python, to be spared the loading
_told: list[Callable[[], None]] = []


def before_compiling(tell: Callable[[], None]) -> None:
    """Call `tell` once, when a kernel is about to be compiled because no disk cache has it, which takes seconds."""
    _told.append(tell)


def _imported() -> bool:
    """Whether numba is there already: then machine code is at hand in no time."""
    return "numba" in sys.modules


class Kernel(Generic[P, R]):
    """A function that numba compiles on its first call. Safe to call from any number of threads; releases the GIL."""

    __name__: str

    def __init__(self, function: Callable[P, R], fastmath: bool) -> None:
        self._function = function
        self._fastmath = fastmath
        self._compiled: Callable[P, R] | None = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        compiled = self._compiled
        if compiled is None:
            compiled = self.compiled
        return compiled(*args, **kwargs)

    @property
    def loaded(self) -> bool:
        """Whether the machine code is at hand: then a call takes no longer than the work."""
        return self._compiled is not None

    def spared(self, steps: int) -> bool:
        """Whether to do a job of so many steps without the machine code, to be spared importing numba.

        True until the jobs done so in this process add up to `FEW`: one that is asked for a mask or two never waits for
        a compiler, and one that goes on being asked soon has it. A step is what Python does in a microsecond or two.
        """
        if _imported() or _spared[0] + steps > FEW:
            return False
        _spared[0] += steps  # a step lost between two threads does no harm
        return True

    def over(self, steps: int) -> Callable[P, R]:
        """What to call for a job of so many steps: the plain function if it is spared the machine code.

        For kernels that call no others and do the same in either way.
        """
        return self._function if self.spared(steps) else self

    @property
    def compiled(self) -> Callable[P, R]:
        """Numba's dispatcher; importing numba if this is the first kernel that anybody needs."""
        with _compiling:
            if self._compiled is None:
                self._compiled = _dispatcher(self._function, self._fastmath)
            return self._compiled


def _called(function: Any) -> dict[str, Kernel[..., Any]]:
    """The kernels that a function calls, by the names that it has for them."""
    named = ((name, function.__globals__.get(name)) for name in function.__code__.co_names)
    return {name: kernel for name, kernel in named if isinstance(kernel, Kernel)}


def _files(function: Any) -> set[str]:
    """The files whose code becomes the machine code of a function."""
    below = (_files(kernel._function) for kernel in _called(function).values())
    return {function.__code__.co_filename}.union(*below)


def _constants(function: Any) -> list[str]:
    """The global values, of its module or imported from another, that become part of the machine code of a function."""
    found = []
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Kernel):
            found += _constants(value._function)
        elif isinstance(value, (bool, int, float, str, tuple)) or hasattr(value, "tobytes"):
            found.append(f"{name} {value.tobytes().hex() if hasattr(value, 'tobytes') else repr(value)}")
    return found


def _dispatcher(function: Callable[P, R], fastmath: bool) -> Callable[P, R]:
    import numba

    _listen()
    if not isinstance(function, FunctionType):
        raise TypeError(f"a kernel is a plain function; got {type(function).__name__}")
    # Numba cannot call a Kernel, so this copy of the function sees the dispatchers of the kernels that it names.
    called = {name: kernel.compiled for name, kernel in _called(function).items()}
    names = {**function.__globals__, **called}
    code, defaults = function.__code__, function.__defaults__
    twin = FunctionType(code, names, function.__name__, defaults, function.__closure__)
    twin.__qualname__ = function.__qualname__
    # Inlined, because a kernel read back from the disk cache may otherwise call another compilation of the kernels that
    # it calls than the process that compiled it did: where rounding is free, the same input then has two answers.
    # Without a wrapper for callers in C, of which there are none, compiling takes less time and the cache less space.
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "forceinline": True, "no_cfunc_wrapper": True}
    dispatcher: Any = numba.njit(**options)(twin)
    with suppress(RuntimeError):  # nowhere to write the cache: a read-only install run by a user without a home
        if lean_cache_fits():
            from samovar.jit_cache import LeanCache

            dispatcher._cache = LeanCache(twin, _files(function), _constants(function))
        else:
            dispatcher = numba.njit(cache=True, **options)(twin)
    compiled: Callable[P, R] = dispatcher
    return compiled


def lean_cache_fits() -> bool:
    """Whether `samovar.jit_cache` was made for the installed numba; under any other it must not even be imported."""
    import numba

    return _OLDEST <= tuple(numba.version_info[:2]) <= _NEWEST


@functools.cache
def _listen() -> None:
    """Have numba say when it compiles; it says nothing when it reads what it compiled before."""
    with suppress(ImportError):  # not in every release: then nobody is told
        from numba.core import event

        class Compiling(event.Listener):  # type: ignore[misc]
            def on_start(self, event: object) -> None:
                while _told:
                    _told.pop()()

            def on_end(self, event: object) -> None:
                pass

        event.register("numba:compile", Compiling())


@overload
def njit(function: Callable[P, R], /) -> Kernel[P, R]: ...
@overload
def njit(*, fastmath: bool = ...) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
def njit(
    function: Callable[P, R] | None = None, /, *, fastmath: bool = False
) -> Kernel[P, R] | Callable[[Callable[P, R]], Kernel[P, R]]:
    """Compile a function on its first call: `@njit`, or `@njit(fastmath=True)` where rounding may differ.

    Kernels release the GIL and are cached on disk. Parameter and return types are kept for type checkers.
    """
    if function is not None:
        return Kernel(function, fastmath)
    return functools.partial(Kernel, fastmath=fastmath)
