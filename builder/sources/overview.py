"""The registry of sources as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ambiguous import EXCLUSIVE_COLUMNS
from .discover import choose
from .folder import Folder
from .provenance import PROVENANCE, fills
from .record import BRIGHTFIELD, DATABASES, Source
from .registry import SOURCES

HEAD = """# The 40 sources

Written by `cytoimagenet sources --markdown`; do not edit. "Images" counts rows of the catalogue: fields of view with
all their channels, or boxes of such a field. A licence is marked "unverified" if nobody has read it in the publisher's
own text. "Reader tried on" names the most realistic input the reader was tested with: *real images*, *real metadata*
(the publisher's tables or file names, without pixels), or *simulated* files in the publisher's layout.
"""
FOOT = """## Labels that a source leaves open

Some sources give several organisms or cell types for every image. An image shows one of them (or, in the co-culture
`bbbc026`, both side by side), and the metadata does not say which:

{table}

By the published rule every one of these values is a label, and the rarest becomes the class. With all 40 sources and
the default settings, three classes would be affected: `fly` (1,000 images of `bbbc038`, most of which show human and
mouse nuclei), `mouse` (1,000 images, 843 of them from `bbbc038`) and `fibroblast` (all 864 co-cultures with
hepatocytes). We know 146 of the 894 published class names; none of the three is among them.

`cytoimagenet label` and `build` therefore do not use such values as labels. `fly` and `fibroblast` are not classes
then, `mouse` has 333 images of mouse cells, and the images of `bbbc026` and `bbbc038` have the label of what they
show, `nucleus`. Rows from which no label was taken are counted on the screen. `--labels published` follows the paper;
`label`, `build`, `info`, `browse` and the dataset card then name the classes that may be wrong. (Numbers:
`assign_labels` on tables of `bbbc014`, `bbbc020`, `bbbc026`, `bbbc038` and `idr0072` at their full size, the sources
of these labels.)

Several values in other columns are true together and remain labels: an image shows a nucleus and actin, a well got a
pool of siRNAs. The classes among them that an image did not get are its [alternatives](dataset.md#other-right-labels).
In the real table of `kag_hpa` (124,288 images, which `assign_labels` gives 22 classes with 19,325 images) every
selected image has at least one.

## Annotation and library tables

Some studies of the Image Data Resource publish two tables with one line per well: the annotation, and the library of
reagents or cell lines. They are never combined into one value. The annotation decides. The library fills only what the
annotation lacks: an empty cell, or a well without a line. Without an annotation, the library is used instead.
`cytoimagenet catalog` counts the filled wells and the wells where the two tables differ, and shows the most frequent
differences (with `--json`: `notes` and `remarks`).

A plate may have two names. `experiment_1` of the library and `experiment_01` of the annotation are one plate if the
folder that the tables name is the same, or if the names differ in punctuation and leading zeros only. A plate that
could be two plates of the other table is not matched.

| Source | Both tables at hand | Result |
|---|---|---|
| `idr0003` | annotation of 2015 (2 plates), library (85 plates) | no difference; 31,872 wells are in the library only |
| `idr0009` | annotation and library of screen B (70 plates) | no difference |
| `idr0016` | annotation and library of 2016 (20 plates) | no difference |
| `idr0037` | annotation and library (69 plates) | cell line differs in 597 of 3,303 wells |

Of the other studies at hand (`idr0017`, `idr0021`, `idr0041`, `idr0072`, `idr0080`, `idr0081`, `idr0088`, `idr0093`)
there is no library table. In `idr0037`, the annotation gives `A1ATD-iPSC patient 1` for 573 wells where the library
gives `CTRL0214pf-iely`, and `SPC clone 2` for 24 wells where the library gives `JACK`. We do not know which table is
right about these wells.

## Doses

`bbbc013` and `bbbc014` are plates of four replicates per dose. Each image has two labels as its compound:
`wortmannin`, and `wortmannin 3.91 nanomolar`. In a small dataset each dose becomes a class. The doses of `bbbc013` are
part of the reader. For those of `bbbc014`, put the publisher's `BBBC014_v1_platemap_all.txt` into the source's folder;
we have not found its unit, so the label is `tnf-alpha 10^-9.523`, as in the map. Wells without a compound have no
compound as their label.
"""
PROVENANCE_HEAD = """## Plate, well, site, control, magnification and pixel size

What each source fills, and from what: *file names*, the study's *annotation*, or the publisher's *table* or *plate
map*; a number is what the publisher states for all images. Cells without an entry are empty in the dataset: nothing is
guessed. `control` is empty for wells that are no controls, and where the study does not mark them. `channel_type`
follows from the stains, for all sources.

In addition, `curate` reads the header of each image file. Where a TIFF (OME-XML, ImageJ, MetaMorph, or a resolution
that only a microscope has), FLEX or DV file states the size of a pixel or the magnification, and the catalogue does
not, the header fills it. `catalog` reads an Opera's or Operetta's `Index.idx.xml` or `Index.xml` in the folder of the
images.
"""
COLUMNS = ("Source", "Name", "Images", "Formats", "Organism", "Stains", "Microscopy", "Licence", "Reader tried on")


def facts(source: Source) -> dict[str, Any]:
    """Return the facts about a source, ready for JSON."""
    names = ("dir_name", "database", "name", "link", "licence", "licence_verified", "citation", "images", "tried")
    return {
        **{name: getattr(source, name) for name in names},
        **{name: _several(getattr(source, name)) for name in ("organism", "cell_type")},
        "microscopy": microscopy(source),
        "stains": stains(source),
        "formats": list(source.formats),
        "downloads": list(source.downloads),
    }


def facts_in(
    raw: str, names: Iterable[str] | None = None
) -> tuple[list[tuple[Source, dict[str, Any]]], dict[str, str]]:
    """Return the sources in RAW with their facts, and what is left out with the reason.

    Parameters
    ----------
    raw : str
        Folder with one folder or zip per source, local or a URL.
    names : iterable of str, optional
        Only these.

    Returns
    -------
    list of (Source, facts)
        As `facts`, and `path`. The number of images of a user's own source is that of its usable rows.
    dict
        Folder or zip to reason.
    """
    from .own_table import read_own_source

    found, left_out = choose(raw, names)
    listed = []
    for one in found:
        source = one.record
        if source is None:
            source = read_own_source(one.root, one.table, Folder(one.root.path, one.dir_name)).source
        listed.append((source, {**facts(source), "path": one.root.path}))
    return listed, left_out


def stains(source: Source) -> list[str]:
    """Return the stains of all channels, each once, in merging order."""
    return list(dict.fromkeys(stain for names in source.stains.values() for stain in names.split("/") if stain))


def microscopy(source: Source) -> list[str]:
    """Return the kinds of microscopy, including brightfield channels."""
    light = [BRIGHTFIELD] if BRIGHTFIELD in source.stains.values() else []
    return list(dict.fromkeys([*_several(source.microscopy), *light]))


def markdown() -> str:
    """Return the registry as a Markdown page, with one table per database."""
    lines = [HEAD]
    for database in DATABASES:
        lines += [f"## {database}\n", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        for source in SOURCES.values():
            if source.database == database:
                cells = (
                    f"`{source.dir_name}`",
                    f"[{source.name}]({source.link})",
                    f"{source.images:,}",
                    ", ".join(source.formats),
                    ", ".join(_several(source.organism)) or "by image",
                    ", ".join(stains(source)) or "by image",
                    ", ".join(microscopy(source)),
                    source.licence_label,
                    source.tried,
                )
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join([*lines, PROVENANCE_HEAD, *_provenance(), "", FOOT.format(table="\n".join(_open_labels()))])


def _provenance() -> list[str]:
    """Return a table of what fills the columns of provenance, one row per source that fills any."""
    lines = [f"| Source | {' | '.join(f'`{name}`' for name in PROVENANCE)} |", f"|{'---|' * (len(PROVENANCE) + 1)}"]
    for source in SOURCES.values():
        found = fills(source)
        cells = [found.get(name, "") for name in PROVENANCE]
        cells = [
            f"{getattr(source, name):g}" if cell == "record" else cell
            for name, cell in zip(PROVENANCE, cells, strict=True)
        ]
        if found:
            lines.append(f"| `{source.dir_name}` | {' | '.join(cells)} |")
    rest = ", ".join(f"`{source.dir_name}`" for source in SOURCES.values() if not fills(source))
    return [*lines, "", f"Nothing but what the headers of the files state: {rest}."]


def _open_labels() -> list[str]:
    """Return a table of the sources that give several organisms or cell types for every image."""
    lines = ["| Source | Images | Organism | Cell type |", "|---|---|---|---|"]
    for source in SOURCES.values():
        values = [_several(getattr(source, name)) for name in EXCLUSIVE_COLUMNS]
        if any(len(several) > 1 for several in values):
            cells = (f"`{source.dir_name}`", f"{source.images:,}", *(", ".join(several) for several in values))
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _several(text: str) -> list[str]:
    return text.split("|") if text else []
