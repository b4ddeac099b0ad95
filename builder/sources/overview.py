"""What the registry says, for people and machines."""

from __future__ import annotations

from typing import Any

from .record import BRIGHTFIELD, DATABASES, Source
from .registry import SOURCES

HEAD = """# The 40 sources

Made by `cytoimagenet sources --markdown`; do not edit. An image is a row of the catalogue: a field with all its
channels, or a box of one. A licence that was not read in the publisher's own text is marked "unverified". "Reader tried
on" names the hardest input: *real images*, *real metadata* (the publisher's tables or file names, without pixels), or
*simulated* files in the publisher's layout.
"""
COLUMNS = ("Source", "Name", "Images", "Formats", "Organism", "Stains", "Microscopy", "Licence", "Reader tried on")


def facts(source: Source) -> dict[str, Any]:
    """Return a source's facts, ready for JSON."""
    names = ("dir_name", "database", "name", "link", "licence", "licence_verified", "citation", "images", "tried")
    return {
        **{name: getattr(source, name) for name in names},
        **{name: _several(getattr(source, name)) for name in ("organism", "cell_type")},
        "microscopy": microscopy(source),
        "stains": stains(source),
        "formats": list(source.formats),
        "downloads": list(source.downloads),
    }


def stains(source: Source) -> list[str]:
    """Return what the channels stain, each once, in merging order."""
    return list(dict.fromkeys(stain for names in source.stains.values() for stain in names.split("/") if stain))


def microscopy(source: Source) -> list[str]:
    """Return the kinds of microscopy, brightfield channels included."""
    light = [BRIGHTFIELD] if BRIGHTFIELD in source.stains.values() else []
    return list(dict.fromkeys([*_several(source.microscopy), *light]))


def markdown() -> str:
    """Return the registry as a page of tables, one a database."""
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
