"""Options that several commands of `eval` share, and how their values are read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of bbbc021/, coos7/, cyclops/. Default: $CYTOIMAGENET_EVALDATA, else ./evaldata."),
]
Model = Annotated[
    str, typer.Option(help="random, random:SEED, imagenet, a training run, or any image model of transformers.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="random, random:SEED, imagenet, a training run, or any image model of transformers; may be given several "
        "times. Default: imagenet.",
    ),
]
InputSize = Annotated[
    str, typer.Option(help="Side of the images shown to the network, in pixels; native (published): not resized.")
]
Chosen = Annotated[
    str | None, typer.Option("--embeddings", help="Model whose embeddings to use. Default: the only one in DIR.")
]
Engine = Annotated[str, typer.Option(help="Library that runs the network: auto, torch or openvino.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that decode images; more than 4 are processes. Default: by the cores."),
]

Threads = Annotated[
    int | None, typer.Option("--workers", min=1, help="Threads that decode images. Default: by the cores.")
]

OWN = "Your own images and tables"
OwnTasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="IMAGES",
        help="Your own labelled images: a table (.csv, .tsv, .parquet) with the columns `file` (or one column "
        "`file_CHANNEL` per channel), `label` and perhaps `group` or `split`, a folder, or a .zip. May be given "
        "several times.",
        rich_help_panel=OWN,
    ),
]
Label = Annotated[str | None, typer.Option(help="Column to predict, if it is not called label.", rich_help_panel=OWN)]
Group = Annotated[
    str | None,
    typer.Option(
        help="Column with what must not be on both sides of a fold (plate, donor, slide, movie), if it is not called "
        "group.",
        rich_help_panel=OWN,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Column with `train` and the names of test sets, if it is not called split.", rich_help_panel=OWN
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id",
        help="Of tables of features: column by which they are joined, to each other or to the images of --task, if it "
        "is not called id.",
        rich_help_panel=OWN,
    ),
]
FeaturesPrefix = Annotated[
    str | None,
    typer.Option(
        help="Of tables of features: how the names of features start, such as Cells_,Nuclei_; no other column is then "
        "a feature. Default: f0000, f0001 ... if there are such columns, else all columns of numbers except those that "
        "only describe a sample, such as time: these are printed.",
        rich_help_panel=OWN,
    ),
]


def listed(given: str, option: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the words of an option that takes several, separated by commas.

    Raises
    ------
    UsageError
        If a word is unknown, or there is none.
    """
    from ...builder.errors import UsageError

    words = tuple(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        problem = f"does not know {', '.join(unknown)}" if unknown else "names nothing"
        raise UsageError(f"{option} {given!r} {problem}", next=f"Use {', '.join(known)}")
    return words


def pixels(given: str) -> int | None:
    """Return the number of pixels that `--input-size` names, or None for the images' own size.

    Raises
    ------
    UsageError
        If it is neither `native` nor a number from 8 to 4096.
    """
    from ...builder.errors import UsageError

    if given == "native":
        return None
    if not given.isdigit() or not 8 <= int(given) <= 4096:
        raise UsageError(f"--input-size {given!r} is neither native nor a number of pixels from 8 to 4096")
    return int(given)
