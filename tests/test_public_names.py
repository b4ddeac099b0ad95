"""The public names of the package: imported at first use, the same for Python and for type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cytoimagenet
import pytest

SOURCE = Path(cytoimagenet.__file__).read_text()


def test_every_public_name_is_imported_from_its_module():
    assert sorted(cytoimagenet.__all__) == sorted(cytoimagenet._MODULE_OF)
    for name in cytoimagenet.__all__:
        value = getattr(cytoimagenet, name)
        assert value is getattr(sys.modules[f"cytoimagenet.{cytoimagenet._MODULE_OF[name]}"], name)
        assert name in dir(cytoimagenet)


def test_type_checkers_see_the_same_names_and_modules():
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == cytoimagenet._MODULE_OF


def test_the_function_train_does_not_hide_the_package_training():
    assert callable(cytoimagenet.train)
    import cytoimagenet.training.train as module

    assert module.train is cytoimagenet.train
    assert cytoimagenet.training.__path__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        cytoimagenet.trian  # noqa: B018


def test_the_import_loads_none_of_their_libraries():
    heavy = ("torch", "transformers", "datasets", "pandas", "cv2", "sklearn")
    code = f"import sys, cytoimagenet; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
