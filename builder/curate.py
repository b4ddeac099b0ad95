"""Selected source images in, the dataset's images out, with every row accounted for.

Workers make chunks of images (`chunk`), then the whole is decided over their numbers alone (`decide`) and written as
`rows.parquet` and `rejected.parquet`. `curated.json` comes last and says that the folder is finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import chunk, engine, evaluation, schema, split, storage, tables
from .chunk import Done
from .crops import wanted_crops
from .errors import SettingsChangedError, UsageError
from .field import Pixels, Wanted
from .progress import progress
from .selection import beside

STARTED = "settings.json"
FINISHED = "curated.json"


@dataclass(frozen=True)
class Settings:
    """What a curated folder depends on, beside its input. Recorded in it; never mixed.

    Parameters
    ----------
    seed : int
        Of crops, of the choice in full classes, and of the split.
    max_images : int
        A class of more images is brought back to so many.
    min_class_size : int
        A class of fewer images after quality control is dropped.
    split : {"by-image", "published"}
        `split.validation_by_image` or `split.validation_published`.
    chunk_rows : int
        Source images per chunk: what is lost at most when a worker is killed.
    """

    seed: int = 0
    max_images: int = 1000  # preprint, 2.1
    min_class_size: int = 287  # preprint, 2.1
    split: str = "by-image"
    chunk_rows: int = 256


class Plan(NamedTuple):
    """What is to be made of a selection.

    Parameters
    ----------
    selection : pyarrow.Table of schema.SELECTION
        Sorted by label, then idx.
    order : int array
        Rows of the selection in working order: files that lie together are read together.
    crops : int8 array
        Crops wanted of each row of the selection.
    """

    selection: pa.Table
    order: NDArray[np.int64]
    crops: NDArray[np.int8]

    def jobs(self, size: int) -> Iterator[engine.Job]:
        """Yield chunks of `size` source images."""
        idx, channels = self.selection["idx"], self.selection["channels"]
        for number, start in enumerate(range(0, len(self.order), size)):
            rows = pa.array(self.order[start : start + size])
            wanted = zip(
                idx.take(rows).to_pylist(), channels.take(rows).to_pylist(), self.crops[rows].tolist(), strict=True
            )
            yield engine.Job(number, [Wanted(*row) for row in wanted])


def curate(
    selection: str | PathLike[str] | pd.DataFrame,
    raw: str | PathLike[str],
    out: str | PathLike[str],
    *,
    settings: Settings | None = None,
    evaldata: str | PathLike[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    rebuild: bool = False,
    made_with: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the images of a selection; go on where a killed run stopped.

    Parameters
    ----------
    selection : path or DataFrame of schema.SELECTION
        Source images and their classes. `<stem>.rejected.parquet` beside a file is carried over.
    raw : str or path
        Folder or URL that `channels` are relative to.
    out : str or path
        Folder or URL to write: `rows.parquet`, `rejected.parquet`, `curated.json`, `chunks/`.
    settings : Settings, optional
    evaldata : str or path, optional
        Evaluation sets, whose images are left out.
    workers : int, optional
        Processes; default one for each core, 0 for none but this one.
    dask : str, optional
        Address of a Dask scheduler, or `local`.
    rebuild : bool
        Replace work done with other settings.
    made_with : mapping, optional
        Settings of earlier stages, to be recorded beside these.

    Returns
    -------
    dict
        What `curated.json` holds: settings, seed, counts, classes, digests.

    Raises
    ------
    SettingsChangedError
        If `out` holds work done with other settings.
    CheckFailedError
        If a row or an image is not accounted for.
    """
    settings = settings or Settings()
    if settings.split not in split.RULES:
        raise UsageError(f"No split rule {settings.split!r}; there are {', '.join(split.RULES)}")
    raw, out = os.fspath(raw), os.fspath(out)
    pool = engine.workers_of(workers, dask)
    known = evaluation.read_evaluation(evaldata) if evaldata is not None else evaluation.NONE
    recorded = record(settings, known, made_with)
    plan = make_plan(selection)
    _claim(out, recorded, rebuild)
    pixels = Pixels(settings.seed, known.shapes)
    done = _make(plan, raw, out, pixels, settings, pool)
    told = tables.write_tables(plan.selection, plan.order, done, out, settings, known.files, earlier_of(selection))
    told = {"format": "cytoimagenet-curated", "schema_version": schema.VERSION, "settings": recorded,
            "seed": settings.seed, "evaluation": {"channels": len(known.files), "skipped": known.skipped},
            **told}  # fmt: skip
    storage.write_atomic(storage.join(out, FINISHED), _json(told))
    _remove_stale(out, {one.name for one in done})
    return told


def make_plan(selection: str | PathLike[str] | pd.DataFrame) -> Plan:
    """Read a selection and say what is to be made of it."""
    table = _read(selection)
    if not len(table):
        raise UsageError(
            "No image was selected", next="Lower --min-images, or look at what `cytoimagenet label` reports."
        )
    sort = [("label", "ascending"), ("idx", "ascending")]
    sorted_rows = pc.sort_indices(table.select(["label", "idx"]), sort_keys=sort).to_numpy()
    if (sorted_rows != np.arange(len(table))).any():
        table = table.take(pa.array(sorted_rows))
    twice = pc.value_counts(table["idx"]).flatten()
    if pc.max(twice[1]).as_py() > 1:
        named = twice[0].filter(pc.greater(twice[1], 1))[0].as_py()
        raise UsageError("A row was selected twice", where=f"idx {named}")
    label = pc.rank(table["label"], sort_keys="ascending", tiebreaker="dense").to_numpy() - 1
    crops = np.array([wanted_crops(n) for n in np.bincount(label)], dtype=np.int8)[label]
    keys = pa.table([table["dir_name"], table["channels"], table["idx"]], names=["a", "b", "c"])
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in "abc"]).to_numpy().astype(np.int64)
    return Plan(table, order, crops)


def _read(selection: str | PathLike[str] | pd.DataFrame) -> pa.Table:
    """Return the selection as one table; of a file, words that come again and again are kept once."""
    if isinstance(selection, pd.DataFrame):
        return schema.check(selection, schema.SELECTION, "selection").combine_chunks()
    schema.read(selection, schema.SELECTION, ["label"])  # says what is wrong with the file
    fs, inner = storage.filesystem(selection)
    once = ("label", "idx", "dir_name", "path", "filename", "channels")
    again = [name for name in schema.SELECTION.names if name not in once]
    with fs.open(inner, "rb") as file:
        table = pq.ParquetFile(file, read_dictionary=again).read(schema.SELECTION.names)
    at = table.column_names.index("channels")  # the one column that passes 2 GB, at ten million rows
    table = table.set_column(at, "channels", table["channels"].cast(pa.large_string()))
    return table.unify_dictionaries().combine_chunks()


def record(settings: Settings, known: evaluation.EvaluationImages, made_with: Mapping[str, Any] | None) -> dict:
    """Return everything a curated folder was made with, as it is written into it."""
    compared = hashlib.sha256("\n".join(sorted(known.files)).encode()).hexdigest() if known.files else ""
    return {**(made_with or {}), **asdict(settings), "evaldata": compared, "procedure": Pixels.procedure}


def earlier_of(selection: str | PathLike[str] | pd.DataFrame) -> str | None:
    """Return the table of what the labeller left out, if it lies beside the selection."""
    if isinstance(selection, pd.DataFrame):
        return None
    left_out = beside(selection, "rejected.parquet")
    return left_out if storage.exists(left_out) else None


def _claim(out: str, recorded: Mapping[str, Any], rebuild: bool) -> None:
    """Take a folder for these settings, and mark it unfinished."""
    note = storage.join(out, STARTED)
    if storage.exists(note):
        present = json.loads(storage.read_bytes(note))
        changed = [name for name in {**present, **recorded} if present.get(name) != recorded.get(name)]
        if changed and not rebuild:
            said = ", ".join(f"{name} {present.get(name)!r}, now {recorded.get(name)!r}" for name in sorted(changed))
            raise SettingsChangedError(
                f"This folder was made with other settings: {said}",
                where=out,
                next="Use the same settings, another folder, or --rebuild to replace what is there.",
            )
    if storage.is_local(out):
        storage.remove_temporaries(out)
    fs, finished = storage.filesystem(storage.join(out, FINISHED))
    if fs.exists(finished):
        fs.rm_file(finished)
    storage.write_atomic(note, _json(recorded))


def _make(plan: Plan, raw: str, out: str, pixels: Pixels, settings: Settings, pool: engine.Workers) -> list[Done]:
    made: dict[int, Done] = {}
    with progress("Making images", len(plan.order)) as bar:
        for job, done in engine.run(plan.jobs(settings.chunk_rows), raw, out, pixels, pool):
            made[job.number] = done
            bar.advance(done.rows, failed=done.rejected)
    return [made[number] for number in range(len(made))]


def _remove_stale(out: str, names: set[str]) -> None:
    """Remove chunks of earlier settings or rows: what is finished no longer points at them."""
    fs, folder = storage.filesystem(storage.join(out, chunk.FOLDER))
    for path in fs.ls(folder, detail=False):
        if str(path).rsplit("/", 1)[-1] not in names:
            fs.rm_file(path)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
