"""Settings of the documentation site. `make docs` writes the generated pages, then builds build/site."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cytoimagenet  # noqa: E402

project = "CytoImageNet"
version = release = cytoimagenet.__version__
FACTS = tomllib.loads((HERE.parent / "project.toml").read_text(encoding="utf-8"))
author = ", ".join(FACTS["authors"])
copyright = f"{author}; code under Apache-2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["**/.ipynb_checkpoints", "generated/work", "notebooks"]
nb_execution_mode = "off"  # docs/generate.py has run them
nb_merge_streams = True
myst_heading_anchors = 4
smartquotes = False  # `--out` in a sentence would become a dash
default_role = "code"  # docstrings use single backticks
autodoc_typehints = "none"  # the docstrings name the types
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "CytoImageNet"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    # a link to a repository that does not exist yet would lead nowhere
    "source_repository": "" if "OWNER" in FACTS["repository"] else FACTS["repository"],
    "source_branch": "main",
    "source_directory": "docs/",
}
linkcheck_ignore = [r"https://www\.kaggle\.com/.*"]  # answers programs with an error
