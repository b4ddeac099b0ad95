"""CITATION.cff has what the format requires, and names the version of the package."""

import cytoimagenet
import yaml


def test_the_citation_file_is_complete(checkout):
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by the format 1.2.0
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == cytoimagenet.__version__
    assert citation["preferred-citation"]["authors"][0]["family-names"] == "Hua"
