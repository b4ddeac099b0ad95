"""The embeddings of a dataset folder: one vector of a network per image, in `embeddings/<model>.parquet`.

A file has one row per row of `metadata.parquet`, in the same order, with the columns `key`, `sha256` (of the image's
pixels) and `vector` (16-bit floats). Rows are read in blocks, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import CheckFailedError, SchemaError, UsageError
from ..storage import filesystem, join
from .manifest import Manifest
from .names import EMBEDDINGS

KEY, SHA256, VECTOR = "key", "sha256", "vector"
SETTINGS = b"cytoimagenet"  # key of the settings in the metadata of the Parquet file
ROW_GROUP = 2048  # images
MAX_DIMENSIONS = 100_000


def columns(dimensions: int) -> pa.Schema:
    """Return the columns of a file of embeddings."""
    vector = pa.field(VECTOR, pa.list_(pa.field("element", pa.float16(), nullable=False), dimensions), nullable=False)
    return pa.schema(
        [pa.field(KEY, pa.string(), nullable=False), pa.field(SHA256, pa.string(), nullable=False), vector]
    )


def table(keys: pa.Array, digests: pa.Array, vectors: NDArray[np.float16]) -> pa.Table:
    """Return a part of a file of embeddings.

    Parameters
    ----------
    keys, digests : Arrow arrays of str
        The columns key and sha256 of the metadata.
    vectors : array, shape (images, dimensions), float16
    """
    dimensions = vectors.shape[1]
    values = pa.array(np.ascontiguousarray(vectors).ravel())
    column = pa.FixedSizeListArray.from_arrays(values, type=columns(dimensions).field(VECTOR).type)
    return pa.table([keys, digests, column], schema=columns(dimensions))


def names(manifest: Manifest) -> list[str]:
    """Return the models whose embeddings a dataset folder has."""
    return sorted(
        path.removeprefix(f"{EMBEDDINGS}/").removesuffix(".parquet")
        for path in manifest.derived
        if path.startswith(f"{EMBEDDINGS}/")
    )


def path_of(model: str) -> str:
    """Return the path of a model's embeddings below the dataset folder."""
    return f"{EMBEDDINGS}/{model}.parquet"


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of one model, opened but not yet read.

    Parameters
    ----------
    root : str
        The dataset folder, local or a URL.
    model : str
    """

    root: str
    model: str

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        fs, inner = filesystem(self._where)
        try:
            with fs.open(inner, "rb") as file, pq.ParquetFile(file, page_checksum_verification=True) as table:
                yield table
        except FileNotFoundError as error:
            raise UsageError(
                f"The embeddings of {self.model!r} were not downloaded",
                where=self.root,
                next=f"Pull the dataset again with --include '{path_of(self.model)}'",
            ) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(f"Not a readable Parquet file: {error}", where=self._where) from error

    @property
    def _where(self) -> str:
        return join(self.root, path_of(self.model))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """How the vectors were computed: network and its digest, size of the input, digest of the dataset."""
        with self._open() as file:
            found = (file.schema_arrow.metadata or {}).get(SETTINGS)
        return json.loads(found) if found else {}

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Numbers of images and of dimensions."""
        with self._open() as file:
            kind = file.schema_arrow.field(VECTOR).type if VECTOR in file.schema_arrow.names else None
            if not isinstance(kind, pa.FixedSizeListType) or kind.value_type != pa.float16():
                raise SchemaError(
                    "This is not a file of embeddings: it has no column of 16-bit vectors", where=self._where
                )
            return file.metadata.num_rows, kind.list_size

    def keys(self) -> pa.ChunkedArray:
        """Return the keys of the images, in the order of the rows."""
        with self._open() as file:
            return file.read([KEY])[KEY]

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Yield the index of the first row and the vectors of each block of rows, shape (images, dimensions)."""
        start, (_, dimensions) = 0, self.shape
        with self._open() as file:
            for number in range(file.num_row_groups):
                column = file.read_row_group(number, columns=[VECTOR])[VECTOR].combine_chunks()
                block = column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dimensions)
                yield start, block
                start += len(block)

    def load(self) -> NDArray[np.float32]:
        """Return all vectors, shape (images, dimensions): 4 bytes per value."""
        values = np.empty(self.shape, np.float32)
        for start, block in self.blocks():
            values[start : start + len(block)] = block
        return values

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the vectors of some rows, shape (rows, dimensions), reading one block at a time."""
        values = np.empty((len(rows), self.shape[1]), np.float32)
        for start, block in self.blocks():
            here = np.flatnonzero((rows >= start) & (rows < start + len(block)))
            values[here] = block[rows[here] - start]
        return values


def open_embeddings(manifest: Manifest, model: str | None = None) -> Embeddings:
    """Find the embeddings of a model in a dataset folder.

    Parameters
    ----------
    manifest : Manifest
        Of the folder.
    model : str, optional
        Name of the model; not needed if the folder has the embeddings of one model only.

    Raises
    ------
    UsageError
        If the folder has none of this model, or of several and none was named.
    CheckFailedError
        If they were computed for other images than those of the folder.
    """
    present = names(manifest)
    command = f"cytoimagenet embed {manifest.root} --model {model or 'imagenet'}"
    if model is None and len(present) > 1:
        raise UsageError(
            f"There are embeddings of several models: {', '.join(present)}",
            where=manifest.root,
            next="Name one of them",
        )
    if not present or (model is not None and model not in present):
        what = "no embeddings" if not present else f"no embeddings of {model!r}, but of {', '.join(present)}"
        raise UsageError(f"This dataset folder has {what}", where=manifest.root, next=f"Compute them: {command}")
    found = Embeddings(manifest.root, model or present[0])
    images = sum(entry["train"] + entry["validation"] for entry in manifest.classes)
    if found.settings.get("dataset") != manifest.digest or found.shape[0] != images:
        raise CheckFailedError(
            f"The embeddings of {found.model!r} belong to other images than those of this folder",
            where=join(manifest.root, path_of(found.model)),
            next=f"Remove the file and compute it again: {command}",
        )
    return found
