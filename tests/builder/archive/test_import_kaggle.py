"""The published archive in all its forms: bytes unchanged, everything counted, nothing dangerous opened."""

import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.archive import check as archive_check
from cytoimagenet.builder.archive.download import download
from cytoimagenet.builder.archive.import_kaggle import import_archive
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.ranges import reader_of
from cytoimagenet.builder.errors import CytoImageNetError, MetadataError, UsageError
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.images.guard import ImageLimits
from cytoimagenet.builder.shards.verify import verify

from tests.builder.archive import at_fault
from tests.builder.archive.archive_of_many import tiny_png, write_archive

MAX_MEGABYTES = 295  # above the start, for 100,000 images: 237 to 269 measured; such a list takes 71 more
LABELS = {"actin": "cell_visible", "s35651": "sirna", "pd 98,059": "compound"}


def images(n=12, seed=0):
    rng = np.random.default_rng(seed)
    return [encode_png(rng.integers(0, 256, (20 + i, 24), dtype=np.uint8)) for i in range(n)]


def rows(per_label=4):
    lines = []
    for label, column in LABELS.items():
        for i in range(per_label):
            line = dict.fromkeys(
                ("organism", "cell_type", "cell_visible", "phenotype", "compound", "gene", "sirna"), ""
            )
            line |= {
                "label": label,
                "category": column,
                "database": "Recursion",
                "name": "RxRx1",
                "dir_name": "rec_rxrx1",
            }
            line |= {"path": f"/home/someone/cytoimagenet/{label}", "filename": f"{label}-{i:03b}.png"}
            line |= {"idx": f"rec_rxrx1-{len(lines)}", "microscopy": "fluorescence", "channels": "nucleus|er"}
            line |= {
                "crop": i % 2 == 0,
                "scaling": 0.5,
                "x_min": 3,
                "x_max": 27,
                "y_min": 1,
                "y_max": 21,
                column: label,
            }
            line |= {"organism": "human"}
            lines.append(line)
    return pd.DataFrame(lines)


def files_of(table, pngs):
    return {f"cytoimagenet/{r.label}/{r.filename}": png for r, png in zip(table.itertuples(), pngs, strict=True)}


def pack(place: Path, files: dict, table: pd.DataFrame | None, form: str, *, method=zipfile.ZIP_DEFLATED):
    files = dict(files)
    if table is not None:
        files["cytoimagenet/metadata.csv"] = table.to_csv(index=False).encode()
    if form == "folder":
        for name, content in files.items():
            (place / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "unpacked" / name).write_bytes(content)
        return place / "unpacked"
    with zipfile.ZipFile(place / "archive.zip", "w", method) as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=form == "zip64") as file:
                file.write(content)
    return place / "archive.zip"


def stored_bytes(out):
    table = pd.read_parquet(Path(out) / "metadata.parquet")
    contents = reader_of(out)(*(table[c].tolist() for c in ("shard", "offset", "size")))
    return dict(zip(table["filename"], contents, strict=True)), table


@pytest.mark.parametrize("form", ["zip", "zip64", "folder"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bytes_come_through_unchanged(tmp_path, form, method):
    table, pngs = rows(), images()
    archive = pack(tmp_path, files_of(table, pngs), table, form, method=method)
    imported = import_archive(archive, tmp_path / "out")
    assert (imported.rows, imported.kept, imported.classes, imported.reasons) == (12, 12, 3, {})
    assert imported.categories == {"cell_visible": 1, "sirna": 1, "compound": 1}
    found, metadata = stored_bytes(tmp_path / "out")
    assert found == dict(zip(table["filename"], pngs, strict=True))
    assert set(metadata["stains"]) == {"nucleus|er"}
    assert metadata.loc[metadata["crop"], ["x_min", "x_max", "y_min", "y_max"]].drop_duplicates().values.tolist() == [
        [3, 27, 1, 21]
    ]
    verify(tmp_path / "out")
    assert "890,737" in str(imported)
    assert "-890,725" in str(imported)


def test_old_columns_are_understood(tmp_path):
    table = rows().drop(columns=["category", "microscopy"]).rename(columns={"cell_visible": "cell_component"})
    table.insert(0, "Unnamed: 0", range(len(table)))
    table = table.assign(
        duplicate=False, unreadable=False, checked=True, dset="train", path="cytoimagenet/" + table.label
    )
    imported = import_archive(pack(tmp_path, files_of(rows(), images()), table, "zip"), tmp_path / "out")
    assert imported.categories == {"cell_visible": 1, "sirna": 1, "compound": 1}


def test_every_defect_is_counted(tmp_path):
    table, pngs = rows(), images()
    files = files_of(table, pngs)
    names = list(files)
    del files[names[0]]  # absent
    files[names[1]] = b"\x89PNG not really"  # broken
    files[names[3]] = files[names[2]]  # the same pixels twice
    files["cytoimagenet/elsewhere/" + names[4].rsplit("/", 1)[1]] = files.pop(names[4])  # moved
    files["cytoimagenet/actin/unknown.png"] = pngs[0]  # extra
    cv2 = pytest.importorskip("cv2")
    files[names[5]] = cv2.imencode(".png", np.full((8, 8, 3), 7, np.uint8))[1].tobytes()  # RGB
    imported = import_archive(pack(tmp_path, files, table, "zip"), tmp_path / "out")
    assert imported.reasons == {"absent": 1, "unreadable": 2, "duplicate": 1, "renamed": 1, "extra": 1}
    assert imported.kept == 8
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert rejected["reason"].value_counts().to_dict() == imported.reasons
    assert set(rejected.loc[rejected["reason"] == "unreadable", "detail"]) == {"not a PNG", "not 8-bit greyscale"}
    assert Manifest.load(tmp_path / "out").counts["reasons"] == imported.reasons


def test_all_crops_of_a_source_are_in_one_split(tmp_path):
    table = rows(40)
    table["idx"] = [f"rec_rxrx1-{i // 4}" for i in range(len(table))]
    table["filename"] = [f"{label}-{i}.png" for i, label in enumerate(table.label)]
    import_archive(pack(tmp_path, files_of(table, images(120)), table, "zip"), tmp_path / "out")
    _, metadata = stored_bytes(tmp_path / "out")
    assert (metadata.groupby("idx")["split"].nunique() == 1).all()
    assert 0.05 < (metadata["split"] == "validation").mean() < 0.2


class Stopped(Exception):
    """What ends a run in the middle of its checks."""


def test_what_was_checked_is_not_opened_again(tmp_path, monkeypatch):
    table = rows()
    archive = pack(tmp_path, files_of(table, images()), table, "zip")
    monkeypatch.setattr(archive_check, "ROWS_PER_NOTE", 5)
    opened = []
    real = archive_check.each_image

    def counting(*args, **options):
        for result in real(*args, **options):
            opened.append(result)
            if len(opened) == 8:
                raise Stopped
            yield result

    monkeypatch.setattr(archive_check, "each_image", counting)
    with pytest.raises(Stopped):
        import_archive(archive, tmp_path / "out", workers=1)
    before = len(opened)
    imported = import_archive(archive, tmp_path / "out", workers=1)
    assert imported.kept == 12
    assert len(opened) - before == 7  # the first five were noted
    assert not list(tmp_path.rglob("listing.arrow"))
    again = tmp_path / "again"
    import_archive(archive, again, workers=2)
    for file in sorted(p.relative_to(again) for p in again.rglob("*.tar")):
        assert (again / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_an_image_that_ends_its_process_or_takes_too_much_is_a_counted_row(tmp_path, monkeypatch):
    table = rows()
    archive = pack(tmp_path, files_of(table, images()), table, "zip")
    monkeypatch.setattr(archive_check, "check_image", at_fault.check_image)
    limits = ImageLimits(seconds=1, memory_bytes=2**30)
    monkeypatch.setattr(archive_check, "each_image", partial(archive_check.each_image, limits=limits))
    imported = import_archive(archive, tmp_path / "out", workers=2)
    assert imported.kept == 9
    assert imported.reasons == {"unreadable": 1, "too_slow": 1, "too_much_memory": 1}
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert rejected[["file", "detail"]].values.tolist() == [
        ["s35651-001.png", "the process that read it died, twice"],
        ["s35651-010.png", "more than 1 seconds of processor time"],
        ["s35651-011.png", "more than 1 GiB of memory"],
    ]
    stored, _ = stored_bytes(tmp_path / "out")
    assert set(stored) == set(table["filename"]) - set(rejected["file"])


DYING = """
import os, signal, sys
import cytoimagenet
from cytoimagenet.builder.archive.download import download
from cytoimagenet.builder.shards import format as shardformat
from cytoimagenet.builder.archive import check as archive_check

where, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
def die_in_time():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

if where == "check":
    each_image = archive_check.each_image
    def dying(*args, **options):
        for result in each_image(*args, **options):
            die_in_time()
            yield result
    archive_check.each_image = dying
else:
    write = shardformat.Tally.write
    def dying(*args):
        die_in_time()
        return write(*args)
    shardformat.Tally.write = dying
archive_check.ROWS_PER_NOTE = 5
cytoimagenet.main()
"""


def test_the_command_killed_twice_and_run_again_gives_the_same_bytes(tmp_path):
    """Kill -9 while images are opened, then while shards are written, then the plain command to its end."""
    table = rows(30)
    table["filename"] = [f"{label}-{i}.png" for i, label in enumerate(table.label)]
    archive = pack(tmp_path, files_of(table, images(90)), table, "zip")
    plain = [str(Path(sys.executable).with_name("cytoimagenet"))]

    def run(command, out):
        words = ["import-kaggle", str(archive), "--out", str(tmp_path / out), "--shard-size", "10KB"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=False)

    assert run(plain, "whole").returncode == 0
    for where, after in (("check", "43"), ("write", "50")):
        assert run([sys.executable, "-c", DYING, where, after], "killed").returncode == -9
        assert len(list((tmp_path / "killed.import" / "checked").glob("0*.parquet"))) == (8 if where == "check" else 18)
        assert not (tmp_path / "killed" / "manifest.json").exists()
    assert list((tmp_path / "killed" / "data").glob("*.tar")), "the kill came too early to show anything"
    again = run(plain, "killed")
    assert again.returncode == 0, again.stderr
    for kind in ("", ".import"):
        files, whole = (
            {p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file() and "checked" not in p.parts}
            for top in (tmp_path / f"killed{kind}", tmp_path / f"whole{kind}")
        )
        assert files == whole


OF_MANY = """
import sys
from pathlib import Path
import cv2
from cytoimagenet.builder.pages import write as pages, preview  # what is imported on the way does not count
from cytoimagenet.builder.archive.import_kaggle import import_archive

def most():  # of this process alone; getrusage counts the one that started it as well
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1000

before = most()
imported = import_archive(sys.argv[1], sys.argv[2], workers=2, shard_size=1_000_000)
print(imported.rows, imported.kept, imported.classes, sorted(imported.reasons.items()), most() - before, sep="\\n")
"""


def test_a_hundred_thousand_images_are_counted_in_bounded_memory(tmp_path):
    """Python's own list of the zip's entries would take 71 MB; it must not fit."""
    many = 100_000
    other = dict.fromkeys(range(0, many, 10_000)) | dict.fromkeys(range(5, many, 5_000), b"broken" * 10)
    other |= {number: tiny_png(number + 1) for number in range(7, many, 2_000)}
    archive = write_archive(tmp_path / "archive.zip", many, other)
    command = [sys.executable, "-c", OF_MANY, archive, tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows_, kept, classes, reasons, megabytes = done.stdout.splitlines()
    assert (int(rows_), int(kept), int(classes)) == (many, many - 10 - 20 - 50, 894)
    assert reasons == str([("absent", 10), ("duplicate", 50), ("unreadable", 20)])
    manifest = Manifest.load(tmp_path / "out")
    assert manifest.rows("train") + manifest.rows("validation") == int(kept)
    assert len(schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED, ["reason"])) == 80
    assert int(megabytes) < MAX_MEGABYTES


@pytest.mark.parametrize(
    "name", ["../escape.png", "/etc/escape.png", "C:\\escape.png", "cytoimagenet/../../escape.png"]
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    table = rows()
    imported = import_archive(pack(tmp_path, {**files_of(table, images()), name: b"x"}, table, "zip"), tmp_path / "out")
    assert imported.kept == 12
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert rejected.loc[rejected["reason"] == "extra", "detail"].tolist() == ["leads out of the archive"]
    assert not list(tmp_path.rglob("*escape*"))


def test_a_bomb_is_not_inflated(tmp_path):
    table, pngs = rows(), images()
    files = files_of(table, pngs)
    name = next(iter(files))
    files[name] = bytes(2**26 + 1)
    imported = import_archive(pack(tmp_path, files, table, "zip"), tmp_path / "out")
    assert imported.reasons == {"absent": 1, "extra": 1}
    # an entry that announces less than it holds stops one byte later
    archive = pack(tmp_path, files_of(table, [b"\0" * 10_000_000, *pngs[1:]]), table, "zip")
    content = bytearray(archive.read_bytes())
    where = content.find((10_000_000).to_bytes(4, "little"), content.find(b"PK\x01\x02"))
    content[where : where + 4] = (50).to_bytes(4, "little")
    archive.write_bytes(content)
    imported = import_archive(archive, tmp_path / "second")
    assert imported.reasons == {"unreadable": 1}


def test_symbolic_links_are_not_followed(tmp_path):
    table = rows()
    folder = pack(tmp_path, files_of(table, images()), table, "folder")
    name = next(iter(files_of(table, images())))
    (folder / name).unlink()
    (tmp_path / "secret.png").write_bytes(images()[0])
    os.symlink(tmp_path / "secret.png", folder / name)
    imported = import_archive(folder, tmp_path / "out")
    assert imported.reasons == {"absent": 1, "extra": 1}
    info = zipfile.ZipInfo("cytoimagenet/link.png")
    info.external_attr = 0o120777 << 16
    archive = pack(tmp_path, files_of(table, images()), table, "zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(info, "/etc/passwd")
    assert import_archive(archive, tmp_path / "second").reasons == {"extra": 1}


def test_errors_name_the_problem(tmp_path):
    table = rows()
    with pytest.raises(UsageError, match="no such archive"):
        import_archive(tmp_path / "nothing.zip", tmp_path / "out")
    with pytest.raises(UsageError, match=r"metadata\.csv"):
        import_archive(pack(tmp_path, {"a/b.png": b"x"}, None, "zip"), tmp_path / "out")
    archive = pack(tmp_path, files_of(table, images()), table, "zip")
    with pytest.raises(UsageError, match="webdataset, parquet"):
        import_archive(archive, tmp_path / "out", format="zip")
    assert not (tmp_path / "out.import").exists()
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UsageError, match="Not a complete zip"):
        import_archive(archive, tmp_path / "out")
    with pytest.raises(MetadataError, match="no column label"):
        import_archive(pack(tmp_path, {}, table.drop(columns="label"), "zip"), tmp_path / "out")
    ragged = table.to_csv(index=False) + "a,b\n"
    with pytest.raises(MetadataError, match="can't be read"):
        import_archive(pack(tmp_path, {"metadata.csv": ragged.encode()}, None, "zip"), tmp_path / "out")


class Kagglehub(ModuleType):
    """The real client can't be reached here: a stand-in records what it is asked for, and fails on request."""

    def __init__(self, answer):
        super().__init__("kagglehub")
        self.exceptions, self.answer, self.asked = ModuleType("exceptions"), answer, []

    def dataset_download(self, name):
        self.asked.append(name)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class SomeError(Exception):
    """One of kagglehub's own, which have no base class in common."""


def test_the_download_goes_through_kagglehub(tmp_path, monkeypatch):
    stub = Kagglehub(str(tmp_path))
    monkeypatch.setitem(sys.modules, "kagglehub", stub)
    assert download() == str(tmp_path)
    assert stub.asked == ["stanleyhua/cytoimagenet"]
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(UsageError, match=r"cytoimagenet\[kaggle\]"):
        download()


@pytest.mark.parametrize("error", [ConnectionError("no network\nat all"), SomeError("log in first"), SomeError()])
def test_a_failed_download_describes_the_download_by_hand(error, monkeypatch):
    stub = Kagglehub(error)
    stub.exceptions.SomeError = SomeError
    monkeypatch.setitem(sys.modules, "kagglehub", stub)
    with pytest.raises(CytoImageNetError) as caught:
        download()
    first = (str(error) or "SomeError").splitlines()[0]
    assert caught.value.what == f"Kaggle did not give the archive: {first}"
    assert "by hand" in str(caught.value.next)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = rows()
    archive = pack(tmp_path, files_of(table, images()), table, "zip")
    command = [Path(sys.executable).with_name("cytoimagenet"), "import-kaggle", archive, "--out", "cytoimagenet"]
    done = subprocess.run([str(c) for c in command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 images of 12 rows kept, 3 classes" in done.stdout
    done = subprocess.run([str(c) for c in [*command[:2], *command[3:]]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--download" in done.stderr
    elsewhere = "from cytoimagenet.builder.dataset.find import find; print(find())"
    found = subprocess.run([sys.executable, "-c", elsewhere], cwd=archive.parents[1], capture_output=True, text=True)
    assert found.stdout.strip() == str(tmp_path / "cytoimagenet"), found.stderr
