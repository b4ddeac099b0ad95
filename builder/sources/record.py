"""What is known of a source: one frozen record, and no code but the one step that finds its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from .folder import Folder

Tried = Literal["real images", "real metadata", "simulated"]
Labels = Callable[["pd.DataFrame", "Folder"], "pd.DataFrame"]

BROAD = "Broad Bioimage Benchmark Collection"
IDR = "Image Data Resource"
KAGGLE = "Kaggle"
RECURSION = "Recursion"
CIL = "Cell Image Library"
DATABASES = (BROAD, IDR, KAGGLE, RECURSION, CIL)

BRIGHTFIELD = "brightfield"
"""The stain written for an image in transmitted light. It is a row of its own and shows no stained part of the cell."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published set of images: its facts, and how its file names become rows.

    Parameters
    ----------
    dir_name : str
        Short name; also the folder below RAW (`bbbc013`).
    database, name, link, citation : str
        Who publishes it, under which title, where, and what to cite.
    licence : str
        As its publisher names it. `licence_verified` says whether that was read in the publisher's own text.
    organism, cell_type, phenotype, compound, gene, sirna : str
        What holds for every image; several values are joined by `|`. Empty where it differs from image to image
        (then `labels` finds it) or is not known.
    cell_visible : str, optional
        What the images show. Without it a row shows its own stains.
    microscopy : str
        Of the images that are not brightfield.
    images : int
        Rows that the whole source gives: fields with all their channels, or boxes.
    formats : tuple of str
        File formats, as the publisher ships them.
    downloads : tuple of str
        Addresses, or the command of the publisher's client.
    tried : {"real images", "real metadata", "simulated"}
        The hardest thing the reader was tried on.
    pattern : str
        Regular expression (RE2) for an image's path below the source's folder, without its extension, in any case of
        letters. Named groups: `channel` tells the files of one field apart, all others together name the field.
    stains : mapping of str to str
        Channel (as `pattern` finds it, in lower case) to what it stains, in merging order. Two stains in one file are
        joined by `/`. A source of one file a field has the one key `""`.
    apart : tuple of str
        Channels that are a row of their own: transmitted light, or each stain of a set labelled by stain.
    skip : tuple of (str, str)
        Regular expressions of files that are no images of this set (masks, corrected twins) and the reason.
    labels : callable, optional
        `labels(rows, folder)` returns `rows` with label columns added. `rows` has a column for each named group,
        `file` (first channel), `channels` and `stains`; it may return more rows (boxes of an image) or fewer,
        counting those through `folder.counts`.
    page : int, optional
        Which page of a stack is the image, from 0; written into `channels` as `#page=N`.
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
    pattern: str
    stains: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    labels: Labels | None = None
    page: int | None = None

    @property
    def licence_label(self) -> str:
        """The licence as it stands in a row: with the doubt, where there is one."""
        return self.licence if self.licence_verified else f"{self.licence} (unverified)"
