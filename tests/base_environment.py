"""An environment with the base requirements of pyproject.toml alone: links to the installed packages, no copies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def distributions_of(requirements: list[str]) -> dict[str, Distribution]:
    """Return the installed distributions that these requirements need, directly or through others."""
    open_ones = [Requirement(text) for text in requirements]
    visited: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, Distribution] = {}
    while open_ones:
        requirement = open_ones.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        key = (name, frozenset(requirement.extras))
        if key in visited:
            continue
        visited.add(key)
        found[name] = distribution(name)
        for text in found[name].requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": one}) for one in ("", *requirement.extras)):
                open_ones.append(inner)
    return found


def make_base_environment(home: Path, checkout: Path) -> Path:
    """Create the environment with this checkout in it; return its Python."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next((home / "lib").glob("python*/site-packages"))
    for installed in distributions_of(project["dependencies"]).values():
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(installed.locate_file(top))))
    (site / "checkout.pth").write_text(f"{checkout}\n")
    return home / "bin" / "python"
