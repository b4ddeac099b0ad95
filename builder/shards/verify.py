"""Is a dataset folder what its manifest says, to the byte? Nothing is unpacked, unpickled or trusted on the way.

Every file is read once, its bytes hashed while its content is checked. A tar is not handed to a tar library: each
header must be the very block that the sharder writes for that name and size, which leaves no room for links, devices,
paths that lead outside or archives within archives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike, cpu_count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .. import schema
from ..dataset.manifest import CLASSES, METADATA, PAGES, TABLES, Manifest
from ..dataset.manifest import NAME as MANIFEST
from ..errors import CheckFailedError, CytoImageNetError
from ..progress import Bar, progress
from ..schema import SAMPLE
from ..storage import filesystem, join, sha256_of
from .check import Checked, check_shard, on_disk

DANGEROUS = (".py", ".pyc", ".so", ".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz", ".joblib", ".dill")
HARMLESS = (".cache/", ".git/", ".gitattributes", ".gitignore", ".DS_Store")  # left by git, the Hub and Finder
SHOWN = 20  # problems named in the error; the report has all


@dataclass
class Report:
    """What `verify` found."""

    root: str
    files: int = 0
    bytes: int = 0
    images: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(root: str | PathLike[str], *, workers: int | None = None) -> Report:
    """Check a dataset folder against its manifest, and its parts against each other.

    Parameters
    ----------
    root : str or path
        The dataset folder, local or a URL.
    workers : int, optional
        Shards read at a time.

    Returns
    -------
    Report
        How much was read.

    Raises
    ------
    CheckFailedError
        If anything is wrong; `problems` on it has every finding.
    """
    report = inspect(root, workers=workers)
    if report.problems:
        shown = "\n".join(f"  {problem}" for problem in report.problems[:SHOWN])
        count = f"{len(report.problems):,} problem{'s' if len(report.problems) > 1 else ''}"
        more = len(report.problems) - SHOWN
        error = CheckFailedError(
            f"{count}:\n{shown}" + (f"\n  and {more:,} more" if more > 0 else ""),
            where=str(root),
            next="Fetch the named files again (`cytoimagenet pull`), or build the folder anew",
        )
        error.problems = report.problems  # type: ignore[attr-defined]
        raise error
    return report


def inspect(root: str | PathLike[str], *, workers: int | None = None) -> Report:
    """Check a dataset folder and return all that is wrong with it; see `verify`."""
    report = Report(str(root))
    try:
        manifest = Manifest.load(root)
    except CytoImageNetError as error:
        report.problems.append(f"{MANIFEST}: {error.what}")
        return report
    sound = _check_files(manifest, report)
    with ExitStack() as held:
        tables = _check_small_files(manifest, sound, report, held)
        with progress("verify", sum(entry["rows"] for entry in manifest.splits.values())) as bar:
            workers = workers or min(8, 2 * (cpu_count() or 1))
            checked = list(_check_shards(manifest, sound, tables.get(METADATA), workers, bar))
    for name, result in sorted(checked, key=lambda pair: pair[0]):
        report.problems += [f"{name}: {problem}" for problem in result.problems]
        report.bytes += result.bytes
        report.files += 1
    if METADATA in tables:
        _check_together(manifest, dict(checked), report)
    report.images = sum(manifest.rows(split) for split in schema.SPLITS)
    return report


def _check_files(manifest: Manifest, report: Report) -> set[str]:
    """Compare the names and sizes of the files that are there; return those that may be read."""
    said = {**manifest.files, **manifest.pages}
    fs, inner = filesystem(manifest.root)
    if "http" in str(fs.protocol):
        report.notes.append("Over HTTP a folder can't be listed: unexpected files are not looked for")
        there = {}
        for path in said:
            try:
                there[path] = fs.size(join(inner, path))
            except FileNotFoundError:
                continue  # reported as absent below
    else:
        base = len(inner.rstrip("/")) + 1
        there = {path[base:]: entry["size"] for path, entry in fs.find(inner, detail=True).items()}
    sound = set()
    for path, entry in said.items():
        if path not in there:
            report.problems.append(f"{path}: absent")
        elif there[path] is not None and there[path] != entry["bytes"]:
            report.problems.append(f"{path}: {there[path]:,} bytes where the manifest says {entry['bytes']:,}")
        else:
            sound.add(path)
    for path in sorted(set(there) - set(said) - {MANIFEST}):
        if path.endswith(DANGEROUS):
            report.problems.append(f"{path}: unexpected, and of a kind that can run code; don't open it")
        elif not path.startswith(HARMLESS) and path.rsplit("/", 1)[-1] not in HARMLESS:
            report.problems.append(f"{path}: unexpected")
    if PAGES[0] not in said:
        report.problems.append(f"{PAGES[0]}: absent; without it `datasets` does not know the columns")
    return sound


def _check_small_files(manifest: Manifest, sound: set[str], report: Report, held: ExitStack) -> dict[str, str]:
    """Check what is no shard: the sha256, the tables' columns and rows; return where the sound tables can be read."""
    tables = {}
    for name, entry in {**manifest.files, **manifest.pages}.items():
        if name not in sound or name.startswith("data/"):
            continue
        try:
            path = held.enter_context(on_disk(manifest.root, name))
            digest = sha256_of(path)
        except OSError as error:
            report.problems.append(f"{name}: can't be read: {error}")
            continue
        report.files += 1
        report.bytes += entry["bytes"]
        if digest != entry["sha256"]:
            report.problems.append(f"{name}: sha256 differs, the file was damaged or altered")
        elif name in TABLES and _is_table(path, name, entry["rows"], report):
            tables[name] = path
    report.problems += [f"{name}: not in the manifest" for name in TABLES if name not in manifest.files]
    if CLASSES in tables:
        classes = schema.read(tables[CLASSES], schema.CLASSES).to_dict("records")
        if classes != [{"index": i, **entry} for i, entry in enumerate(manifest.classes)]:
            report.problems.append(f"{CLASSES}: other classes than in the manifest")
    return tables


def _is_table(path: str, name: str, rows: int, report: Report) -> bool:
    """Say whether a file is the table it must be."""
    try:
        with pq.ParquetFile(path) as table:
            columns, found = table.schema_arrow.remove_metadata(), table.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        report.problems.append(f"{name}: no readable Parquet: {error}")
        return False
    if found != rows:
        report.problems.append(f"{name}: {found:,} rows where the manifest says {rows:,}")
    if not columns.equals(TABLES[name]):
        report.problems.append(f"{name}: other columns than the schema's")
        return False
    return True


def _check_shards(
    manifest: Manifest, sound: set[str], metadata: str | None, workers: int, bar: Bar
) -> Iterator[tuple[str, Checked]]:
    """Check all shards, some at a time, each beside its rows of `metadata.parquet`."""
    waiting: dict[Future[Checked], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for name, rows in _shards_with_rows(sound, metadata):
            waiting[pool.submit(check_shard, manifest, name, rows)] = name
            while len(waiting) >= 2 * workers:
                yield from _done(waiting, bar)
        while waiting:
            yield from _done(waiting, bar)


def _done(waiting: dict[Future[Checked], str], bar: Bar) -> Iterator[tuple[str, Checked]]:
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        result = future.result()
        bar.advance(len(result.keys), failed=len(result.problems))
        yield waiting.pop(future), result


def _shards_with_rows(sound: set[str], metadata: str | None) -> Iterator[tuple[str, pa.Table | None]]:
    """Yield every sound shard with its rows of `metadata.parquet`; the rows are read once, in order."""
    left = {name for name in sound if name.startswith("data/")}
    if metadata is not None:
        with pq.ParquetFile(metadata) as table:
            for number in range(table.num_row_groups):  # the sharder writes a row group for each shard
                rows = table.read_row_group(number)
                names = set(rows["shard"].to_pylist())
                name = names.pop() if names else ""
                if not names and name in left:
                    left.remove(name)
                    yield name, rows
    for name in sorted(left):
        yield name, None


def _check_together(manifest: Manifest, checked: dict[str, Checked], report: Report) -> None:
    """Check what only shows over all shards: keys, counts, the split rule, the sample."""
    parts: dict[str, list[Checked]] = {}
    for name, result in checked.items():
        parts.setdefault(name.removeprefix("data/").split("-", 1)[0], []).append(result)
    keys = {split: _joined([result.keys for result in results]) for split, results in parts.items()}
    every = _joined([keys[split] for split in schema.SPLITS if split in keys])
    twice = len(every) - len(np.unique(every))
    if twice:
        report.problems.append(f"{METADATA}: {twice:,} keys occur twice")
    for split, entry in manifest.splits.items():
        shards = manifest.shards(split)
        told = {"rows": sum(s[1] for s in shards), "bytes": sum(s[2] for s in shards), "shards": len(shards)}
        if told != {name: entry.get(name) for name in told}:
            report.problems.append(f"{MANIFEST}: split {split!r} is not the sum of its shards")
    counts: Counter[tuple[str, str]] = Counter()
    for results in parts.values():
        for result in results:
            counts.update(result.counts)
    # a damaged shard is told of once; what follows from it, counts and members that lack, is not
    whole = all(
        name in checked and not checked[name].problems
        for split in manifest.splits
        for name, *_ in manifest.shards(split)
    )
    for entry in manifest.classes if whole else ():
        found = {split: counts[entry["label"], split] for split in schema.SPLITS}
        if any(found[split] != entry[split] for split in schema.SPLITS):
            report.problems.append(f"{MANIFEST}: class {entry['label']!r} has {found} images, not what is said")
    if SAMPLE in keys and whole and len(np.setdiff1d(keys[SAMPLE], keys.get("train", every[:0]))):
        report.problems.append("data/sample: holds images that are not in train")
    if manifest.settings.get("split") == "published":
        report.notes.append("Split by crop, as published: crops of one source image lie on both sides")
        return
    sides = {split: _joined([result.sources for result in parts.get(split, [])]) for split in schema.SPLITS}
    both = np.intersect1d(sides["train"], sides["validation"])
    if len(both):
        report.problems.append(f"{METADATA}: {len(both):,} source images have crops in train and in validation")


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
