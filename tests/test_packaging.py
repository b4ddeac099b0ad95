"""What people cite and install agrees with project.toml and pyproject.toml."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {
    "title": "CytoImageNet",
    "authors": ["Ada Lovelace", "Santiago Ramón y Cajal"],
    "repository": "https://github.com/cells/cytoimagenet",
    "documentation": "https://cells.example/",
    "doi": "10.5281/zenodo.1",
    "conda_maintainers": ["ada"],
}


@pytest.fixture
def fill_in(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("fill_in")


def test_all_files_agree_with_the_facts_of_the_project():
    command = [sys.executable, ROOT / "tools/fill_in.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_facts_get_into_every_file_once(fill_in):
    for name, write in fill_in.FILES.items():
        before = (ROOT / name).read_text()
        after = write(before, PROJECT)
        assert "OWNER/cytoimagenet.git" not in after
        assert write(after, PROJECT) == after, name  # a second run changes nothing
        assert write(after, fill_in.facts()) == before, f"{name}: the way back"
    project = tomllib.loads(fill_in.pyproject((ROOT / "pyproject.toml").read_text(), PROJECT))["project"]
    assert project["authors"] == [{"name": name} for name in PROJECT["authors"]]
    assert project["urls"]["Issues"] == "https://github.com/cells/cytoimagenet/issues"
    cited = yaml.safe_load(fill_in.citation((ROOT / "CITATION.cff").read_text(), PROJECT))
    assert cited["authors"] == [{"name": name} for name in PROJECT["authors"]]
    assert (cited["repository-code"], cited["doi"]) == (PROJECT["repository"], PROJECT["doi"])
    assert cited["preferred-citation"]["authors"][0]["family-names"] == "Hua"
    badges = fill_in.readme((ROOT / "README.md").read_text(), PROJECT).splitlines()[2]
    assert badges.count("[![") == 4 and "zenodo.1.svg" in badges


def test_there_are_no_badges_of_a_repository_that_does_not_exist():
    if "OWNER" in (ROOT / "project.toml").read_text():
        assert "[![" not in (ROOT / "README.md").read_text()


def test_the_conda_recipe_has_the_requirements_of_the_package(fill_in):
    recipe = yaml.safe_load((ROOT / "tools/conda/recipe.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert recipe["context"]["version"] == package["version"]
    run = recipe["requirements"]["run"]
    assert len(run) == len(package["dependencies"]) + 1
    for text in package["dependencies"]:
        name = text.split(">")[0]
        assert any(line.startswith(fill_in.CONDA_NAMES.get(name, name) + " >") for line in run), name
    [entry] = recipe["build"]["python"]["entry_points"]
    assert entry == f"cytoimagenet = {package['scripts']['cytoimagenet']}"


def test_rattler_build_accepts_the_conda_recipe(tmp_path):
    reason = "py-rattler-build is not a requirement: 27 MB for this test alone; .github/workflows/ci.yml installs it"
    rattler_build = pytest.importorskip("rattler_build", reason=reason)
    text = (ROOT / "tools/conda/recipe.yaml").read_text()
    [variant] = rattler_build.Stage0Recipe.from_yaml(text, recipe_dir=tmp_path).render(rattler_build.VariantConfig())
    rendered = variant.recipe.to_dict()
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (rendered["package"]["name"], rendered["package"]["version"]) == (
        "cytoimagenet",
        written["project"]["version"],
    )
    assert rendered["build"]["noarch"] == "python"
    lowest = written["project"]["requires-python"].removeprefix(">=")
    host, run = (rendered["requirements"][part] for part in ("host", "run"))
    assert host[0] == f"python {lowest}.*" and run[0] == f"python >={lowest}"
    assert [line.replace(" ", "") for line in host[2:]] == written["build-system"]["requires"]
    names = [line.replace(" ", "").replace("_", "-") for line in run[1:]]
    assert names == [text.replace("_", "-") for text in written["project"]["dependencies"]]
    with pytest.raises(Exception, match="unknown field"):
        rattler_build.Stage0Recipe.from_yaml(text.replace("homepage:", "home:"), recipe_dir=tmp_path)


def test_the_release_needs_no_stored_password():
    text = (ROOT / ".github/workflows/release.yml").read_text()
    workflow = yaml.safe_load(text)
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"]["id-token"] == "write"
    assert "secrets." not in text
    uses = [step.get("uses", "") for step in publish["steps"]]
    assert any(use.startswith("pypa/gh-action-pypi-publish@") for use in uses)
    assert any(use.startswith("actions/attest-build-provenance@") for use in uses)
    assert workflow["permissions"] == {"contents": "read"}
