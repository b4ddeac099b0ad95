"""The command that shows what an image table contains: images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import emit, err, out
from .options import Json, Pattern, Strict, Threads, examples

EXAMPLES = examples(
    "cytoimagenet images plate1/images.csv",
    "cytoimagenet images plate1 --pattern imagexpress --out plate1.png",
    "cytoimagenet images cells.zip --strict --json",
)

Images = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="A table (.csv, .tsv, .parquet; local or a URL) with the column `file` or one column `file_CHANNEL` per "
        "channel; a folder; or a .zip. A folder or zip that contains images.csv is read through it.",
    ),
]


def images(
    images: Images,
    to: Annotated[
        Path | None, typer.Option("--out", help="The PNG with some of the images. Default: NAME.montage.png here.")
    ] = None,
    pattern: Pattern = None,
    strict: Strict = False,
    workers: Threads = None,
    as_json: Json = False,
) -> None:
    """Show what a table, folder or zip of your own images contains, and write a picture of some of them.

    Every image is read. Samples that can't be used are counted and listed with reasons in OUT.rejected.csv.
    """
    import io

    from ..image_table.check import check_pixels
    from ..image_table.montage import montage
    from ..image_table.table import read_image_table
    from ..storage import write_atomic

    table = read_image_table(images, pattern=pattern, strict=strict)
    table, measured = check_pixels(table, strict=strict, workers=workers)
    path = to or Path(f"{table.name}.montage.png")
    file = io.BytesIO()
    montage(table).save(file, "PNG")
    write_atomic(path, file.getvalue())
    rejected = table.write_rejected(path)
    sizes, types = (measured[name].value_counts().to_dict() for name in ("size", "type"))
    if as_json:
        emit({**table.summary(), "sizes": sizes, "types": types, "montage": str(path), "rejected_csv": rejected})
        return
    out.print(repr(table), markup=False)
    for name, counts in (("sizes", sizes), ("types", types)):
        shown = ", ".join(f"{value} ({count:,})" for value, count in list(counts.items())[:5])
        more = f", and {len(counts) - 5:,} more" if len(counts) > 5 else ""
        out.print(f"  {name:<9} {shown}{more}", markup=False)
    out.print(f"Wrote {path}", markup=False)
    if rejected:
        err.print(f"{len(table.rejected):,} samples can't be used: {rejected}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command("images", epilog=EXAMPLES)(images)
