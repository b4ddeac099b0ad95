"""The record of a source: its facts, the pattern of its file names, and the function that finds its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from .folder import Folder

Tried = Literal["real images", "real metadata", "simulated", "image table"]
Labels = Callable[["pd.DataFrame", "Folder"], "pd.DataFrame"]

BROAD = "Broad Bioimage Benchmark Collection"
IDR = "Image Data Resource"
KAGGLE = "Kaggle"
RECURSION = "Recursion"
CIL = "Cell Image Library"
DATABASES = (BROAD, IDR, KAGGLE, RECURSION, CIL)

BRIGHTFIELD = "brightfield"
"""The stain recorded for an image in transmitted light. Such an image is a separate row and shows no stain."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published set of images: its facts, and how rows follow from its file names.

    Parameters
    ----------
    dir_name : str
        Short name; also the folder below RAW (`bbbc013`).
    database, name, link, citation : str
        The publisher, the title, the address, and the text to cite.
    licence : str
        As its publisher names it. `licence_verified` is true if somebody has read it in the publisher's own text.
    organism, cell_type, phenotype, compound, gene, sirna : str
        Values that are the same for every image; several values are joined by `|`. Empty if they differ between images
        (then `labels` finds them) or are not known. Several organisms or cell types are alternatives, of which an image
        shows one: by default they are not labels (`builder/ambiguous.py`).
    cell_visible : str, optional
        The parts of a cell that the images show. Without it, these are the stains of each row.
    microscopy : str
        Kind of microscopy of the images that are not brightfield.
    images : int
        Number of rows of the complete source: fields with all their channels, or boxes.
    formats : tuple of str
        File formats, as published.
    downloads : tuple of str
        Addresses, or the command of the publisher's client.
    tried : {"real images", "real metadata", "simulated", "image table"}
        The most realistic input the reader was tested with; "image table" for a user's own source (`own_table`).
    pattern : str
        Regular expression (RE2) for an image's path below the source's folder, without its extension; upper and lower
        case are the same. The named group `channel` distinguishes the files of one field; all other named groups
        together identify the field.
    stains : mapping of str to str
        Channel (as `pattern` finds it, in lower case) to its stain, in merging order. Two stains in one file are joined
        by `/`. A source with one file per field has the single key `""`.
    apart : tuple of str
        Channels that become separate rows: transmitted light, or each stain of a set that is labelled by stain.
    skip : tuple of (str, str)
        Regular expressions of files that are not images of this set (masks, corrected copies), each with a reason.
    labels : callable, optional
        `labels(rows, folder)` returns `rows` with label columns added. `rows` has a column for each named group,
        `file` (first channel), `channels` and `stains`. The function may return more rows (boxes of an image) or
        fewer, and counts the latter in `folder.counts`. It may also add `microscopy`, `licence`, the columns of
        `provenance.PROVENANCE`, and `group`: the plate, movie or donor that the train/validation split must not
        divide. Any other new column is an error.
    plate : tuple of str
        Named groups of `pattern` that together name the plate, joined by `_`. The groups `well` (or `row` and `column`)
        and `site` (or `field`) give the columns `well` and `site` (`provenance.with_places`).
    magnification, pixel_size : float, optional
        The objective, and the side of a pixel in micrometres, where the publisher states one for all images.
    tables : mapping of str to str
        Columns of `provenance.PROVENANCE` that `labels` fills, and from what: `annotation`, `table` or `plate map`.
    group : tuple of str
        Named groups of `pattern` that together name a movie or donor: its images go into one split. Without it, the
        rows that one field gives (`apart`) form a group.
    page : int, optional
        Page of a stack that is the image, from 0; written into `channels` as `#page=N`.
    """

    dir_name: str
    database: str
    name: str
    link: str
    licence: str
    licence_verified: bool = False
    citation: str
    downloads: tuple[str, ...] = ()
    tried: Tried
    images: int
    formats: tuple[str, ...]
    organism: str = ""
    cell_type: str = ""
    cell_visible: str | None = None
    phenotype: str = ""
    compound: str = ""
    gene: str = ""
    sirna: str = ""
    microscopy: str
    pattern: str = ""
    stains: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    labels: Labels | None = None
    plate: tuple[str, ...] = ("plate",)
    magnification: float | None = None
    pixel_size: float | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    group: tuple[str, ...] = ()
    page: int | None = None

    @property
    def licence_label(self) -> str:
        """The licence as written into rows: marked `(unverified)` unless somebody has read it."""
        return self.licence if self.licence_verified else f"{self.licence} (unverified)"
