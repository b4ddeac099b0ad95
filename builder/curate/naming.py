"""Names of classes and images on disk."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NOT_ALLOWED = re.compile(r"[^0-9a-z_-]+")


def slug(label: str) -> str:
    """Spell a label with `[0-9a-z_-]` only, so that it can name files, folders and WebDataset keys.

    Examples
    --------
    >>> slug("Crème (10 µM)")
    'creme_10_m_'
    """
    decomposed = unicodedata.normalize("NFKD", label.lower())
    return NOT_ALLOWED.sub("_", "".join(c for c in decomposed if not unicodedata.combining(c))) or "_"


def slugs(classes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give every class a different slug.

    Parameters
    ----------
    classes : iterable of (category, label)

    Returns
    -------
    dict
        Label to slug. If two labels give the same slug, the later one, by category and then by label, gets `-2`, the
        next `-3`.

    Examples
    --------
    >>> slugs([("gene", "TP53"), ("gene", "tp53")])
    {'TP53': 'tp53', 'tp53': 'tp53-2'}
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
    """Return the file name of image `number` (from 0) of a class of `images` images.

    The number is binary, as in the published dataset, and zero-padded to the number of digits of the class size.

    Examples
    --------
    >>> file_name("human", 5, images=12)
    'human-0101.png'
    """
    width = max(1, (images - 1).bit_length())
    return f"{slug}-{number:0{width}b}.png"
