"""Options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from ..errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


class Form(StrEnum):
    """The forms of a shard."""

    webdataset = "webdataset"
    parquet = "parquet"


def parse_size(text: str) -> int:
    """Return a size such as `128MB` or `64 MiB` in bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", text, re.IGNORECASE)
    value = int(float(match[1]) * UNITS[(match[2] or "").upper()]) if match else 0
    if value < 1:
        raise UsageError(f"{text!r} is no size", where="--shard-size", next="Write it as 128MB, 64MiB or 1GB")
    return value
