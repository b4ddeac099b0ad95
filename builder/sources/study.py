"""The record of a study of the Image Data Resource: which columns of its tables become which labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Names = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The columns of a study's annotation table.

    Parameters
    ----------
    labels : mapping
        Our column to the study's, or to a tuple of its spellings in different releases. `phenotype.2` is a further
        value of `phenotype`. All must be present: a renamed column must not become an empty label.
    optional : mapping
        The same for columns that only some releases have.
    control : str or tuple of str
        The column, if there is one, that names controls; `provenance.control_of` reads its cells.
    plate, image : str or tuple of str
        The two columns by which a line is matched with images.
    folders : tuple of str
        Columns that name a plate's folder.
    only : (column, pattern), optional
        Lines that do not match the pattern are about other files (masks); they are left out and counted.
    refuse : (column, pattern, reason), optional
        Images whose line matches the pattern are left out and counted.
    markers : mapping of str to (column, pattern)
        A stain of the record to the column that names it, and the regular expression whose first group is that name.
    pages : mapping of int to str
        For files with several channels: page to stain, in merging order.
    key : callable, optional
        Returns an image's key from its path or, for a line, from all `folders` and the `image` cell joined by `/`.
        Without it the key is the well for screens and the file's name for experiments.
    """

    labels: Mapping[str, Names]
    optional: Mapping[str, Names] = field(default_factory=dict)
    control: Names = "Control Type"
    plate: Names = "Plate"
    image: Names = "Well"
    folders: tuple[str, ...] = ()
    only: tuple[str, str] | None = None
    refuse: tuple[str, str, str] | None = None
    markers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pages: Mapping[int, str] = field(default_factory=dict)
    key: Callable[[str], str] | None = None

    @property
    def by_well(self) -> bool:
        """Whether a line is about a well (screens) rather than an image (experiments)."""
        return "Well" in (self.image if isinstance(self.image, tuple) else (self.image,))
