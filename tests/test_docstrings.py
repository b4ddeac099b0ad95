"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import cytoimagenet
import pytest

PACKAGES = ("builder", "loaders", "training", "eval")


def modules() -> list[str]:
    found = ["cytoimagenet"]
    for name in PACKAGES:
        package = importlib.import_module(f"cytoimagenet.{name}")
        found += [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_run(name, tmp_path, monkeypatch):
    if name == "cytoimagenet.eval.run_all":
        return  # a script: it changes the path when imported
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_public_names_have_an_example():
    """What people see first in the reference shows how it is used."""
    without = []
    for name in cytoimagenet.__all__:
        value = getattr(cytoimagenet, name)
        if callable(value) and ">>>" not in (value.__doc__ or ""):
            without.append(name)
    assert without == []
