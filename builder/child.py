"""Call a function in a separate process, which ends when its time is up: for libraries that may never return.

The process is a new interpreter, not a fork: it can be started from threads, and from programs without a main guard.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import CytoImageNetError

T = TypeVar("T")


class ChildError(CytoImageNetError):
    """The process ended without a result, or its time was up."""


def call_in_child(function: Callable[..., T], *arguments: Any, seconds: float) -> T:
    """Return what a function returns, called in a separate process.

    Parameters
    ----------
    function : callable
        A function of a module of this package.
    *arguments
        Sent to the process, as the result is sent back, by pickle.
    seconds : float
        Time after which the process is ended.

    Raises
    ------
    ChildError
        If the process was ended because its time was up, or ended itself.
    Exception
        Whatever the function raises.

    Examples
    --------
    >>> from cytoimagenet.builder.dataset.describe import size
    >>> call_in_child(size, 1_820_000, seconds=60)
    '1.82 MB'
    """
    task = pickle.dumps((function.__module__, function.__qualname__, arguments))
    try:
        ended = subprocess.run(command_of(__name__), input=task, stdout=subprocess.PIPE, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise ChildError(f"No result after {seconds:g} seconds") from error
    if ended.returncode:
        raise ChildError(f"The process ended with the status {ended.returncode} and no result")
    raised, result = pickle.loads(ended.stdout)  # noqa: S301 - written by our own code
    if raised:
        raise result
    return result  # type: ignore[no-any-return]


def command_of(module: str) -> list[str]:
    """Return the command that calls `main` of a module in a new interpreter, which finds modules where this one does.

    Not `python -m`: that would also look in the working folder, which may contain files of others.

    Examples
    --------
    >>> command_of("cytoimagenet.builder.child")[1:3]
    ['-P', '-c']
    """
    code = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"
    return [sys.executable, "-P", "-c", code, json.dumps(sys.path)]


def main() -> None:
    """Call the function that the input names, and write its result, or what it raised, to the output."""
    module, name, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by `call_in_child`
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get into the result
    try:
        answer = False, getattr(importlib.import_module(module), name)(*arguments)
    except Exception as error:
        answer = True, error
    with output:
        output.write(pickle.dumps(answer))
