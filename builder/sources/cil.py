"""Records of one database."""

from __future__ import annotations

from .record import Source

RECORDS: tuple[Source, ...] = ()
