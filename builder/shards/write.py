"""From a curated folder to the dataset folder: shuffle the images with a seed, write shards, tables and the manifest.

The rows are read twice (to plan the shards, then to sort the rows by shard), the image bytes once. Shards are written
by threads: reading, hashing and writing release the interpreter lock, and storage in this process (`memory://`) works
too. A killed run leaves finished shards, with a note about each in `.unfinished/`; the next run continues from them.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import resume, schema
from ..dataset import manifest as manifests
from ..dataset import manifest_form
from ..dataset.manifest import CLASSES, METADATA, REJECTED, Manifest
from ..dataset.names import FORMATS
from ..dataset.ranges import Fetch, reader_of
from ..defaults import SHARD_SIZE_BYTES
from ..errors import CheckFailedError, SchemaError, UsageError
from ..formats.grey_png import is_grey_png
from ..locks import only_run
from ..progress import progress
from ..schema import SAMPLE, SAMPLE_PER_CLASS
from ..storage import atomic_writer, exists, filesystem, join, read_bytes, remove_temporaries, sha256_of, size
from ..versions import versions_of
from .format import WRITERS, Tally, batched
from .plan import ShardPlan, plan_shards
from .sort import rows_of_shard, sort_rows, sorting_folder

UNFINISHED = ".unfinished"
IMAGES_PER_FETCH = 32
ROWS_PER_BATCH = 1024
MAX_DEFAULT_WORKERS = 8


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
    """Write a dataset folder from a curated folder; continue where a killed run stopped.

    Parameters
    ----------
    curated : str or path
        Folder with `rows.parquet` (schema.CURATED), the stores it names, `rejected.parquet` and `curated.json`.
        Local or a URL.
    out : str or path
        The dataset folder to write, local or a URL.
    shard_size : int
        Target size of a shard in bytes. A split of 256 images or more has at least 8 shards.
    format : {"webdataset", "parquet"}
        Tar shards, or the same rows as Parquet files with embedded images.
    seed : int
        Random seed of the order of the images in the shards.
    workers : int, optional
        Number of threads; the bytes written do not depend on it.
    fetch : callable, optional
        Reads the PNG bytes if they are not in the curated folder: `fetch(stores, offsets, sizes)`.

    Returns
    -------
    Manifest
        Of the finished folder.

    Raises
    ------
    UsageError
        If there is no finished curated folder or no image in it, an argument is not valid, or another run is writing to
        `out`.
    SettingsChangedError
        If `out` has work of other settings or other images.
    CheckFailedError
        If stored bytes are not the PNG that their row describes.
    """
    if format not in FORMATS:
        raise UsageError(f"No shard format {format!r}; there are {', '.join(FORMATS)}")
    if shard_size < 1:
        raise UsageError("A shard needs at least one byte", where=f"shard size {shard_size}")
    out, rows_file = os.fspath(out), join(curated, "rows.parquet")
    curation = _read_curation(curated)
    settings = {**curation["settings"], "shard_size": shard_size, "sample_per_class": SAMPLE_PER_CLASS}
    task = {"format": format, "settings": settings, "seed": seed, "input": sha256_of(rows_file)}
    own_sources = {"own_sources": curation["own_sources"]} if curation["own_sources"] else {}
    task |= own_sources
    with only_run(out):
        done = _claim(out, task)
        if done is not None:
            return done
        plan = plan_shards(
            schema.read(rows_file, schema.CURATED, ["label", "category", "filename", "split", "store_size", "sha256"]),
            shard_size=shard_size,
            seed=seed,
            suffix=FORMATS[format],
        )
        _write_shards(out, rows_file, plan, format, fetch or reader_of(curated), workers)
        files = _write_metadata(out, plan)
        rejected = _read_rejected(curated)
        files |= _write_tables(out, {CLASSES: plan.classes, REJECTED: rejected})
        data: dict[str, Any] = {
            "format": manifest_form.FORMAT,
            "schema_version": schema.VERSION,
            "shard_format": format,
            "settings": settings,
            "seed": seed,
            "versions": versions_of("cytoimagenet", "numpy", "pandas", "pyarrow", "pillow"),
            "classes": plan.classes[["label", "category", "train", "validation"]].to_dict("records"),
            "splits": _count_splits(plan, files),
            "files": files,
            "counts": curation["counts"]
            | ({"split": curation["split"]} if curation["split"] else {})
            | {"images": len(plan.keys), "rejected": len(rejected), "input": task["input"]},
            "pages": {},
            **own_sources,
        }
        return _publish(out, data)


def _write_shards(out: str, rows_file: str, plan: ShardPlan, format: str, fetch: Fetch, workers: int | None) -> None:
    """Write all shards and the note on each; those that a former run finished stay as they are."""
    with sorting_folder(join(out, UNFINISHED)) as folder:
        groups = sort_rows(rows_file, plan, folder)
        index = dict(zip(plan.classes["label"], plan.classes["index"].tolist(), strict=True))
        workers = workers or min(MAX_DEFAULT_WORKERS, 2 * (os.cpu_count() or 1))
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


def _read_curation(curated: str | PathLike[str]) -> dict[str, Any]:
    """Return settings, seed and counts of the curation, and facts about own sources, from `curated.json`."""
    where = join(curated, "curated.json")
    if not exists(where):
        raise UsageError(
            "This is not a finished curated folder: it has no curated.json",
            where=str(curated),
            next="Run `cytoimagenet curate` until it finishes, or name another folder",
        )
    try:
        note = json.loads(read_bytes(where))
    except ValueError as error:
        raise SchemaError(f"curated.json is not JSON: {error}", where=where) from error
    if not isinstance(note, dict):
        raise SchemaError("curated.json is not a JSON object", where=where)
    empty: dict[str, Any] = {"settings": {}, "seed": 0, "counts": {}, "split": {}, "own_sources": {}}
    return {name: note.get(name, otherwise) for name, otherwise in empty.items()}


def _claim(out: str, task: dict[str, Any]) -> Manifest | None:
    """Take `out` for this task; return its manifest if the task is already done."""
    what = "This folder contains a dataset made with other settings"
    next = "Name another folder with --out, or remove this one."
    if exists(join(out, manifests.NAME)):
        present = Manifest.load(out)
        stored = {
            "format": present.shard_format, "settings": present.settings, "seed": present.seed,
            "input": present.counts.get("input"),
        }  # fmt: skip
        if present.own_sources:
            stored["own_sources"] = present.own_sources
        resume.refuse_changes(out, stored, task, what=what, next=next)
        remove_temporaries(out)
        _remove_notes(out)
        return present
    resume.claim(out, f"{UNFINISHED}/task.json", task, what=what, next=next)
    return None


def _write_shard(
    out: str, number: int, plan: ShardPlan, group: Path, index: dict[str, int], format: str, fetch: Fetch
) -> int:
    """Write one shard and the note on it, unless a former run did; return its number of images.

    The note is the shard's part of `metadata.parquet`, with its number of rows, bytes and sha256 as file metadata.
    """
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
    entry = {"rows": str(len(table)), "bytes": str(tally.bytes), "sha256": tally.sha256}
    part = part.replace_schema_metadata(entry)
    with atomic_writer(note) as file, schema.writer(file, part.schema) as writer:
        writer.write_table(part)
    return len(table)


def _with_images(table: pa.Table, fetch: Fetch) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each row with its PNG bytes, which are fetched for `IMAGES_PER_FETCH` rows together."""
    each = (row for batch in table.to_batches(ROWS_PER_BATCH) for row in batch.to_pylist())
    for rows in batched(each, IMAGES_PER_FETCH):
        images = fetch(*([row[name] for row in rows] for name in ("store", "store_offset", "store_size")))
        for row, png in zip(rows, images, strict=True):
            _check_png(png, row)
            yield row, png


def _check_png(png: bytes, row: dict[str, Any]) -> None:
    """Raise an error unless the bytes are an 8-bit grey PNG of the row's width and height."""
    if len(png) != row["store_size"] or not is_grey_png(png, row["width"], row["height"]):
        raise CheckFailedError(
            f"The stored bytes are not the {row['width']}x{row['height']} 8-bit grey PNG of {row['filename']}",
            where=f"{row['store']}, {row['store_size']} bytes from {row['store_offset']}",
            next="The curated folder was altered: remove it and curate again",
        )


def _write_metadata(out: str, plan: ShardPlan) -> dict[str, dict[str, Any]]:
    """Join the notes on the shards to `metadata.parquet`; return the manifest's entries of the shards and of it."""
    files: dict[str, dict[str, Any]] = {}
    with atomic_writer(join(out, METADATA)) as file:
        tally = Tally(file)
        with schema.writer(tally, schema.METADATA) as writer:
            for name, split in zip(plan.names, plan.split_of, strict=True):
                part = pq.ParquetFile(io.BytesIO(read_bytes(_note(out, name))))
                entry = {key.decode(): value.decode() for key, value in (part.schema_arrow.metadata or {}).items()}
                files[name] = {"rows": int(entry["rows"]), "bytes": int(entry["bytes"]), "sha256": entry["sha256"]}
                if split != SAMPLE:
                    writer.write_table(part.read().replace_schema_metadata(None))
    files[METADATA] = {"rows": len(plan.keys), "bytes": tally.bytes, "sha256": tally.sha256}
    return files


def _read_rejected(curated: str | PathLike[str]) -> pd.DataFrame:
    """Return the rejected images of the curated folder, which may have none."""
    rejected_file = join(curated, REJECTED)
    if exists(rejected_file):
        return schema.read(rejected_file, schema.REJECTED)
    return pd.DataFrame({field.name: pd.Series(dtype="str") for field in schema.REJECTED})


def _write_tables(out: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Write the small tables by name; return their entries in the manifest."""
    files = {}
    for name, table in tables.items():
        schema.write(table, join(out, name), manifests.TABLES[name])
        files[name] = {"rows": len(table), "bytes": size(join(out, name)), "sha256": sha256_of(join(out, name))}
    return files


def _count_splits(plan: ShardPlan, files: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return rows, bytes and number of shards of each split; an image that no shard has is a bug."""
    splits = {}
    for split in dict.fromkeys(plan.split_of):
        shards = [files[name] for name, its_split in zip(plan.names, plan.split_of, strict=True) if its_split == split]
        splits[split] = {
            "rows": sum(shard["rows"] for shard in shards),
            "bytes": sum(shard["bytes"] for shard in shards),
            "shards": len(shards),
        }
    if sum(splits[split]["rows"] for split in splits if split != SAMPLE) != len(plan.keys):
        raise AssertionError("images were lost between the rows and the shards")
    return splits


def _publish(out: str, data: dict[str, Any]) -> Manifest:
    """Write README.md and the other pages, then, last, the manifest; remove the notes on the shards."""
    from ..pages.write import write_pages  # only here: reading and checking shards needs no templates

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
