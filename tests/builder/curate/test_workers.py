"""The same bytes from any number of workers, after any death, on any storage."""

import multiprocessing
import os
import signal
import subprocess
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate import run, workers
from cytoimagenet.builder.curate.plan import make_plan
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.images.guard import ImageLimits
from cytoimagenet.builder.images.make import PixelSettings
from cytoimagenet.builder.storage import TEMPORARY

from tests.builder.curate import curated_sources as made

SETTINGS = Settings(min_class_size=2, chunk_rows=5)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, made.make(folder)


@pytest.fixture(scope="module")
def reference(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "out"
    curate(raw[1], raw[0], out, settings=SETTINGS, workers=0)
    return made.contents(out)


@pytest.mark.parametrize("how", [{"workers": 2}, {"dask": "local", "workers": 2}], ids=["processes", "dask"])
def test_the_number_of_workers_does_not_matter(how, raw, reference, tmp_path):
    curate(raw[1], raw[0], tmp_path / "out", settings=SETTINGS, **how)
    assert made.contents(tmp_path / "out") == reference


def test_a_worker_killed_during_the_run_does_not_matter(raw, reference, tmp_path, monkeypatch):
    killed = []
    plain = workers.make_chunks

    def make_chunks(*args):
        for done in plain(*args):
            if not killed:
                # whoever works now dies; chunks are in flight
                killed.extend(p.pid for p in multiprocessing.active_children())
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            yield done

    monkeypatch.setattr(run, "make_chunks", make_chunks)
    curate(raw[1], raw[0], tmp_path / "out", settings=SETTINGS, workers=2)
    assert killed
    assert made.contents(tmp_path / "out") == reference


# what every new interpreter runs at its start, if this is a file `sitecustomize.py` on its path
AT_FAULT = """
import builtins, os, signal
plain = builtins.open

def opened(path, *more, **options):
    name = os.path.basename(str(path))
    if name == "a3.tif":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "a4.tif":
        while True:
            pass
    if name == "a5.tif":
        bytearray(2**31)
    if name == "b0_1.tif" and not os.path.exists("once"):
        plain("once", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(path, *more, **options)

builtins.open = opened
"""


def test_an_image_that_ends_its_process_or_takes_too_much_costs_one_row(raw, reference, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(AT_FAULT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    limits = ImageLimits(seconds=2, memory_bytes=2**30)
    pool = workers.workers_of(1)._replace(limits=limits)
    monkeypatch.setattr(run, "workers_of", lambda *_: pool)
    report = curate(raw[1], raw[0], tmp_path / "out", settings=SETTINGS)
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    found = rejected[rejected["idx"].isin(["one-3", "one-4", "one-5"])]
    assert found[["idx", "reason", "detail"]].values.tolist() == [
        ["one-3", "unreadable", "the process that read it died, twice"],
        ["one-4", "too_slow", "more than 2 seconds of processor time"],
        ["one-5", "too_much_memory", "more than 1 GiB of memory"],
    ]
    assert (tmp_path / "once").exists()  # a process that died once was not the fault of its image
    assert report["by_source"]["one"]["rows"]["kept"] == 3
    # all others are as they were
    kept = schema.read(tmp_path / "out" / "rows.parquet", schema.CURATED).set_index("sha256")
    everyone = pq.read_table(pa.BufferReader(reference["rows.parquet"])).to_pandas().set_index("sha256")
    lost = set(everyone[everyone["idx"].isin(["one-3", "one-4", "one-5"])].index)
    assert set(kept.index) == set(everyone.index) - lost


class Died(BaseException):
    """What a kill looks like from inside: nothing catches it."""


@pytest.mark.parametrize("point", range(1, 31))
def test_a_failure_at_any_write_does_not_matter(point, raw, reference, tmp_path, monkeypatch):
    calls = []

    def dying(plain):
        def call(*args):
            calls.append(plain)
            if len(calls) == point:
                raise Died
            return plain(*args)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(os, "fsync", dying(os.fsync))
        with pytest.raises(Died):
            curate(raw[1], raw[0], tmp_path / "out", settings=SETTINGS, workers=0)
    assert (tmp_path / "out" / "curated.json").exists() == (point == 30)  # the last of them comes after its renaming
    curate(raw[1], raw[0], tmp_path / "out", settings=SETTINGS, workers=0)
    assert made.contents(tmp_path / "out") == reference


KILLED = """
import os, signal, sys
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.curate.run import curate

calls, plain = [], os.replace
def replace(*args):
    calls.append(args)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(*args)
os.replace = replace
curate(sys.argv[1], sys.argv[2], sys.argv[3], settings=Settings(min_class_size=2, chunk_rows=5), workers=0)
"""


def test_kill_9_and_run_again(raw, reference, tmp_path):
    schema.write(raw[1], tmp_path / "selection.parquet", schema.SELECTION)
    arguments = [tmp_path / "selection.parquet", raw[0], tmp_path / "out"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list((tmp_path / "out").rglob(f"{TEMPORARY}*"))
    assert not (tmp_path / "out" / "curated.json").exists()
    curate(*arguments, settings=SETTINGS, workers=0)
    assert made.contents(tmp_path / "out") == reference


FULL = """
import resource, sys
import cytoimagenet
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv = ["cytoimagenet", *sys.argv[1:]]
cytoimagenet.main()
"""


def test_a_full_disk_is_reported_and_a_rerun_continues(raw, reference, tmp_path):
    schema.write(raw[1], tmp_path / "selection.parquet", schema.SELECTION)
    arguments = ["curate", tmp_path / "selection.parquet", "--raw", raw[0], "--out", tmp_path / "out"]
    arguments += ["--min-class-size", 2, "--chunk-rows", 5, "--workers", 0]
    ended = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: File too large")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out" / "curated.json").exists()
    assert not list((tmp_path / "out").rglob(f"{TEMPORARY}*"))
    curate(tmp_path / "selection.parquet", raw[0], tmp_path / "out", settings=SETTINGS, workers=0)
    assert made.contents(tmp_path / "out") == reference


def test_memory_in_and_out(raw, reference):
    fs = fsspec.filesystem("memory")
    fs.put(str(raw[0]) + "/", "/lab/raw/", recursive=True)
    try:
        curate(raw[1], "memory://lab/raw", "memory://lab/out", settings=SETTINGS, workers=0)
        curate(raw[1], "memory://lab/raw", "memory://lab/out", settings=SETTINGS, workers=0)
        found = {path.removeprefix("/lab/out/"): fs.cat_file(path) for path in fs.find("/lab/out")}
        assert found == reference
    finally:
        fs.store.clear()


def test_s3_in_and_out_with_worker_processes(raw, reference, s3):
    s3.put(str(raw[0]) + "/", "lab/raw/", recursive=True)
    curate(raw[1], "s3://lab/raw", "s3://lab/out", settings=SETTINGS, workers=1)
    s3.invalidate_cache()
    found = {path.removeprefix("lab/out/"): s3.cat_file(path) for path in s3.find("lab/out")}
    assert found == reference


def test_chunks_are_handed_out_as_they_are_finished(raw, tmp_path):
    taken = []
    plan = make_plan(raw[1])

    def jobs():
        for job in plan.jobs(2):
            taken.append(job.number)
            yield job

    pool = workers.workers_of(0)
    most = 0
    for count, _ in enumerate(workers.make_chunks(jobs(), str(raw[0]), str(tmp_path), PixelSettings(), pool), 1):
        most = max(most, len(taken) - count)
    assert len(taken) == 15
    assert most <= workers.CHUNKS_AHEAD_PER_WORKER


def test_wrong_workers():
    with pytest.raises(UsageError, match="can't be negative: -1"):
        workers.workers_of(-1)
