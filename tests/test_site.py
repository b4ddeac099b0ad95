"""The documentation site: every page is in its navigation, it builds without warnings, and its notebooks run."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOT_PAGES = {"index"}


@pytest.fixture
def docs_module(monkeypatch):
    """Import a module of the folder docs, which is no package."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module


def toctree(page: str) -> list[str]:
    found = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    lines = [line for block in found for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(":")]


def test_every_page_is_in_the_navigation(docs_module):
    generate = docs_module("generate")
    listed = toctree("index.md")
    assert len(listed) == len(set(listed))
    pages = {path.stem for path in DOCS.glob("*.md")} - NOT_PAGES
    generated = {f"generated/{name}" for name in ("commands", "python", "gallery", *generate.NOTEBOOKS)}
    assert set(listed) == pages | generated | {"benchmarks/index"}
    assert toctree("benchmarks/index.md") == ["*"]


def test_every_command_and_public_name_is_in_the_reference(docs_module):
    import cytoimagenet

    pages = docs_module("reference_pages")
    text = pages.commands()
    group = pages.application()
    headings = set(re.findall(r"^#{3,4} (.+)$", text, flags=re.MULTILINE))
    expected = set()
    for name, command in group.commands.items():
        expected |= {name, *(f"{name} {inner}" for inner in getattr(command, "commands", {}))}
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden and "--help" not in parameter.opts:
                assert all(f"`{opt}`" in text for opt in parameter.opts), (name, parameter.opts)
    assert headings == expected
    names = [name for names in pages.PYTHON.values() for name in names]
    assert sorted(names) == sorted(cytoimagenet.__all__)
    assert all(f":: cytoimagenet.{name}" in pages.python() for name in names)


def test_the_text_of_a_help_is_not_read_as_markdown(docs_module):
    pages = docs_module("reference_pages")
    assert pages._escape("<recipe>-<digits>, *.png and `file_<channel>`") == (
        r"\<recipe>-\<digits>, \*.png and `file_<channel>`"
    )
    assert pages._escape("With --tile: `eval --features` and --out") == "With `--tile`: `eval --features` and `--out`"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors; its notebooks are not run."""
    pytest.importorskip("myst_nb")
    import shutil

    sys.path.insert(0, str(DOCS))
    try:
        pages, generate = importlib.import_module("reference_pages"), importlib.import_module("generate")
    finally:
        sys.path.remove(str(DOCS))
    place = tmp_path_factory.mktemp("site")
    root = place / "docs"
    shutil.copytree(DOCS, root, ignore=shutil.ignore_patterns("generated", "__pycache__"))
    shutil.copytree(DOCS.parent / "tools", place / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "project.toml"):
        shutil.copy(DOCS.parent / name, place)
    (root / "generated" / "gallery").mkdir(parents=True)
    (root / "generated" / "commands.md").write_text(pages.commands())
    (root / "generated" / "python.md").write_text(pages.python())
    parts = ["# Gallery"]
    for file, title, *_ in generate.GALLERY:
        shutil.copy(DOCS / "demo.png", root / "generated" / "gallery" / file)
        parts.append(f"![{title}](gallery/{file})")
    (root / "generated" / "gallery.md").write_text("\n\n".join(parts))
    for name in generate.NOTEBOOKS:
        shutil.copy(DOCS / "notebooks" / f"{name}.ipynb", root / "generated")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(root), str(place / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "site"


def test_the_site_builds_without_warnings(site):
    """With the notebooks as they are written: another test runs them."""
    page = (site / "generated" / "python.html").read_text()
    assert 'id="cytoimagenet.load_dataset"' in page


def test_the_notebooks_run_from_top_to_bottom(tmp_path, docs_module):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("efficientnet_lite_pytorch")
    generate, data = docs_module("generate"), docs_module("simulated_data")
    data.write(tmp_path)
    for name in generate.NOTEBOOKS:
        notebook = generate.run_notebook(name, tmp_path)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code)
        printed = "".join(output.get("text", "") for cell in code for output in cell.outputs)
        assert "Traceback" not in printed and "Error" not in printed
    assert "leave one of 6 groups out" in printed  # of the last: your-own-images
    assert "\x1b" not in printed and "it/s" not in printed
    assert (tmp_path / "own" / "cytoimagenet" / "manifest.json").is_file()


def test_the_notebooks_are_committed_without_outputs():
    import json

    for path in (DOCS / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") for cell in cells), path.name


@pytest.mark.browser
def test_the_pages_fit_a_phone(site, chromium):
    for page in ("index.html", "evaluation.html", "generated/commands.html"):
        chromium.set_window_size(390, 900)
        chromium.get((site / page).as_uri())
        width = chromium.execute_script("return document.documentElement.scrollWidth")
        assert width <= chromium.execute_script("return window.innerWidth"), page
