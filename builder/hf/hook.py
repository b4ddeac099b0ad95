"""`datasets.load_dataset("cytoimagenet")` loads this dataset once `cytoimagenet` has been imported.

So does `datasets.load_dataset("/path/to/dataset/folder")`: without this module it gives the columns png, cls and json.

`datasets` has no plugins, so this module replaces the function by which it looks up a name, `dataset_module_factory`,
by one that knows `cytoimagenet` and our folders, and passes every other name on. The function is internal to
`datasets`; the versions below have it. If `datasets` is not imported yet, the replacement waits until it is.
`uninstall` undoes all of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from inspect import signature
from types import ModuleType
from typing import Any

NAME = "cytoimagenet"
FUNCTION = "dataset_module_factory"
MODULES = ("datasets.load", "datasets.inspect")
"""The modules of `datasets` that have the function."""
AT_LEAST, BELOW = (5,), (6,)  # versions of `datasets`


def install() -> None:
    """Replace the function now if `datasets` is imported, otherwise as soon as it is. May be called twice."""
    if _is_loaded():
        wrap()
    elif not any(isinstance(finder, _WaitForDatasets) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WaitForDatasets())


def uninstall() -> None:
    """Restore the function of `datasets`, and stop waiting for its import."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _WaitForDatasets)]
    for name in MODULES:
        module = sys.modules.get(name)
        original = getattr(getattr(module, FUNCTION, None), "_before_cytoimagenet", None)
        if original is not None:
            setattr(module, FUNCTION, original)


def wrap() -> bool:
    """Replace the function of an imported `datasets`; return whether that was possible."""
    version = getattr(sys.modules["datasets"], "__version__", "")
    problem = unfit(version)
    if problem:
        warnings.warn(
            f'load_dataset("cytoimagenet") keeps the meaning that datasets gives it: {problem}. '
            "Use cytoimagenet.load_dataset(...) or CytoImageNet, which need no hook.",
            stacklevel=2,
        )
        return False
    for name in MODULES:
        module = sys.modules[name]
        original = getattr(module, FUNCTION)
        if not hasattr(original, "_before_cytoimagenet"):
            setattr(module, FUNCTION, _wrapper(original))
    return True


def unfit(version: str) -> str:
    """Return why the function of an imported `datasets` of this version can't be replaced; empty if it can."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not AT_LEAST <= numbers < BELOW:
        return f"datasets {version} is not >={AT_LEAST[0]},<{BELOW[0]}"
    absent = [name for name in MODULES if not callable(getattr(sys.modules.get(name), FUNCTION, None))]
    return f"datasets {version} has no {', '.join(f'{name}.{FUNCTION}' for name in absent)}" if absent else ""


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement: `cytoimagenet` and its folders are ours, other names go to the original function."""
    parameters = signature(original)

    @wraps(original)
    def look_up(path: Any, *args: Any, **kwargs: Any) -> Any:
        given = {name: value for name, value in parameters.bind(path, *args, **kwargs).arguments.items() if value}
        if path != NAME:
            # somebody who names files reads them as what they are
            if given.get("data_files") or given.get("data_dir") or not _is_dataset_folder(path):
                return original(path, *args, **kwargs)
            given["data_dir"] = os.fspath(path)
        from .load import dataset_module  # only now: importing `cytoimagenet` stays light

        return dataset_module(**{name: value for name, value in given.items() if name != "path"})

    look_up._before_cytoimagenet = original  # type: ignore[attr-defined]
    return look_up


def _is_dataset_folder(path: Any) -> bool:
    """Return whether a path is that of a local folder that this package wrote."""
    try:
        with open(os.path.join(os.path.expanduser(path), "manifest.json"), "rb") as file:
            content = json.load(file)
    except (OSError, ValueError, TypeError):
        return False
    return isinstance(content, dict) and content.get("format") == "cytoimagenet"


def _is_loaded() -> bool:
    return all(name in sys.modules for name in ("datasets", *MODULES))


class _WaitForDatasets(importlib.abc.MetaPathFinder):
    """Leaves every import alone, and calls `wrap` after that of `datasets`."""

    def __init__(self) -> None:
        self._is_searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None, except for `datasets`: its spec, as the other finders give it, with `wrap` after its loading."""
        if fullname != "datasets" or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        loader, load = spec.loader, spec.loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            del loader.exec_module  # restores the method of the loader's class
            load(module)
            # another package of that name, such as a folder of the user, is left alone
            if _is_loaded():
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
                wrap()

        loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec
