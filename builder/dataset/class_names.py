"""Classes by name: as they are spelt, or nearly; one error for a name that no class has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from ..errors import UsageError

SHOWN = 12  # names in an error without a suggestion


def find_classes(requested: str | Iterable[str], class_names: Sequence[str], where: str | None = None) -> list[str]:
    """Return the classes with the requested names, spelt as the dataset spells them.

    Upper and lower case, spaces, hyphens, underscores and dots do not matter where the name is unique without them:
    `HT 29` finds `ht29`.

    Parameters
    ----------
    requested : str or iterable of str
    class_names : sequence of str
        The classes of the dataset.
    where : str, optional
        The dataset folder, named in the error.

    Raises
    ------
    UsageError
        If there is no such class. The error names similar ones.

    Examples
    --------
    >>> find_classes(["HT 29", "actin"], ["actin", "ht29"])
    ['ht29', 'actin']
    """
    known = set(class_names)
    requested = [requested] if isinstance(requested, str) else list(requested)
    if known.issuperset(requested):
        return requested
    plain: dict[str, list[str]] = {}
    for name in class_names:
        plain.setdefault(_plain(name), []).append(name)
    found = []
    for name in requested:
        same = [name] if name in known else plain.get(_plain(str(name)), [])
        if len(same) != 1:
            raise _unknown(str(name), same or _similar(str(name), plain), class_names, where)
        found += same
    return found


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in " -_.")


def _similar(name: str, plain: dict[str, list[str]]) -> list[str]:
    return [plain[near][0] for near in get_close_matches(_plain(name), list(plain), n=3)]


def _unknown(name: str, similar: Sequence[str], class_names: Sequence[str], where: str | None) -> UsageError:
    if similar:
        hint = f"Did you mean {' or '.join(map(repr, similar))}?"
    else:
        more = f", ... ({len(class_names):,} in all)" if len(class_names) > SHOWN else ""
        hint = f"There are {', '.join(class_names[:SHOWN])}{more}."
    return UsageError(
        f"No class {name!r} in this dataset", where=where, next=f"{hint} `cytoimagenet info DIR --classes` lists all."
    )
