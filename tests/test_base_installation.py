"""With the base requirements alone, every command and every public name works or names the extra that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import cytoimagenet
import pytest
from cytoimagenet.builder.extras import MODULES_OF, MissingPackageError, naming_the_extra

from tests.base_environment import make_base_environment

WORKS = "works"
COMMANDS = {
    # command: what it prints in a base installation, and arguments with which it does its work
    "sources": (WORKS, "bbbc013"),
    "catalog": (WORKS, "raw --out catalog.parquet"),
    "label": (WORKS, "catalog.parquet --out selection.parquet --min-images 1"),
    "curate": ("build", "selection.parquet --raw raw --out curated.new"),
    "build": ("build", "raw --out built --min-images 1"),
    "qc": ("build", "curated --raw raw --out qc.png"),
    "images": ("build", "raw"),
    "shard": ("build", "curated --out sharded"),
    "verify": (WORKS, "cytoimagenet"),
    "sign": ("sign", "cytoimagenet --key key.pem"),
    "info": (WORKS, "cytoimagenet"),
    "preview": (WORKS, "cytoimagenet --out montage.png"),
    "card": ("build", "cytoimagenet"),
    "browse": ("build", "cytoimagenet --out site"),
    "import-kaggle": ("build", "unpacked --out imported"),
    "pull": ("offline", "me/cytoimagenet"),
    "push": ("offline", "cytoimagenet me/cytoimagenet"),
    "cache": ("train", "cytoimagenet --out decoded"),
    "train": ("train", "cytoimagenet --out run"),
    "convert-weights": ("train", "weights.h5 model"),
    "push-model": ("train", "run me/model"),
    "export": ("onnx", "run --out model.onnx"),
    "eval": ("train", "--tasks cyclops --data evaldata"),
    "features": ("train", "raw --model random"),
    "embed": ("train", "cytoimagenet --model random"),
    "audit": ("train", "cytoimagenet"),
    "similar": ("train", "cytoimagenet actin-000000"),
    "explore": ("train", "composition cytoimagenet --out figures"),
    "demo": ("imagenet", "--out demo"),
}
PUBLIC = {
    # public name: the extra that it needs, and code that uses it
    "SOURCES": (WORKS, "len(c.SOURCES)"),
    "CytoImageNet": (WORKS, "c.CytoImageNet(data_dir='cytoimagenet').info.features"),
    "MapDataset": ("train", "c.MapDataset('cytoimagenet')"),
    "assign_labels": (WORKS, "c.assign_labels"),
    "class_weights": (WORKS, "c.class_weights('cytoimagenet')"),
    "evaluate": ("train", "c.evaluate('cyclops', 'features.parquet')"),
    "extract_features": ("train", "c.extract_features('raw')"),
    "import_archive": ("build", "c.import_archive('unpacked', 'imported.new')"),
    "load_backbone": ("train", "c.load_backbone('imagenet')"),
    "load_dataset": (WORKS, "c.load_dataset(split='validation')[0]['image'].size"),
    "merge_channels": ("build", "c.merge_channels"),
    "normalise": ("build", "c.normalise"),
    "read_channel": ("build", "c.read_channel('a.tif')"),
    "read_images": (WORKS, "len(c.read_images(pd.read_parquet('cytoimagenet/metadata.parquet')[:3]))"),
    "stream": ("train", "c.stream('cytoimagenet', split='train')"),
    "train": ("train", "c.train('cytoimagenet')"),
    "webdataset": (WORKS, "len(list(c.webdataset('cytoimagenet', 'validation')))"),
}
RUN_COMMANDS = """
import contextlib, io, json, sys, traceback
import cytoimagenet
from cytoimagenet.builder import console
done = {}
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv = ["cytoimagenet", name, *arguments.split()]
    out, code = io.StringIO(), None
    console.out.file = console.err.file = out
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            cytoimagenet.main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
    done[name] = [code, out.getvalue()]
print(json.dumps(done))
"""
USE_NAMES = """
import json, sys
import cytoimagenet as c
import pandas as pd
done = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        eval(code)
        done[name] = "works"
    except ImportError as error:
        done[name] = str(error)
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def base_python(tmp_path_factory, checkout):
    """Return the Python of a base installation; .ci/wheel names one in which pip installed the built wheel."""
    if real := os.environ.get("CYTOIMAGENET_BASE_PYTHON"):
        return real
    return make_base_environment(tmp_path_factory.mktemp("base") / "env", checkout)


@pytest.fixture(scope="module")
def work(tmp_path_factory, small_curated, small_dataset):
    """A working directory with something for each command: raw sources, a curated folder, a dataset, an archive."""
    from cytoimagenet.builder.simulate.source import simulate_source

    folder = tmp_path_factory.mktemp("work")
    (folder / "curated").symlink_to(small_curated)
    (folder / "cytoimagenet").symlink_to(small_dataset)
    simulate_source("bbbc041", folder / "raw", seed=0, fields=4)
    (folder / "unpacked").mkdir()
    (folder / "unpacked" / "metadata.csv").write_text("label,category,dir_name,idx,filename,path\n")
    return folder


def answers(python, code, table, cwd):
    command = [str(python), "-c", code, json.dumps({name: arguments for name, (_, arguments) in table.items()})]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_environment_has_no_other_packages(base_python):
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    modules = {name for names in MODULES_OF.values() for name in names} - {"yaml", "filelock"}
    done = subprocess.run([base_python, "-c", code, *modules], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"  # except for those that the base requirements need themselves


def test_every_command_works_or_names_its_extra(base_python, work):
    import typer
    from cytoimagenet.builder import console

    app = console.application("0")
    for package in ("builder", "loaders", "training", "eval"):
        __import__(f"cytoimagenet.{package}.commands", fromlist=["add_to"]).add_to(app)
    assert set(typer.main.get_command(app).commands) == set(COMMANDS), "add the command to the table above"
    printed = answers(base_python, RUN_COMMANDS, COMMANDS, work)
    wrong = {}
    for name, (expected, _) in COMMANDS.items():
        code, text = printed[name]
        if expected == WORKS:
            good = code == 0
        elif expected == "offline":
            good = code != 0 and "Error:" in text
        else:
            good = code == 2 and f"This needs more packages: pip install 'cytoimagenet[{expected}]'" in text
        if not good or "Traceback" in text:
            wrong[name] = (expected, code, text[-400:])
    assert wrong == {}


def test_every_public_name_works_or_names_its_extra(base_python, work):
    assert set(PUBLIC) == set(cytoimagenet.__all__), "add the name to the table above"
    printed = answers(base_python, USE_NAMES, PUBLIC, work)
    for name, (expected, _) in PUBLIC.items():
        if expected == WORKS:
            assert printed[name] == WORKS, name
        else:
            assert f"pip install 'cytoimagenet[{expected}]'" in printed[name], name


def test_every_package_of_an_extra_is_in_the_table(checkout):
    """The modules that the extras of pyproject.toml install, by the distributions of this environment."""
    extras = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    modules: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    from packaging.requirements import Requirement

    for extra in MODULES_OF:
        for requirement in map(Requirement, extras[extra]):
            name = requirement.name.lower().replace("_", "-")
            if name != "cytoimagenet" and name in modules:
                assert modules[name] & set(MODULES_OF[extra]), f"{extra}: {requirement.name}"


def test_a_module_of_no_extra_is_not_explained(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="nowhere") as raised, naming_the_extra():
        import nowhere  # noqa: F401
    assert not isinstance(raised.value, MissingPackageError)
    with pytest.raises(ModuleNotFoundError) as raised, naming_the_extra():
        import sklearn.nowhere  # noqa: F401
    assert not isinstance(raised.value, MissingPackageError)  # installed: another extra would not help
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPackageError, match=r"cytoimagenet\[build\]") as raised, naming_the_extra():
        import h5py  # noqa: F401
    assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize("where", ["checkout", "elsewhere"])
def test_python_m_runs_the_commands(where, checkout, tmp_path):
    cwd = checkout if where == "checkout" else tmp_path
    done = subprocess.run(
        [sys.executable, "-m", "cytoimagenet", "sources", "--json"], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 40
    done = subprocess.run([sys.executable, "-m", "cytoimagenet", "bild"], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 2 and "Usage: cytoimagenet [OPTIONS]" in done.stderr
