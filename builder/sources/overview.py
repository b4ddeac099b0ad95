"""The registry of sources as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .discover import choose
from .folder import Folder
from .record import BRIGHTFIELD, DATABASES, Source
from .registry import SOURCES

HEAD = """# The 40 sources

Written by `cytoimagenet sources --markdown`; do not edit. "Images" counts rows of the catalogue: fields of view with
all their channels, or boxes of such a field. A licence is marked "unverified" if nobody has read it in the publisher's
own text. "Reader tried on" names the most realistic input the reader was tested with: *real images*, *real metadata*
(the publisher's tables or file names, without pixels), or *simulated* files in the publisher's layout.
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
    return "\n".join(lines)


def _several(text: str) -> list[str]:
    return text.split("|") if text else []
