"""Check every byte of a dataset folder against its manifest. Nothing is unpacked, unpickled or executed.

Every file is read once; its bytes are hashed while its content is checked. Tar files are not opened with a tar library:
each header must equal the block that `shard` writes for that name and size. This excludes links, devices, paths that
lead outside, and archives within archives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike, cpu_count
from pathlib import Path

import pyarrow as pa

from .. import schema
from ..bounded_parquet import BoundedParquet
from ..dataset import embeddings, quality
from ..dataset.manifest import TABLES, Manifest
from ..dataset.names import CLASSES, EMBEDDINGS, MANIFEST, METADATA, QUALITY, README, SIGNATURE
from ..dataset.signature import Signer, check_signature
from ..errors import CheckFailedError, CytoImageNetError, SchemaError
from ..progress import Bar, progress
from ..storage import filesystem, is_local, join, sha256_of
from .check import CheckedShard, check_shard, on_disk
from .together import SHARDS_WITH_ROWS, check_together

UNFINISHED = ".unfinished"  # folder of work in progress of `shard` and `embed`
DANGEROUS = (".py", ".pyc", ".so", ".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz", ".joblib", ".dill")
HARMLESS = (".cache/", ".git/", ".gitattributes", ".gitignore", ".DS_Store")  # written by git, the Hub and Finder
VIEWER_ROW_BYTES = 2_000_000  # larger rows are not shown by the Hub's viewer: docs/hub, datasets-upload-guide-llm
PROBLEMS_SHOWN = 20  # in the error; the report has all


@dataclass
class Report:
    """Result of `verify`: numbers of files, bytes and images read, problems, and notes that are no problems.

    Attributes
    ----------
    signature : str
        "none", "not checked", or "valid"; an invalid one is a problem, and "not checked".
    schema_version : str
        Version of the columns; empty without a readable manifest.
    """

    root: str
    schema_version: str = ""
    signature: str = "none"
    files: int = 0
    bytes: int = 0
    images: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(root: str | PathLike[str], *, workers: int | None = None, signer: Signer | None = None) -> Report:
    """Check a dataset folder against its manifest, and its files against each other.

    Parameters
    ----------
    root : str or path
        The dataset folder, local or a URL.
    workers : int, optional
        Number of shards read at the same time.
    signer : Signer, optional
        Who must have signed the manifest. Without it a signature is neither needed nor checked.

    Raises
    ------
    CheckFailedError
        If there is any problem; its attribute `problems` lists all of them.
    """
    report = inspect(root, workers=workers, signer=signer)
    if report.problems:
        shown = "\n".join(f"  {problem}" for problem in report.problems[:PROBLEMS_SHOWN])
        count = f"{len(report.problems):,} problem{'s' if len(report.problems) > 1 else ''}"
        more = len(report.problems) - PROBLEMS_SHOWN
        error = CheckFailedError(
            f"{count}:\n{shown}" + (f"\n  and {more:,} more" if more > 0 else ""),
            where=str(root),
            next="Download the named files again (`cytoimagenet pull`), or build the folder again",
        )
        error.problems = report.problems  # type: ignore[attr-defined]
        raise error
    return report


def inspect(root: str | PathLike[str], *, workers: int | None = None, signer: Signer | None = None) -> Report:
    """Check a dataset folder as `verify` does, and return the report instead of raising an error."""
    report = Report(str(root))
    try:
        manifest = Manifest.load(root)
    except CytoImageNetError as error:
        report.problems.append(f"{MANIFEST}: {error.what}")
        return report
    report.schema_version = manifest.schema_version
    sound = _check_files(manifest, report)
    if signer is not None:
        try:
            check_signature(manifest, signer)
            report.signature = "valid"
        except CheckFailedError as error:
            report.problems.append(f"{SIGNATURE}: {error.what}")
    with ExitStack() as open_files:
        tables = _check_small_files(manifest, sound, report, open_files)
        with progress("verify", sum(entry["rows"] for entry in manifest.splits.values())) as bar:
            workers = workers or min(8, 2 * (cpu_count() or 1))
            checked = list(_check_shards(manifest, sound, tables.get(METADATA), workers, bar, report))
    for name, result in sorted(checked, key=lambda pair: pair[0]):
        report.problems += [f"{name}: {problem}" for problem in result.problems]
        report.bytes += result.bytes
        report.files += 1
    if METADATA in tables:
        problems, notes = check_together(manifest, dict(checked))
        report.problems += problems
        report.notes += notes
        _note_large_rows(manifest, tables[METADATA], report)
    report.images = sum(manifest.rows(split) for split in schema.SPLITS)
    return report


def _note_large_rows(manifest: Manifest, metadata: str, report: Report) -> None:
    """Note rows of Parquet shards that the Hub's viewer does not show; all but a few hundred bytes are the image."""
    if manifest.shard_format == "parquet":
        try:
            sizes = BoundedParquet(metadata, METADATA).read(["size"])["size"].to_numpy()
        except SchemaError:
            return  # reported with the shards
        large = int((sizes > VIEWER_ROW_BYTES - 10_000).sum())
        if large:
            rows = "1 row is" if large == 1 else f"{large:,} rows are"
            report.notes.append(f"{rows} larger than 2 MB: the Hub's viewer does not show such rows")


def _check_files(manifest: Manifest, report: Report) -> set[str]:
    """Compare the names and sizes of the present files with the manifest; return those without a problem."""
    entries = manifest.all_files
    fs, inner = filesystem(manifest.root)
    if "http" in str(fs.protocol):
        report.notes.append("Over HTTP a folder can't be listed: unexpected files can't be found")
        sizes = {}
        for path in [*entries, SIGNATURE]:
            try:
                sizes[path] = fs.size(join(inner, path))
            except FileNotFoundError:
                continue  # reported as absent below
    else:
        base = len(inner.rstrip("/")) + 1
        sizes = {path[base:]: entry["size"] for path, entry in fs.find(inner, detail=True).items()}
    report.signature = "not checked" if SIGNATURE in sizes else "none"
    special = _special_files(inner, sizes, report) if is_local(manifest.root) else set()
    sound: set[str] = set()
    unfinished = False
    for path, entry in entries.items():
        if path not in sizes:
            report.problems.append(f"{path}: absent")
        elif path in special:
            report.problems.append(f"{path}: not a regular file")
        elif sizes[path] is not None and sizes[path] != entry["bytes"]:
            report.problems.append(f"{path}: {sizes[path]:,} bytes; the manifest records {entry['bytes']:,}")
        else:
            sound.add(path)
    for path in sorted(set(sizes) - set(entries) - {MANIFEST, SIGNATURE}):
        if path.endswith(DANGEROUS):
            report.problems.append(f"{path}: unexpected, and of a kind that can run code; don't open it")
        elif path.startswith(f"{UNFINISHED}/"):
            unfinished = True
        elif not path.startswith(HARMLESS) and path.rsplit("/", 1)[-1] not in HARMLESS:
            report.problems.append(f"{path}: unexpected")
    if unfinished:
        report.notes.append(f"{UNFINISHED}/ is the work of an interrupted command; run it again to finish it")
    if README not in entries:
        report.problems.append(f"{README}: absent; without it `datasets` does not know the columns")
    return sound


def _special_files(root: str, names: Iterable[str], report: Report) -> set[str]:
    """Return the names that are no regular files, such as pipes, which must not be opened; note the links."""
    special, links = set(), []
    for name in names:
        path = Path(root, name)
        if path.is_symlink():
            links.append(name)
        if not path.is_file():  # of a link: what it points to
            special.add(name)
    if links:
        report.notes.append(
            f"{len(links):,} of the files are links to other places, which can change: {min(links)}, ..."
            if len(links) > 1
            else f"{links[0]} is a link to another place, which can change"
        )
    return special


def _check_small_files(manifest: Manifest, sound: set[str], report: Report, open_files: ExitStack) -> dict[str, str]:
    """Check all files but the shards: sha256, and columns and rows of tables; return local paths of the good tables."""
    tables, derived = {}, {}
    for name, entry in manifest.all_files.items():
        if name not in sound or name.startswith("data/"):
            continue
        try:
            path = open_files.enter_context(on_disk(manifest.root, name))
            digest = sha256_of(path)
        except OSError as error:
            report.problems.append(f"{name}: can't be read: {error}")
            continue
        report.files += 1
        report.bytes += entry["bytes"]
        if digest != entry["sha256"]:
            report.problems.append(f"{name}: sha256 differs, the file was damaged or altered")
        elif name in TABLES:
            columns = schema.of_version(TABLES[name], manifest.schema_version)
            if _is_table(path, name, entry["rows"], columns, report):
                tables[name] = path
        elif name in manifest.derived:
            derived[name] = path
    report.problems += [f"{name}: not in the manifest" for name in TABLES if name not in manifest.files]
    if CLASSES in tables:
        try:
            classes = schema.read(tables[CLASSES], schema.CLASSES).to_dict("records")
        except SchemaError as error:
            classes = []
            report.problems.append(f"{CLASSES}: {error.what}")
        if classes != [{"index": i, **entry} for i, entry in enumerate(manifest.classes)]:
            report.problems.append(f"{CLASSES}: its classes are not those of the manifest")
    for name, path in derived.items():
        _check_derived(manifest, name, path, tables.get(METADATA), report)
    return tables


def _check_derived(manifest: Manifest, name: str, path: str, metadata: str | None, report: Report) -> None:
    """Check that embeddings and the table of an audit have one row per image, in the order of the metadata."""
    entry = manifest.derived[name]
    if name.startswith(f"{EMBEDDINGS}/"):
        dimensions = entry["settings"].get("dimensions")
        if type(dimensions) is not int or not 1 <= dimensions <= embeddings.MAX_DIMENSIONS:
            report.problems.append(f"{name}: the manifest does not record its number of dimensions")
            return
        columns, compared = embeddings.columns(dimensions), ["key", "sha256"]
    elif name == QUALITY:
        columns, compared = quality.COLUMNS, ["key"]
    else:
        return
    if not _is_table(path, name, entry["rows"], columns, report) or metadata is None:
        return
    try:
        own, images = (BoundedParquet(file, name).read(compared) for file in (path, metadata))
    except SchemaError as error:
        report.problems.append(f"{name}: {error.what}")
        return
    if not own.replace_schema_metadata(None).equals(images.replace_schema_metadata(None)):
        report.problems.append(f"{name}: its rows are not the images of {METADATA}")


def _is_table(path: str, name: str, rows: int, expected: pa.Schema, report: Report) -> bool:
    """Return whether a file is a Parquet table with the columns it must have; its number of rows is checked too."""
    try:
        table = BoundedParquet(path, name)
    except SchemaError as error:
        report.problems.append(f"{name}: {error.what}")
        return False
    columns, found = table.schema.remove_metadata(), table.rows
    if found != rows:
        report.problems.append(f"{name}: {found:,} rows; the manifest records {rows:,}")
    if not columns.equals(expected):
        report.problems.append(f"{name}: its columns are not those of the schema")
        return False
    return True


def _check_shards(
    manifest: Manifest, sound: set[str], metadata: str | None, workers: int, bar: Bar, report: Report
) -> Iterator[tuple[str, CheckedShard]]:
    """Check all shards, `workers` at a time, each with its rows of `metadata.parquet`."""
    waiting: dict[Future[CheckedShard], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for name, rows in _shards_with_rows(sound, metadata, report):
            waiting[pool.submit(check_shard, manifest, name, rows)] = name
            while len(waiting) >= 2 * workers:
                yield from _done(waiting, bar)
        while waiting:
            yield from _done(waiting, bar)


def _done(waiting: dict[Future[CheckedShard], str], bar: Bar) -> Iterator[tuple[str, CheckedShard]]:
    """Yield the shards whose check has finished, at least one."""
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        result = future.result()
        bar.advance(len(result.keys), failed=len(result.problems))
        yield waiting.pop(future), result


def _shards_with_rows(sound: set[str], metadata: str | None, report: Report) -> Iterator[tuple[str, pa.Table | None]]:
    """Yield every shard to check with its rows of `metadata.parquet`; the rows are read once, in order.

    Only shards of the split `sample`, and all shards if there is no good table, come without rows.
    """
    left = {name for name in sound if name.startswith("data/")}
    if metadata is not None:
        try:
            table = BoundedParquet(metadata, METADATA)
            for number in range(table.row_groups):  # `shard` writes one row group per shard
                rows = table.read(row_group=number)
                names = set(rows["shard"].to_pylist())
                name = names.pop() if names else ""
                if not names and name in left:
                    left.remove(name)
                    yield name, rows
        except SchemaError as error:
            report.problems.append(f"{METADATA}: {error.what}")
    for name in sorted(left):
        has_rows = metadata is not None and name.startswith(SHARDS_WITH_ROWS)
        yield name, schema.METADATA.empty_table() if has_rows else None
