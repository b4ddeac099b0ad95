"""Options that several commands share, and their defaults. Light: it is imported to print a `--help`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..defaults import SHARD_SIZE_BYTES
from ..errors import UsageError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
SHARD_SIZE = f"{SHARD_SIZE_BYTES // 10**6}MB"


class Form(StrEnum):
    """The file formats of a shard."""

    webdataset = "webdataset"
    parquet = "parquet"


class LabelRule(StrEnum):
    """What several values in one cell of `organism` or `cell_type` are."""

    unambiguous = "unambiguous"
    published = "published"


class Allocation(StrEnum):
    """How a sample is shared among its strata."""

    proportional = "proportional"
    sqrt = "sqrt"


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
RawFolder = Annotated[
    str,
    typer.Argument(
        metavar="RAW",
        help="Folder or URL that contains one folder per source, e.g. RAW/bbbc013, or "
        "RAW/mine with a table images.csv.",
    ),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source", help="Read only this source, by the name of its folder or zip; may be given several times."
    ),
]
MinImages = Annotated[int, typer.Option(help="Leave out labels with fewer source images than this.")]
MaxImages = Annotated[int, typer.Option(help="Downsample larger classes to this many images.")]
AllocationOption = Annotated[
    Allocation,
    typer.Option(
        "--allocation",
        help="How many images each stratum (cell type, gene, compound, ...) gives to the sample of a large class: in "
        "proportion to its size, or to the square root of its size, which favours rare conditions.",
    ),
]
LabelsOption = Annotated[
    LabelRule,
    typer.Option(
        "--labels",
        help="Whether several organisms or cell types of one image, of which its source does not say which one is true "
        "(human|mouse|fly), are labels. published: each is one, as in the paper. unambiguous: none is.",
    ),
]
ShardSize = Annotated[str, typer.Option(help="Target size of a shard, e.g. 128MB or 64MiB.")]
ShardFormat = Annotated[
    Form,
    typer.Option(
        "--format", help="Shards as tar files that WebDataset reads, or as Parquet files with the same images."
    ),
]
Threads = Annotated[int | None, typer.Option(help="Number of threads. The result does not depend on it.")]

Pattern = Annotated[
    str | None,
    typer.Option(
        help="For files without a table: phenix, imagexpress, incell, cellvoyager or cell-painting, or an RE2 "
        "expression with named groups. The group `channel` joins several files to one sample; others become columns."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop with an error if any sample can't be used.")]


def seed_of(what: str) -> Any:
    """Return the option `--seed` of a command, with what depends on it: "the preview images"."""
    return typer.Option(help=f"Random seed of {what}.")


def examples(*commands: str) -> str:
    """Return the last part of a command's help: commands to copy."""
    return "\n\n".join(["\n[bold]Examples[/bold]", *(f"  {command}" for command in commands)])


def parse_size(text: str) -> int:
    """Return a size such as `128MB` or `64 MiB` in bytes.

    Examples
    --------
    >>> parse_size("128MB"), parse_size("64 MiB")
    (128000000, 67108864)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", text, re.IGNORECASE)
    value = int(float(match[1]) * UNITS[(match[2] or "").upper()]) if match else 0
    if value < 1:
        raise UsageError(f"{text!r} is not a size", where="--shard-size", next="Write it as 128MB, 64MiB or 1GB.")
    return value
