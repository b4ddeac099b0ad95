"""Random order and random numbers that depend on a seed and a name alone.

Rows may arrive in any order, in any number of chunks, on any number of workers: each name always gets the same numbers.
They come from a cryptographic hash, so that they are equal on every machine and with every version of every library.

Two places need something else. `labels.encode.row_order` hashes millions of rows with the vectorised hash of pandas, in
a third of the time of one Python call per row. `loaders.order` shuffles positions, which have no names, with numpy's
generator, anew in every epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def sort_key(name: str, seed: int, purpose: str) -> int:
    """Return a random integer of 64 bits to sort a name by.

    Parameters
    ----------
    name : str
        Of the row, image or group to be ordered.
    seed : int
    purpose : str
        What the order is for: two orders of the same names are independent if their purposes differ.

    Examples
    --------
    >>> sorted(["a", "b", "c"], key=lambda name: sort_key(name, 0, "example"))
    ['c', 'b', 'a']
    """
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{seed}\0{name}".encode()).digest()[:8], "big")


def sort_keys(names: Iterable[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return the `sort_key` of each name, shape (names,)."""
    return np.fromiter((sort_key(name, seed, purpose) for name in names), dtype=np.uint64)


def shuffled(names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the positions of distinct names in random order, shape (names,).

    Keys of 128 bits, where `sort_key` has 64: the order of the complete dataset must not depend on the order of the
    rows, not even in the case, at ten million names rare but possible, that two keys of 64 bits are equal.
    """
    keys = b"".join(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest() for name in names)
    halves = np.frombuffer(keys, ">u8").reshape(-1, 2)
    return np.lexsort((halves[:, 1], halves[:, 0]))


def random_integers(name: str, seed: int, count: int) -> NDArray[np.uint64]:
    """Return `count` random integers of 64 bits for a name: the raw output of PCG64, which numpy promises to keep."""
    state = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest(), "little")
    return np.random.PCG64(state).random_raw(count)
