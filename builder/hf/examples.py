"""What the builder of `datasets` yields: the columns, the sizes of the splits, the examples of a shard."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .. import schema
from ..bounded_parquet import BoundedParquet
from ..dataset.columns import parquet_features
from ..dataset.manifest import METADATA, Manifest
from ..dataset.ranges import MAX_IMAGE_BYTES, in_order, reader_of
from ..dataset.resize import resize_png
from ..errors import CheckFailedError, CytoImageNetError, SchemaError
from ..formats.grey_png import is_grey_png
from ..schema import SAMPLE, SAMPLE_PER_CLASS
from ..shards.format import COLUMNS, columns_of, row_groups
from ..storage import filesystem, is_local, join, read_bytes

MAX_FRACTION_BY_PLACE = 0.2  # of all images; above it, reading complete shards is faster than single images
IMAGES_PER_FETCH = 64
METADATA_COLUMNS = [name for name in COLUMNS if name != "label"]


def features(manifest: Manifest) -> dict[str, Any]:
    """Return the columns: image, label, key and every other column of the metadata."""
    return parquet_features(list(manifest.class_names))


def split_sizes(manifest: Manifest, config: str, classes: Collection[int] | None) -> dict[str, int]:
    """Return the number of images of each split of a config, without opening a shard; empty splits are left out.

    Parameters
    ----------
    manifest : Manifest
        Of the dataset folder.
    config : str
        `default`, `sample` or a category.
    classes : collection of int, optional
        Class numbers; None for all.
    """
    chosen = [entry for i, entry in enumerate(manifest.classes) if classes is None or i in classes]
    if config == SAMPLE:
        per_class = manifest.settings.get("sample_per_class", SAMPLE_PER_CLASS)
        sizes = {"train": sum(min(entry["train"], per_class) for entry in chosen)}
    else:
        sizes = {split: sum(entry[split] for entry in chosen) for split in schema.SPLITS}
    return {split: size for split, size in sizes.items() if size}


def are_few(manifest: Manifest, sizes: Mapping[str, int]) -> bool:
    """Return whether so few images are requested that reading each by its place beats reading complete shards."""
    return sum(sizes.values()) <= MAX_FRACTION_BY_PLACE * sum(manifest.rows(split) for split in schema.SPLITS)


def read_chosen(manifest: Manifest, shard: str, classes: Collection[int]) -> Iterator[dict[str, Any]]:
    """Yield the examples of some classes in a shard, in its order, without reading any other image.

    Parameters
    ----------
    manifest : Manifest
        Of the dataset folder, local or remote.
    shard : str
        Path below the folder.
    classes : collection of int
        Class numbers.

    Raises
    ------
    CheckFailedError
        If there is no image at the place that the metadata names.
    """
    index = {label: number for number, label in enumerate(manifest.class_names) if number in classes}
    rows = _rows_of(manifest.root, manifest.digest, tuple(index))
    fetch = reader_of(manifest.root)
    for batch in rows.filter(pc.equal(rows["shard"], shard)).to_batches(IMAGES_PER_FETCH):
        some = batch.to_pylist()
        images = fetch(*([row[name] for row in some] for name in ("shard", "offset", "size")))
        for row, png in zip(some, images, strict=True):
            if not is_grey_png(png, row["width"], row["height"]):
                raise _damaged(f"{row['key']} is not at the place that metadata.parquet names", shard)
            image = {"bytes": png, "path": f"{row['key']}.png"}
            yield {"image": image, "label": index[row["label"]], **{name: row[name] for name in METADATA_COLUMNS}}


@lru_cache(maxsize=2)
def _rows_of(root: str, digest: str, labels: tuple[str, ...]) -> pa.Table:
    """Read the rows of some classes, once for all shards; a folder that was rebuilt has another digest."""
    where = join(root, METADATA)
    with open(filesystem(where)[1], "rb") if is_local(root) else io.BytesIO(read_bytes(where)) as file:
        table = BoundedParquet(file, where)
        present = [name for name in schema.METADATA.names if name in table.schema.names]
        return schema.with_added(table.read(present, only=("label", labels)), schema.METADATA.names)


def read_shard(
    path: str,
    shard_format: str,
    classes: Collection[int] | None = None,
    rows: int | None = None,
    version: str = schema.VERSION,
) -> Iterator[dict[str, Any]]:
    """Yield the examples of a shard that belong to some classes.

    Parameters
    ----------
    path : str
        The shard, local or a URL.
    shard_format : str
        `webdataset` or `parquet`, as in the manifest.
    classes : collection of int, optional
        Class numbers; all if None.
    rows : int, optional
        Number of images the shard must have; a tar that ends early between two images is valid to `tarfile`.
    version : str
        Schema version of the folder; columns that it lacks are empty text, or None.

    Raises
    ------
    CheckFailedError
        If the shard is damaged or ends early.
    """
    count = 0
    present = [name for name in columns_of(version) if name != "label"]
    absent = {name: schema.empty(name) for name in METADATA_COLUMNS if name not in present}
    try:
        for example in _from_parquet(path, present) if shard_format == "parquet" else _from_tar(path, present):
            count += 1
            if classes is None or example["label"] in classes:
                yield {**example, **absent}
    except SchemaError as error:
        raise _damaged(f"the problem is after {count:,} images: {error.what}", path) from error
    except (CytoImageNetError, OSError):
        raise
    except Exception as error:  # a damaged shard may contain anything in place of a number, a text or a row
        raise _damaged(f"the problem is after {count:,} images: {error}", path) from error
    if rows is not None and count != rows:
        raise _damaged(f"it has {count:,} images instead of {rows:,}", path)


def resized(example: dict[str, Any], size: int | None) -> dict[str, Any]:
    """Return an example with its image scaled to a square of `size` pixels; unchanged without a size."""
    if size is None:
        return example
    image = example["image"]
    # a DataLoader stacks numbers, but not None
    known = {name: math.nan if value is None else value for name, value in example.items()}
    return {**known, "image": {**image, "bytes": resize_png(image["bytes"], size, example["key"])}}


def _damaged(how: str, path: str) -> CheckFailedError:
    return CheckFailedError(
        f"This shard is damaged: {how}",
        where=path,
        next="`cytoimagenet verify DIR` lists all files that must be downloaded again",
    )


def _from_tar(path: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    for key, members in _by_key(path):
        absent = {"png", "json", "cls"} - set(members)
        if absent:
            raise _damaged(f"{key} has no {', '.join(sorted(absent))}", path)
        row = json.loads(members["json"])
        image = {"bytes": members["png"], "path": f"{key}.png"}
        yield {"image": image, "label": int(members["cls"]), **{name: row[name] for name in columns}}


def _from_parquet(path: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file:
        for rows in row_groups(file, path, ["image", "label", *columns]):
            yield from rows.to_pylist()


def _by_key(path: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield `(key, {extension: bytes})` of each run of members with the same key; only regular files count."""
    key = ""
    members: dict[str, bytes] = {}
    with in_order(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            file = tar.extractfile(info) if info.isreg() else None
            tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header it has read
            if file is None:
                continue
            stem, _, extension = info.name.partition(".")
            if stem != key:
                if members:
                    yield key, members
                key, members = stem, {}
            if info.size > MAX_IMAGE_BYTES:  # also of a sparse file, which has fewer bytes in the shard
                raise _damaged(f"{info.name} has {info.size:,} bytes", path)
            if extension in members:
                raise _damaged(f"it has {info.name} twice", path)
            members[extension] = file.read()
    if members:
        yield key, members
