"""Write the facts of project.toml into the files that repeat them, and the conda recipe from pyproject.toml.

`python tools/fill_in.py` rewrites them; with `--check` it only compares, and its exit code is 1 if one differs.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "OWNER"
CONDA_NAMES = {"huggingface-hub": "huggingface_hub"}
"""Distribution on PyPI: package on conda-forge, where the names differ."""


def facts() -> dict[str, Any]:
    """Return the content of project.toml."""
    return tomllib.loads((ROOT / "project.toml").read_text(encoding="utf-8"))


def pyproject(text: str, project: dict[str, Any]) -> str:
    """Return pyproject.toml with the authors and addresses."""
    authors = ", ".join(f'{{ name = "{name}" }}' for name in project["authors"])
    text = re.sub(r"(?m)^authors = \[.*\]\n", "", text)
    text = re.sub(r'(?m)^(license = "Apache-2.0"\n)', rf"authors = [{authors}]\n\1", text)
    lines = [
        f'Homepage = "{project["repository"]}"',
        f'Documentation = "{project["documentation"]}"',
        f'Issues = "{project["repository"]}/issues"',
        f'Changelog = "{project["repository"]}/blob/main/CHANGELOG.md"',
        'Paper = "https://arxiv.org/abs/2111.11646"',
    ]
    return re.sub(r"(?<=\[project\.urls\]\n)(?:.+\n)*", "\n".join(lines) + "\n", text)


def citation(text: str, project: dict[str, Any]) -> str:
    """Return CITATION.cff with the authors, the repository and the DOI."""
    authors = "".join(f"  - name: {name}\n" for name in project["authors"])
    text = re.sub(r"(?m)^authors:\n(?:  .*\n)+", f"authors:\n{authors}", text, count=1)
    text = re.sub(r"(?m)^(repository-code|url|doi): .*\n", "", text)
    facts = f"repository-code: {project['repository']}\nurl: {project['documentation']}\n"
    facts += f"doi: {project['doi']}\n" if project["doi"] else ""
    return re.sub(r"(?m)^(license: .*\n)", rf"\1{facts}", text, count=1)


def readme(text: str, project: dict[str, Any]) -> str:
    """Return README.md with badges below its title, once there is a repository to which they can point."""
    text = re.sub(r"(?m)^\[!\[.*\n\n", "", text)
    if PLACEHOLDER in project["repository"]:
        return text
    repository = project["repository"]
    badges = [
        f"[![CI]({repository}/actions/workflows/ci.yml/badge.svg)]({repository}/actions/workflows/ci.yml)",
        "[![PyPI](https://img.shields.io/pypi/v/cytoimagenet)](https://pypi.org/project/cytoimagenet/)",
        f"[![Documentation](https://img.shields.io/badge/documentation-site-blue)]({project['documentation']})",
    ]
    if project["doi"]:
        badges.append(f"[![DOI](https://zenodo.org/badge/DOI/{project['doi']}.svg)](https://doi.org/{project['doi']})")
    return re.sub(r"\A(# .*\n\n)", lambda title: f"{title[1]}{' '.join(badges)}\n\n", text)


def containerfile(text: str, project: dict[str, Any]) -> str:
    """Return the Containerfile with the address of the repository."""
    return re.sub(r'(?<=image\.source=")[^"]*', project["repository"], text)


def conda_recipe(_: str, project: dict[str, Any]) -> str:
    """Return the conda recipe (schema 1, conda-forge's recipe.yaml) of the base installation."""
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = written["project"]
    host_lines = "".join(f"    - {_conda_requirement(text)}\n" for text in written["build-system"]["requires"])
    run_lines = "".join(f"    - {_conda_requirement(text)}\n" for text in package["dependencies"])
    maintainers = "".join(f"    - {name}\n" for name in project["conda_maintainers"])
    version = package["version"]
    return f"""\
# yaml-language-server: $schema=https://raw.githubusercontent.com/prefix-dev/recipe-format/main/schema.json
# Written by tools/fill_in.py from pyproject.toml and project.toml. Not submitted to conda-forge: no release exists.
# The sha256 is that of the source archive on PyPI; zeros stand for a release that does not exist yet.
schema_version: 1

context:
  version: "{version}"
  python_min: "{package["requires-python"].removeprefix(">=")}"

package:
  name: cytoimagenet
  version: ${{{{ version }}}}

source:
  url: https://pypi.org/packages/source/c/cytoimagenet/cytoimagenet-${{{{ version }}}}.tar.gz
  sha256: "{"0" * 64}"

build:
  number: 0
  noarch: python
  script: ${{{{ PYTHON }}}} -m pip install . -vv --no-deps --no-build-isolation
  python:
    entry_points:
      - cytoimagenet = cytoimagenet:main

requirements:
  host:
    - python ${{{{ python_min }}}}.*
    - pip
{host_lines}\
  run:
    - python >=${{{{ python_min }}}}
{run_lines}
tests:
  - python:
      imports:
        - cytoimagenet
      python_version: ${{{{ python_min }}}}.*
  - script:
      - cytoimagenet --version
      - cytoimagenet sources bbbc013

about:
  summary: {package["description"]}
  license: {package["license"]}
  license_file: LICENSE
  homepage: {project["repository"]}
  documentation: {project["documentation"]}

extra:
  recipe-maintainers:
{maintainers}"""


def _conda_requirement(text: str) -> str:
    """Return a requirement of pyproject.toml as conda writes it.

    Examples
    --------
    >>> _conda_requirement("huggingface-hub>=2.2")
    'huggingface_hub >=2.2'
    """
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", text)
    assert found, text
    return f"{CONDA_NAMES.get(found[1], found[1])} {found[2]}".strip()


FILES: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "pyproject.toml": pyproject,
    "CITATION.cff": citation,
    "README.md": readme,
    "Containerfile": containerfile,
    "tools/conda/recipe.yaml": conda_recipe,
}


def main() -> int:
    """Rewrite the files, or report those that differ; return the exit code."""
    project, check, differ = facts(), "--check" in sys.argv, []
    for name, write in FILES.items():
        path = ROOT / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = write(before, project)
        if after != before:
            differ.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    for name in differ:
        print(f"{'differs from project.toml' if check else 'wrote'}: {name}")
    return int(check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
