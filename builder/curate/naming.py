"""What classes and images are called on disk."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

OTHER = re.compile(r"[^0-9a-z_-]+")


def slug(label: str) -> str:
    """Spell a label with `[0-9a-z_-]` alone, so that it can name files, folders and WebDataset keys.

    Examples
    --------
    >>> slug("Crème (10 µM)")
    'creme_10_m_'
    """
    apart = unicodedata.normalize("NFKD", label.lower())
    return OTHER.sub("_", "".join(c for c in apart if not unicodedata.combining(c))) or "_"


def slugs(classes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give every class a slug of its own.

    Parameters
    ----------
    classes : iterable of (category, label)

    Returns
    -------
    dict
        Label to slug. Where two labels are spelt alike the later one, by category and then by label, gets `-2`, the
        next `-3`.
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for _, label in sorted(set(classes)):
        plain = slug(label)
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        given[label] = name
        taken.add(name)
    return given


def file_name(slug: str, number: int, images: int) -> str:
    """Name image `number` (from 0) of a class of `images` images: `human-0101.png`, as wide as the class needs."""
    width = max(1, (images - 1).bit_length())
    return f"{slug}-{number:0{width}b}.png"
