"""Numbers of the published archive, to compare an import with."""

from __future__ import annotations

from dataclasses import dataclass, field

PUBLISHED_IMAGES, PUBLISHED_CLASSES = 890_737, 894  # preprint, abstract
PUBLISHED_CATEGORIES = {
    "compound": 637, "phenotype": 93, "cell_type": 44, "gene": 43, "cell_visible": 38, "sirna": 36, "organism": 3,
}  # fmt: skip
"""Classes per category; preprint, figure 2."""


@dataclass(frozen=True)
class Imported:
    """Result of an import; `print` shows it next to the published numbers.

    Attributes
    ----------
    rows : int
        Rows of metadata.csv.
    kept : int
        Images in the dataset.
    reasons : dict of str to int
        Number of rows and files left out, by reason; those under `renamed` are kept.
    categories : dict of str to int
        Number of classes per category.
    classes : int
        Number of classes.
    """

    rows: int
    kept: int
    classes: int
    reasons: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.kept:,} images of {self.rows:,} rows kept, {self.classes:,} classes",
            f"published: {PUBLISHED_IMAGES:,} images, {PUBLISHED_CLASSES} classes; difference: "
            f"{self.kept - PUBLISHED_IMAGES:+,} images, {self.classes - PUBLISHED_CLASSES:+,} classes",
        ]
        lines += [f"  {reason}: {count:,}" for reason, count in sorted(self.reasons.items())]
        lines.append(f"{'category':<14}{'classes':>9}{'published':>11}{'difference':>12}")
        for category, published in PUBLISHED_CATEGORIES.items():
            here = self.categories.get(category, 0)
            lines.append(f"{category:<14}{here:>9,}{published:>11,}{here - published:>+12,}")
        return "\n".join(lines)
