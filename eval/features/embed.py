"""Embeddings of all images of a dataset folder, written into the folder.

Images are read in the order of `metadata.parquet`, in chunks. A finished chunk is stored in `.unfinished/` until all
are there, so that an interrupted run resumes and several processes share the work. Memory does not grow with the number
of images.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...builder.dataset import embeddings as files
from ...builder.dataset.manifest import Manifest, record_derived
from ...builder.errors import UsageError
from ...builder.pages.write import rewrite_pages
from ...builder.progress import progress
from ...builder.storage import atomic_writer, exists, filesystem, join, read_bytes, remove_temporaries, write_atomic
from ...loaders.map_images import map_images, read_places
from ...loaders.transforms import to_square
from .engine import choose as choose_engine
from .engine import runner
from .processes import Processes

if TYPE_CHECKING:
    from .backbones import Backbone

VERSION = 1  # of the meaning of the numbers; raised when the view of an image changes
UNFINISHED = ".unfinished"
SIZE = 224  # default side in pixels to which images are resized for the network
BATCH = 64  # images shown to the network at once; always the same images together, so that reruns are bit-identical
LARGEST = float(np.finfo(np.float16).max)


def embed(
    data_dir: str | PathLike[str],
    network: Backbone,
    *,
    size: int = SIZE,
    engine: str = "auto",
    workers: int = 2,
    name: str | None = None,
) -> Manifest:
    """Compute the embeddings of all images of a dataset folder and write them into it.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder that can be written to, local or a URL.
    network : Backbone
        See `backbones.load`.
    size : int
        Side in pixels to which images are resized, as in training.
    engine : {"auto", "torch", "openvino"}
        See `engine.choose`.
    workers : int
        Number of threads that read and decode images.
    name : str, optional
        Name of the file; by default that of the network.

    Returns
    -------
    Manifest
        Of the folder, with the new file. Embeddings that are already there are not computed again.

    Raises
    ------
    UsageError
        If the folder has embeddings of that name from another network or another size, or a vector does not fit into
        16-bit floats.

    Notes
    -----
    Under `torchrun` or `accelerate launch` the processes share the chunks.
    """
    manifest = Manifest.load(data_dir)
    processes = Processes()
    model = file_name(name or network.name)
    settings = {
        "version": VERSION,
        "model": network.name,
        "source": network.source,
        "weights": network.digest,
        "input_size": size,
        "engine": choose_engine(engine, processes.device),
        "dataset": manifest.digest,
    }
    where = join(manifest.root, files.path_of(model))
    if files.path_of(model) in manifest.derived and exists(where):
        _check_same(manifest, model, settings)
        return manifest
    rows = read_places(manifest, ("sha256",))
    folder = join(manifest.root, UNFINISHED, f"{files.EMBEDDINGS}-{model}-{_digest(settings)[:16]}")
    _compute(manifest, network, settings, rows, folder, processes, workers)
    if processes.is_main:
        _assemble(manifest, model, settings, rows, folder)
    processes.wait()
    return Manifest.load(data_dir)


def file_name(model: str) -> str:
    """Return the name of a model as the name of a file, in lower case as all names of a dataset folder.

    Examples
    --------
    >>> file_name("random:3")
    'random-3'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._")[:80] or "model"


def _check_same(manifest: Manifest, model: str, settings: dict[str, Any]) -> None:
    present = manifest.derived[files.path_of(model)]["settings"]
    differing = [key for key in ("version", "weights", "input_size", "dataset") if present.get(key) != settings[key]]
    if differing:
        raise UsageError(
            f"This folder has embeddings called {model!r} with another {' and '.join(differing)}",
            where=join(manifest.root, files.path_of(model)),
            next="Choose another --name, or remove the file to compute it again",
        )


def _compute(
    manifest: Manifest,
    network: Backbone,
    settings: dict[str, Any],
    rows: pa.Table,
    folder: str,
    processes: Processes,
    workers: int,
) -> None:
    """Write the missing chunks of vectors."""
    fs, inner = filesystem(folder)
    starts = range(0, len(rows), files.ROW_GROUP)
    missing = [number for number in range(len(starts)) if not fs.exists(join(inner, _chunk(number)))]
    processes.wait()  # all processes must list the same chunks before any of them writes one
    mine = missing[processes.index :: processes.count]
    side = settings["input_size"]
    done = len(rows) - sum(min(files.ROW_GROUP, len(rows) - starts[number]) for number in missing)
    run = runner(network.module, network.name, (side, side), settings["engine"], processes.device) if mine else None
    with progress("embed", len(rows)) as bar:
        bar.advance(done)
        for number in mine:
            assert run is not None
            part = rows.slice(starts[number], files.ROW_GROUP)
            batches = map_images(manifest.root, part, lambda images: _views(images, side), workers=workers, batch=BATCH)
            vectors = [_checked(run(batch), network) for batch in batches]
            content = io.BytesIO()
            np.save(content, np.concatenate(vectors).astype(np.float16), allow_pickle=False)
            write_atomic(join(folder, _chunk(number)), content.getvalue())
            bar.advance(len(part))
    processes.wait()


def _chunk(number: int) -> str:
    return f"{number:05d}.chunk"


def _views(images: list[NDArray[np.uint8]], side: int) -> NDArray[np.float32]:
    """Return images as the network sees them, shape (images, side, side), in [0, 1]."""
    return np.stack([to_square(image, side) for image in images]).astype(np.float32) / np.float32(255)


def _checked(vectors: NDArray[np.float32], network: Backbone) -> NDArray[np.float32]:
    if not (np.abs(vectors) <= LARGEST).all():
        raise UsageError(
            f"Network {network.name!r} returns features that do not fit into 16-bit floats (or are no numbers)",
            next="Use another network, or one whose last layer is normalised",
        )
    return vectors


def _assemble(manifest: Manifest, model: str, settings: dict[str, Any], rows: pa.Table, folder: str) -> None:
    """Write the file from its chunks, record it in the manifest and the pages, and remove the chunks."""
    where = join(manifest.root, files.path_of(model))
    remove_temporaries(join(manifest.root, files.EMBEDDINGS))
    writer = None
    with atomic_writer(where) as out:
        for number, start in enumerate(range(0, len(rows), files.ROW_GROUP)):
            vectors = np.load(io.BytesIO(read_bytes(join(folder, _chunk(number)))), allow_pickle=False)
            part = rows.slice(start, files.ROW_GROUP)
            table = files.table(part["key"].combine_chunks(), part["sha256"].combine_chunks(), vectors)
            if writer is None:
                settings = {**settings, "dimensions": vectors.shape[1]}
                kind = table.schema.with_metadata({files.SETTINGS: json.dumps(settings, sort_keys=True)})
                # features of a network hardly compress, and a dictionary of them would only take time
                compression = {files.KEY: "zstd", files.SHA256: "zstd", f"{files.VECTOR}.list.element": "none"}
                writer = pq.ParquetWriter(
                    out, kind, compression=compression, use_dictionary=False, write_page_checksum=True
                )
            writer.write_table(table)
        assert writer is not None, "a dataset has images"
        writer.close()
    record_derived(manifest.root, files.path_of(model), rows=len(rows), settings=settings)
    rewrite_pages(Manifest.load(manifest.root))
    fs, inner = filesystem(folder)
    fs.rm(inner, recursive=True)
    parent = filesystem(join(manifest.root, UNFINISHED))[1]
    if fs.exists(parent) and not fs.ls(parent):
        fs.rm(parent, recursive=True)


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
