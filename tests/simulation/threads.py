"""Blocking threads of a simulated process, run as generators: the world resumes one where it blocks.

They stand in for the standard library's where a service starts one (the renewal of a lease). Its own code runs, with
one change that is made from its source: a call that blocks (`BLOCKING`) becomes `yield from` the same call's steps, so
that the world goes on until it is time to let the thread run again. Real threads did the same for two switches of the
machine's scheduler each time.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable, Generator
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any

from tests.simulation.kernel import NS, STEP_NS, Process, World

BLOCKING = ("wait", "renew")
"""Methods that block a thread; a stand-in has `<name>_steps`, a generator that ends when the call would return."""

Steps = Generator[None, None, Any]


class _Blocks(ast.NodeTransformer):
    """Makes each blocking call one that yields while it blocks."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Change one call."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in BLOCKING:
            node.func.attr += "_steps"
            return ast.copy_location(ast.YieldFrom(node), node)
        return node


@lru_cache(maxsize=64)
def _as_generator(function: FunctionType) -> Callable[..., Steps]:
    """Return the same function, as a generator that yields where it blocks; it may not be a closure."""
    assert not function.__closure__, f"{function.__qualname__} is a closure: give it what it needs as arguments"
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    made = ast.fix_missing_locations(_Blocks().visit(tree))
    names: dict[str, Any] = {}
    code = compile(made, function.__code__.co_filename, "exec", __future__.annotations.compiler_flag)
    exec(code, function.__globals__, names)
    found: Callable[..., Steps] = names[function.__name__]
    return found


def steps_of(target: Callable[..., None], args: tuple[Any, ...]) -> Steps:
    """Return a thread's work as steps."""
    if isinstance(target, MethodType):
        return _as_generator(target.__func__)(target.__self__, *args)
    assert isinstance(target, FunctionType)
    return _as_generator(target)(*args)


class SimThread:
    """A thread of a process that runs only when the world lets it: stands in for `threading.Thread`."""

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...] = (), name: str = "", *, process: Process
    ) -> None:
        _ = name
        self._process = process
        self._steps = steps_of(target, args)
        self.is_done = False
        process.threads.append(self)

    def start(self) -> None:
        """Begin soon."""
        self.resume_after(STEP_NS)

    def resume_after(self, delay_ns: int) -> None:
        """Let it run again after a delay."""
        self._process.world.after(delay_ns, self.resume)

    def resume(self) -> None:
        """Let it run until it blocks again; called by the world only."""
        process, world = self._process, self._process.world
        if self.is_done or not process.is_alive:
            return
        if process.paused_until > world.now:
            world.at(process.paused_until, self.resume)
            return
        before = world.current, world.thread
        world.current, world.thread = process, self
        try:
            next(self._steps)
        except StopIteration:
            self.is_done = True
        except Exception as e:
            self.is_done = True
            world.failures.append((f"{process.name}/thread", e))
        finally:
            world.current, world.thread = before

    def kill(self) -> None:
        """Unwind it."""
        self.is_done = True
        self._steps.close()


class SimEvent:
    """Stands in for `threading.Event` in a process's threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False
        self._waiters: list[SimThread] = []

    def is_set(self) -> bool:
        """Return the flag."""
        return self._is_set

    def set(self) -> None:
        """Set the flag; who waits goes on."""
        self._is_set = True
        for thread in self._waiters:
            thread.resume_after(STEP_NS)
        self._waiters.clear()

    def wait_steps(self, timeout: float) -> Steps:
        """Block the running thread until the flag is set, at most `timeout` seconds of its process's clock."""
        if self._is_set:
            return True
        thread = running_thread(self._world)
        process = thread._process
        due = process.true_ns(process.monotonic_ns() + int(timeout * NS))
        self._waiters.append(thread)
        is_over = False

        def fire() -> None:
            if not is_over and not self._is_set:
                thread.resume()

        self._world.at(due, fire)
        yield
        is_over = True
        if thread in self._waiters:
            self._waiters.remove(thread)
        return self._is_set


def running_thread(world: World) -> SimThread:
    """Return the simulated thread that runs now."""
    assert world.thread is not None
    return world.thread
