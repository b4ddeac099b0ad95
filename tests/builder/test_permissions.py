"""Files and folders that an ordinary user may not read or write: one line that names them, and images are counted."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import cytoimagenet
import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.archive.import_kaggle import import_archive
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages.browse import write_site
from cytoimagenet.builder.pages.write import write_pages
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.loaders.cache import build_cache

from tests.builder.archive.test_import_kaggle import files_of, images, pack, rows
from tests.builder.curate import curated_sources

NOBODY = 65_534
pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 and not all(one.stat().st_mode & 0o001 for one in (Path(sys.prefix), *Path(sys.prefix).parents)),
    reason="an ordinary user may not read the packages of this environment",
)


def may_be_run():
    """Return whether an ordinary user may start this Python: import-kaggle reads images in new processes."""
    python = Path(sys.executable).resolve()
    return all(path.stat().st_mode & 0o001 for path in (python, *python.parents))


@contextmanager
def ordinary_user():
    """Be an ordinary user within this context: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder():
    """A folder of the ordinary user, who may not enter pytest's if that is root's."""
    place = Path(tempfile.mkdtemp(prefix="cytoimagenet-permissions-"))
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    here = Path.cwd()
    os.chdir(place)
    yield place
    os.chdir(here)
    for path in (place, *place.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(place)


@pytest.fixture
def call(warm, monkeypatch, capsys):
    """Run a command as an ordinary user; return its code and what it printed."""

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["cytoimagenet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended, ordinary_user():
            cytoimagenet.main()
        printed = capsys.readouterr()
        return ended.value.code, " ".join((printed.out + printed.err).split())

    return called


@pytest.fixture(scope="module")
def warm(tmp_path_factory, small_curated):
    """Import what the commands import: the ordinary user may be unable to read our libraries."""
    place = tmp_path_factory.mktemp("warm")
    write_dataset(small_curated, place / "dataset")
    verify(place / "dataset")
    build_cache(place / "dataset", size=8, folder=place / "cache", workers=1)
    write_pages(Manifest.load(place / "dataset"))
    write_site(place / "dataset", place / "site")
    curate(curated_sources.make(place / "raw", images=1), place / "raw", place / "curated", workers=0)
    import_archive(pack(place, files_of(rows(), images()), rows(), "zip"), place / "imported")


def hidden(path):
    """Let nobody read a file, or enter a folder."""
    path.chmod(0)
    return path


def fixed(folder):
    """Let nobody write to a folder."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    return folder


@pytest.mark.parametrize("name", ["manifest.json", "metadata.parquet", "data/train*.tar"])
def test_a_file_of_a_dataset_that_may_not_be_read(folder, small_dataset, call, name):
    shutil.copytree(small_dataset, folder / "dataset")
    path = hidden(next((folder / "dataset").glob(name)))
    for command in ("info", "verify", "browse", "cache"):
        if command == "info" and name != "manifest.json":
            continue
        out = [] if command in ("info", "verify") else ["--out", folder / "out"]
        code, printed = call(command, "dataset", *out)
        assert code == 1, (command, printed)
        assert "ermission denied" in printed, (command, printed)
        assert path.name in printed, (command, printed)


def test_a_folder_that_may_not_be_entered(folder, small_dataset, call):
    shutil.copytree(small_dataset, folder / "dataset")
    hidden(folder / "dataset")
    for command in ("info", "verify"):
        code, printed = call(command, "dataset")
        assert code == 1
        assert "ermission denied" in printed, printed


def test_folders_that_may_not_be_written(folder, small_curated, small_dataset, call):
    shutil.copytree(small_curated, folder / "curated")
    shutil.copytree(small_dataset, folder / "dataset")
    archive = pack(folder, files_of(rows(), images()), rows(), "zip")
    out = fixed(folder / "out")
    fixed(folder / "dataset")
    for arguments in (
        ("shard", "curated", "--out", out),
        ("shard", "curated", "--out", out / "deeper"),
        ("import-kaggle", archive, "--out", out / "deeper"),
        ("cache", "dataset", "--out", out),
        ("card", "dataset"),
        ("browse", "dataset", "--out", out),
    ):
        code, printed = call(*arguments)
        assert code == 1, (arguments, printed)
        assert "ermission denied" in printed, (arguments, printed)
        assert str(folder) in printed or "dataset" in printed, (arguments, printed)
    assert list(out.iterdir()) == []


def test_an_image_that_may_not_be_read_is_a_counted_row(folder, call):
    schema.write(curated_sources.make(folder / "raw", images=2), folder / "selection.parquet", schema.SELECTION)
    images_of_source = sorted(path for path in (folder / "raw").rglob("*") if path.is_file())
    hidden(images_of_source[0])
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    code, printed = call("curate", "selection.parquet", "--raw", "raw", "--out", "curated", "--workers", "0")
    assert code == 0, printed
    rejected = pd.read_parquet(folder / "curated" / "rejected.parquet")
    assert rejected["detail"].str.contains("ermission denied").sum() == 1


@pytest.mark.skipif(os.geteuid() == 0 and not may_be_run(), reason="an ordinary user may not start this Python")
def test_an_archive_with_an_image_that_may_not_be_read(folder, call):
    archive = pack(folder, files_of(rows(), images()), rows(), "folder")
    hidden(next(archive.rglob("*.png")))
    code, printed = call("import-kaggle", archive, "--out", folder / "out")
    assert code == 0, printed
    rejected = pd.read_parquet(folder / "out" / "rejected.parquet")
    assert rejected["detail"].tolist() == ["Permission denied"]


def test_an_archive_that_may_not_be_read(folder, call):
    hidden(pack(folder, files_of(rows(), images()), rows(), "zip"))
    code, printed = call("import-kaggle", folder / "archive.zip", "--out", folder / "other")
    assert code == 1
    assert "ermission denied" in printed
    assert "archive.zip" in printed
