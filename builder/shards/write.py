"""Curated images -> the dataset folder: reproducible shards in a seeded global shuffle, tables, manifest.

Two passes over the rows (plan, then sort into shards), one over the image bytes. Threads, since reading, hashing and
writing let go of the interpreter, and since storage that lives in this process (`memory://`) then works too. A killed
run leaves whole shards and a note on each in `.unfinished/`; the next run goes on from them.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import resume, schema
from ..dataset import manifest as manifests
from ..dataset.manifest import CLASSES, METADATA, REJECTED, Manifest
from ..dataset.ranges import Fetch, reader_of
from ..defaults import SHARD_SIZE_BYTES
from ..errors import CheckFailedError, SchemaError, UsageError
from ..formats.grey_png import is_grey_png
from ..pages.write import write_pages
from ..progress import progress
from ..schema import SAMPLE, SAMPLE_PER_CLASS
from ..storage import atomic_writer, exists, filesystem, join, read_bytes, remove_temporaries, sha256_of, size
from ..versions import versions_of
from .format import FORMATS, WRITERS, Tally, batched
from .plan import Plan, make_plan
from .sort import room_to_sort, rows_of_shard, sort_rows

UNFINISHED = ".unfinished"
READ_AHEAD = 32  # images fetched in one go


def write_dataset(
    curated: str | PathLike[str],
    out: str | PathLike[str],
    *,
    shard_size: int = SHARD_SIZE_BYTES,
    format: str = "webdataset",
    seed: int = 0,
    workers: int | None = None,
    fetch: Fetch | None = None,
) -> Manifest:
    """Write a dataset folder from a curated one; go on where a killed run stopped.

    Parameters
    ----------
    curated : str or path
        Folder with `rows.parquet` (schema.CURATED), the stores it names, `rejected.parquet` and `curated.json`.
        Local or a URL.
    out : str or path
        The dataset folder to write, local or a URL.
    shard_size : int
        Wished bytes per shard. A split of 256 images or more has at least 8 shards.
    format : {"webdataset", "parquet"}
        Tar shards, or the same rows as Parquet with embedded images.
    seed : int
        Of the global shuffle.
    workers : int, optional
        Threads; the bytes written do not depend on it.
    fetch : callable, optional
        How PNG bytes are read, where they do not lie in the curated folder.

    Returns
    -------
    Manifest
        Of the finished folder.

    Raises
    ------
    SettingsChangedError
        If `out` holds work done with other settings or other images.
    CheckFailedError
        If stored bytes are not the PNG their row speaks of.
    """
    if format not in FORMATS:
        raise UsageError(f"No shard format {format!r}; there are {', '.join(FORMATS)}")
    if shard_size < 1:
        raise UsageError("A shard holds at least one byte", where=f"shard size {shard_size}")
    out, rows_file = os.fspath(out), join(curated, "rows.parquet")
    made_by = _curation(curated)
    settings = {**made_by["settings"], "shard_size": shard_size, "sample_per_class": SAMPLE_PER_CLASS}
    task = {"format": format, "settings": settings, "seed": seed, "input": sha256_of(rows_file)}
    done = _claim(out, task)
    if done is not None:
        return done
    plan = make_plan(
        schema.read(rows_file, schema.CURATED, ["label", "category", "filename", "split", "store_size"]),
        shard_size=shard_size,
        seed=seed,
        suffix=FORMATS[format],
    )
    fetch = fetch or reader_of(curated)
    with room_to_sort(join(out, UNFINISHED)) as folder:
        groups = sort_rows(rows_file, plan, folder)
        index = dict(zip(plan.classes["label"], plan.classes["index"].tolist(), strict=True))
        workers = workers or min(8, 2 * (os.cpu_count() or 1))
        with progress("shards", len(plan.row)) as bar, ThreadPoolExecutor(workers) as pool:
            tasks = [
                pool.submit(_write_shard, out, number, plan, groups[number], index, format, fetch)
                for number in range(len(plan.names))
            ]
            try:
                for finished in as_completed(tasks):
                    bar.advance(finished.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    return _finish(out, curated, plan, task, made_by)


def _curation(curated: str | PathLike[str]) -> dict[str, Any]:
    """Return what the curation says of itself, from `curated.json`."""
    where = join(curated, "curated.json")
    if not exists(where):
        raise UsageError(
            "This is no finished curated folder: it has no curated.json",
            where=str(curated),
            next="Run `cytoimagenet curate` to its end, or name another folder",
        )
    try:
        told = json.loads(read_bytes(where))
    except ValueError as error:
        raise SchemaError(f"curated.json is not JSON: {error}", where=where) from error
    if not isinstance(told, dict):
        raise SchemaError("curated.json is no object", where=where)
    return {"settings": dict(told.get("settings", {})), "seed": told.get("seed", 0), "counts": told.get("counts", {})}


def _claim(out: str, task: dict[str, Any]) -> Manifest | None:
    """Take `out` for this task; return its manifest if the task is already done."""
    refused = {
        "what": "This folder contains a dataset made with other settings",
        "next": "Name another folder with --out, or remove this one.",
    }
    if exists(join(out, manifests.NAME)):
        present = Manifest.load(out)
        stored = {
            "format": present.shard_format, "settings": present.settings, "seed": present.seed,
            "input": present.counts.get("input"),
        }  # fmt: skip
        resume.refuse_changes(out, stored, task, **refused)
        remove_temporaries(out)
        _remove_notes(out)
        return present
    resume.claim(out, f"{UNFINISHED}/task.json", task, **refused)
    return None


def _write_shard(
    out: str, number: int, plan: Plan, group: Path, index: dict[str, int], format: str, fetch: Fetch
) -> int:
    """Write one shard and the note on it, unless a former run did; return how many images it has."""
    name = plan.names[number]
    note, target = _note(out, name), join(out, name)
    if exists(note) and exists(target):
        written = pq.ParquetFile(io.BytesIO(read_bytes(note)))
        fs, inner = filesystem(target)
        if fs.size(inner) == int(written.schema_arrow.metadata[b"bytes"]):
            return int(written.metadata.num_rows)
    table = rows_of_shard(group, number)
    with atomic_writer(target) as file:
        tally = Tally(file)
        offsets = WRITERS[format](tally, _with_images(table, fetch), index)
    columns = {field.name: table[field.name] for field in schema.METADATA if field.name in table.column_names}
    columns |= {
        "shard": pa.array([name] * len(table)),
        "offset": pa.array(offsets, pa.int64()),
        "size": table["store_size"],
    }
    part = pa.table([columns[field.name] for field in schema.METADATA], schema=schema.METADATA)
    told = {"rows": str(len(table)), "bytes": str(tally.bytes), "sha256": tally.sha256}
    part = part.replace_schema_metadata(told)
    with atomic_writer(note) as file, schema.writer(file, part.schema) as writer:
        writer.write_table(part)
    return len(table)


def _with_images(table: pa.Table, fetch: Fetch) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each row with its PNG bytes, fetched some at a time."""
    for rows in batched((row for batch in table.to_batches(1024) for row in batch.to_pylist()), READ_AHEAD):
        images = fetch(*([row[name] for row in rows] for name in ("store", "store_offset", "store_size")))
        for row, png in zip(rows, images, strict=True):
            check_png(png, row)
            yield row, png


def check_png(png: bytes, row: dict[str, Any]) -> None:
    """Refuse bytes that are not an 8-bit grey PNG of the row's size."""
    if len(png) != row["store_size"] or not is_grey_png(png, row["width"], row["height"]):
        raise CheckFailedError(
            f"The stored bytes are not the {row['width']}x{row['height']} 8-bit grey PNG of {row['filename']}",
            where=f"{row['store']}, {row['store_size']} bytes from {row['store_offset']}",
            next="Remove the curated folder and curate again: something wrote into it",
        )


def _finish(
    out: str, curated: str | PathLike[str], plan: Plan, task: dict[str, Any], made_by: dict[str, Any]
) -> Manifest:
    """Write the tables, the card and, last, the manifest."""
    files: dict[str, dict[str, Any]] = {}
    with atomic_writer(join(out, METADATA)) as file:
        tally = Tally(file)
        with schema.writer(tally, schema.METADATA) as writer:
            for name, split in zip(plan.names, plan.split_of, strict=True):
                part = pq.ParquetFile(io.BytesIO(read_bytes(_note(out, name))))
                told = {key.decode(): value.decode() for key, value in (part.schema_arrow.metadata or {}).items()}
                files[name] = {"rows": int(told["rows"]), "bytes": int(told["bytes"]), "sha256": told["sha256"]}
                if split != SAMPLE:
                    writer.write_table(part.read().replace_schema_metadata(None))
    files[METADATA] = {"rows": len(plan.keys), "bytes": tally.bytes, "sha256": tally.sha256}
    schema.write(plan.classes, join(out, CLASSES), schema.CLASSES)
    rejected_file = join(curated, REJECTED)
    rejected = (
        schema.read(rejected_file, schema.REJECTED)
        if exists(rejected_file)
        else pd.DataFrame({field.name: pd.Series(dtype="str") for field in schema.REJECTED})
    )
    schema.write(rejected, join(out, REJECTED), schema.REJECTED)
    for name, table in ((CLASSES, plan.classes), (REJECTED, rejected)):
        files[name] = {"rows": len(table), "bytes": size(join(out, name)), "sha256": sha256_of(join(out, name))}
    splits = {
        split: {
            "rows": sum(files[n]["rows"] for n, s in zip(plan.names, plan.split_of, strict=True) if s == split),
            "bytes": sum(files[n]["bytes"] for n, s in zip(plan.names, plan.split_of, strict=True) if s == split),
            "shards": plan.split_of.count(split),
        }
        for split in dict.fromkeys(plan.split_of)
    }
    if sum(splits[split]["rows"] for split in splits if split != SAMPLE) != len(plan.keys):
        raise AssertionError("images were lost between the rows and the shards")
    data: dict[str, Any] = {
        "format": manifests.FORMAT,
        "schema_version": schema.VERSION,
        "shard_format": task["format"],
        "settings": task["settings"],
        "seed": task["seed"],
        "versions": versions_of("cytoimagenet", "numpy", "pandas", "pyarrow", "pillow"),
        "classes": plan.classes[["label", "category", "train", "validation"]].to_dict("records"),
        "splits": splits,
        "files": files,
        "counts": {**made_by["counts"], "images": len(plan.keys), "rejected": len(rejected), "input": task["input"]},
        "pages": {},
    }
    data["digest"] = manifests.digest(data)
    write_pages(Manifest(out, data))
    finished = manifests.record_pages(Manifest(out, data))
    _remove_notes(out)
    return finished


def _note(out: str, name: str) -> str:
    return join(out, UNFINISHED, name.replace("/", "-") + ".parquet")


def _remove_notes(out: str) -> None:
    fs, inner = filesystem(join(out, UNFINISHED))
    if fs.exists(inner):
        fs.rm(inner, recursive=True)
