"""The list of an archive's files in a file, which worker processes map into their memory instead of receiving it.

The list of the published archive takes 90 MB; so it takes them once, however many processes read the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from .files import Archive, Listing

NAME = "listing.arrow"
_NUMBERS = ("sizes", "starts", "packed", "methods", "checks")
_SCHEMA = pa.schema([("name", pa.string()), *((name, pa.int64()) for name in _NUMBERS)])


@contextmanager
def shared(listing: Listing, folder: str) -> Iterator[str]:
    """Write a listing to a file in `folder` for the time of this context, and give the name of the file.

    Parameters
    ----------
    listing : Listing
    folder : str
        A local folder.
    """
    file = Path(folder, NAME)
    kind = _SCHEMA.with_metadata({"path": str(listing.path.absolute())})
    columns = [listing.names, *(pa.array(getattr(listing, name)) for name in _NUMBERS)]
    with pa.ipc.new_file(str(file), kind) as writer:
        writer.write_batch(pa.record_batch(columns, schema=kind))
    try:
        yield str(file)
    finally:
        with suppress(OSError):  # Windows: a process that ends may still have it open
            file.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def opened(file: str) -> Archive:
    """Open the archive whose listing is in a file; it stays open until the process ends.

    Parameters
    ----------
    file : str
        As `shared` gives it.
    """
    table = pa.ipc.open_file(pa.memory_map(file))
    batch = table.get_batch(0)
    place = Path(table.schema.metadata[b"path"].decode())
    sizes, starts, packed, methods, checks = (batch[name].to_numpy() for name in _NUMBERS)
    return Archive(Listing(place, batch["name"], sizes, starts, packed, methods, checks, refused={}))
