"""The 40 sources by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from ..errors import UsageError
from . import bbbc, cil, idr, kaggle, recursion
from .record import Source

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.dir_name: source
        for source in sorted(
            (*bbbc.RECORDS, *idr.RECORDS, *kaggle.RECORDS, *recursion.RECORDS, *cil.RECORDS),
            key=lambda source: source.dir_name,
        )
    }
)

EXCLUDED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("bbbc021", "coos7", "cyclops"), "evaluation data; it never enters the catalogue")
)
"""Folders that are left out on purpose, with the reason."""


def nearest(name: str) -> list[str]:
    """Return up to three names of known sources that resemble `name`, the most similar first.

    Examples
    --------
    >>> nearest("BBBC_13")[0]
    'bbbc013'
    """

    def plain(text: str) -> str:
        return re.sub(r"(?<!\d)0+(?=\d)|[^a-z0-9]", "", text.lower())  # equal for bbbc6, BBBC_006 and bbbc006

    known = {plain(source): source for source in SOURCES}
    return [known[found] for found in get_close_matches(plain(name), list(known), n=3, cutoff=0.5)]


def chosen(names: Iterable[str]) -> list[Source]:
    """Return the records of `names`, in the order of the registry.

    Raises
    ------
    UsageError
        If a name is not a known source; the error lists the most similar ones.
    """
    requested = set(names)
    for name in sorted(requested - set(SOURCES)):
        if name in EXCLUDED:
            raise UsageError(f"{name} is {EXCLUDED[name]}")
        near = nearest(name)
        raise UsageError(
            f"{name!r} is not a known source",
            next=f"Did you mean {' or '.join(near)}?" if near else "`cytoimagenet sources` lists all 40.",
        )
    return [source for name, source in SOURCES.items() if name in requested]
