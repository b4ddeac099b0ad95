"""`tools/verify_dataset.py`, which needs no package, has the verdict of `verify` on every damage."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset import manifest_form, names
from cytoimagenet.builder.shards.verify import inspect
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOOL = Path(__file__).parents[3] / "tools" / "verify_dataset.py"
_spec = importlib.util.spec_from_file_location("verify_dataset", TOOL)
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("small")
    write_curated(base / "curated", classes=2, images=12)
    write_dataset(base / "curated", base / "webdataset")
    write_dataset(base / "curated", base / "parquet", format="parquet")
    return base


def run(*arguments):
    command = [sys.executable, "-I", "-S", TOOL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout


def test_it_needs_no_package(folders, tmp_path):
    assert run(folders / "webdataset") == (0, "Complete and undamaged. Not checked: who wrote it.\n")
    shutil.copytree(folders / "webdataset", tmp_path / "copy")
    (tmp_path / "copy" / "x\x1b[2J\udce9.py").write_text("")
    (tmp_path / "copy" / "README.md").unlink()
    code, text = run(tmp_path / "copy")
    assert code == 1 and text.isascii() and "\x1b" not in text
    assert [line.split(":")[0] for line in text.splitlines()] == ["README.md", r"'x\x1b[2J\udce9.py'", "2 problems"]
    assert run()[0] == 2 and run(tmp_path / "absent")[0] == 1
    assert run("--help")[0] == 0


def test_its_lists_are_those_of_the_software():
    assert tool.NAMES == names.NAMES
    assert (tool.FORMATS, tool.TABLES) == (names.FORMATS, (names.METADATA, names.CLASSES, names.REJECTED))
    assert tool.OUTSIDE_THE_DIGEST == manifests._OUTSIDE_THE_DIGEST
    assert (tool.KEYS, tool.ENTRIES) == (manifest_form.KEY_TYPES, manifest_form.ENTRY_TYPES)
    assert tool.MAX_MANIFEST_BYTES == manifests.MAX_MANIFEST_BYTES
    assert schema.READABLE == tool.SCHEMAS


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(folder, choose):
    path = choose(files(folder))
    content = bytearray(path.read_bytes())
    if content:
        content[choose(range(len(content)))] ^= 1 << choose(range(8))
        path.write_bytes(content)


def cut(folder, choose):
    path = choose(files(folder))
    content = path.read_bytes()
    path.write_bytes(content[: choose(range(len(content) + 1))])


def extend(folder, choose):
    with open(choose(files(folder)), "ab") as file:
        file.write(choose([b"\0", b" ", b"\n", b"{}"]))


def remove(folder, choose):
    choose(files(folder)).unlink()


def exchange(folder, choose):
    first, second = choose(files(folder)), choose(files(folder))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def rename(folder, choose):
    path = choose(files(folder))
    path.rename(path.with_name(choose([path.name.upper(), path.name.lower(), f"{path.name}.bak", f"x-{path.name}"])))


def add(folder, choose):
    name = choose([*UNEXPECTED, *HARMLESS])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")


UNEXPECTED = (
    "x.py",
    "data/x.tar",
    "data/train-00000-of-00009.tar",
    "a/README.md",
    "-",
    "data/.cache/x",
    "manifest.JSON",
)
HARMLESS = (".cache/x", ".git/HEAD", ".gitattributes", "data/.DS_Store", "manifest.sig")


def replace_by_folder(folder, choose):
    path = choose(files(folder))
    path.unlink()
    path.mkdir()


def replace_by_pipe(folder, choose):
    path = choose(files(folder))
    path.unlink()
    os.mkfifo(path)


def link(folder, choose):
    """A link to the same bytes, to others, or to nothing."""
    path = choose(files(folder))
    elsewhere = folder.with_name("elsewhere")
    content = path.read_bytes()
    elsewhere.write_bytes(choose([content, content[:-1] + b"?"]))
    path.unlink()
    path.symlink_to(choose([elsewhere, folder.with_name("absent")]))


def edit(folder, choose):
    """Another content of the manifest, with a correct digest and seal, as somebody would write who knows both."""
    try:
        data = json.loads((folder / "manifest.json").read_bytes())
        where = data
        for _ in range(choose(range(3))):
            inner = [value for value in where.values() if isinstance(value, dict) and value]
            where = choose(inner) if inner else where
        key = choose(sorted(where))
        value = choose([None, 0, -1, 10**30, "", "x", [], {}, {"x": {}}, {"../x": {}}, "0" * 64, True, 1.5])
        change = choose(["set", "remove", "rename"])
        if change == "set":
            where[key] = value
        else:
            removed = where.pop(key)
            if change == "rename":
                where[choose([f"{key}x", key.upper(), "../x", "setup.py"])] = removed
        data["digest"] = manifests.digest(data)
        data["seal"] = manifests.seal(data)
        (folder / "manifest.json").write_bytes(manifests.rendered(data))
    except (OSError, ValueError, AttributeError):
        return  # an earlier damage left no manifest


DAMAGES = (flip, cut, extend, remove, exchange, rename, add, replace_by_folder, replace_by_pipe, link, edit)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["webdataset", "parquet"]),
    damages=st.lists(st.sampled_from(DAMAGES), max_size=2),
    data=st.data(),
)
def test_the_verdict_is_that_of_verify(form, damages, data, folders, tmp_path):
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(folders / form, folder)
    for damage in damages:
        if files(folder):
            damage(folder, lambda values: data.draw(st.sampled_from(values)))
    ours, its = inspect(folder, workers=1).problems, tool.check(str(folder))
    if edit in damages and not its:
        assert all("manifest" in problem or "differ" in problem for problem in ours)  # of what is in the files
    else:
        assert bool(ours) == bool(its), (ours, its)
    if not damages:
        assert not its


@pytest.mark.parametrize("damage", [flip, cut, extend, remove, replace_by_folder, replace_by_pipe])
def test_a_damage_is_found_in_its_file(damage, folders, tmp_path):
    """The property above would also hold if nothing were ever found."""
    for path in files(folders / "parquet"):
        name = path.relative_to(folders / "parquet")
        folder = tmp_path / name.name
        shutil.copytree(folders / "parquet", folder)
        damage(folder, lambda values, harmed=folder / name: harmed if harmed in values else values[0])
        assert tool.check(str(folder))[0].startswith(str(name))


@pytest.mark.parametrize("name", UNEXPECTED)
def test_an_unexpected_file_is_named(name, folders, tmp_path):
    shutil.copytree(folders / "parquet", tmp_path / "copy")
    add(tmp_path / "copy", lambda _: name)
    assert tool.check(str(tmp_path / "copy")) == [f"{name!r}: unexpected"]
