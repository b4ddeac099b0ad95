"""The spelling of labels: each rule once, and properties of all rules."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from cytoimagenet.builder.schema import LABEL_COLUMNS
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.vocabulary import ORIGIN, RULES, Vocabulary, published_spellings, standard
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("column", "raw", "wanted"),
    [
        ("cell_type", "U-2 OS", "u2os"),
        ("cell_type", "U2-OS", "u2os"),
        ("cell_type", "white blood cell (b-cell)|Neutrophil|leukocyte", "white blood cell"),
        ("cell_type", "red blood cell (?)", "red blood cell"),
        ("cell_visible", "Nuclei|actin|nucleus", "nucleus|actin"),
        ("cell_visible", "GPCR", "cell membrane"),
        ("cell_visible", "nucleus|ACTB|RAB5A", "nucleus|actin|rab5a"),
        ("cell_visible", "['nuclei', 'b-tubulin']", "nucleus|b-tubulin"),
        ("phenotype", "DMSO", ""),
        ("phenotype", "N/A|dead|None", "dead"),
        ("phenotype", "gpcr", "gpcr"),
        ("compound", "DMSO", "dmso"),
        ("compound", "EMPTY", ""),
        ("compound", "['x', 'y']", "['x', 'y']"),
        ("compound", "[Sar9,Met(O2)11]-Substance P", "[sar9,met(o2)11]-substance p"),
        ("compound", "none of these", "none of these"),
        ("gene", "CHR2", "chr2 targeted"),
        ("gene", "empty", ""),
        ("gene", "a|chr2 targeted|A", "a targeted|chr2 targeted"),
        ("organism", "Homo sapiens", "human"),
        ("organism", "humanised mouse", "humanised mouse"),
        ("sirna", " s35651 ", "s35651"),
    ],
)
def test_spellings(column, raw, wanted):
    assert standard(raw, column) == wanted


@given(st.sampled_from(LABEL_COLUMNS), st.text(max_size=30))
def test_a_standard_spelling_stays_and_has_no_repeats(column, raw):
    once = standard(raw, column)
    # a list written as text may hold another one; no label of ours does
    if not re.match(r"\[\s*['\"]", once):
        assert standard(once, column) == once
    assert len(set(once.split("|"))) == len(once.split("|"))
    assert "" not in once.split("|") or once == ""


def test_what_each_rule_changed_is_counted_in_rows():
    vocabulary = Vocabulary()
    column = pa.array(["U-2 OS", "hela", "U-2 OS", "", "neutrophil"], pa.large_string())
    assert vocabulary.apply(column, "cell_type").to_pylist() == ["u2os", "hela", "u2os", "", "white blood cell"]
    changes = [(e["rule"], e["column"], e["rows"], e["before"], e["after"]) for e in vocabulary.report()]
    assert changes == [
        ("lower case", "cell_type", 2, "U-2 OS", "u-2 os"),
        ("u2os", "cell_type", 2, "u-2 os", "u2os"),
        ("white blood cell", "cell_type", 1, "neutrophil", "white blood cell"),
    ]


def test_every_rule_has_an_origin_and_known_columns():
    assert all(rule.origin and set(rule.columns) <= set(LABEL_COLUMNS) for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert set(ORIGIN) >= {rule.name for rule in RULES}


@pytest.mark.parametrize("column", LABEL_COLUMNS)
def test_the_registry_is_in_standard_spelling_already(column):
    odd = {
        n: v for n, s in SOURCES.items() if (v := getattr(s, column)) and standard(v, column) != v and column != "gene"
    }
    assert odd == {}


def test_published_spellings_keep_the_label_first():
    assert published_spellings("a/b") == ("a/b", "a -- b", "a*b")
    assert published_spellings("plain") == ("plain",)
