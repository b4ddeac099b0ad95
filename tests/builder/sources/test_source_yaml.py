"""source.yaml: plain text only, bounded, every key checked, the line named."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.schema import LABEL_COLUMNS
from cytoimagenet.builder.sources import source_yaml
from cytoimagenet.builder.sources.source_yaml import KEYS, MAX_BYTES, Facts, parse, plain, suggestion
from hypothesis import given
from hypothesis import strategies as st

FULL = """
# our screen
name: Screen of 2024
database: Our lab
licence: CC BY 4.0
link: https://lab.example/screen?id=1
citation: >
  Doe J (2024).
  A screen.
organism: human
gene: NO
compound: 2024-01-01
cell_type: [u2os, hela]
microscopy: confocal
label: phenotype
stains:
  DNA: nucleus
  "1": [Actin, golgi]
  bf: brightfield
"""


def read(text: str | bytes) -> Facts:
    return parse(text.encode() if isinstance(text, str) else text, "RAW/x/source.yaml", "x")


def test_every_key_is_read_as_text():
    assert read(FULL) == Facts(
        name="Screen of 2024",
        database="Our lab",
        licence="CC BY 4.0",
        link="https://lab.example/screen?id=1",
        citation="Doe J (2024). A screen.",
        microscopy="confocal",
        label="phenotype",
        labels={"organism": "human", "cell_type": "u2os|hela", "compound": "2024-01-01", "gene": "NO"},
        stains={"DNA": "nucleus", "1": "actin/golgi", "bf": "brightfield"},
    )
    assert set(KEYS) >= set(LABEL_COLUMNS)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "licence:\nlink: ''\norganism: []\n"])
def test_nothing_stated_is_the_defaults(text):
    assert read(text) == Facts(name="x", database="own images", licence="not stated")


def test_a_text_is_the_stain_of_the_only_channel():
    assert read("stains: Nucleus").stains == {"": "nucleus"}
    assert read("stains: [nucleus, actin]").stains == {"": "nucleus/actin"}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name: a\nlicense: MIT\n", 2, "Unknown key 'license'.*Did you mean 'licence'"),
        ("Organism: human\n", 1, "Unknown key 'Organism'.*Did you mean 'organism'"),
        ("zebra: 1\n", 1, "Unknown key 'zebra'.*The keys are name, "),
        ("name: a\norganism: x\n\nname: b\n", 4, "'name' is in lines 1 and 4"),
        ("name: [a, b]\n", 1, "'name' is not one line of text"),
        ("organism: {a: b}\n", 1, "'organism' is not one line of text"),
        ('name: "a\\eb"\n', 1, "'name' is not one line of text"),
        ("name: x\nlink: javascript:alert(1)\n", 2, "'link' is not an address"),
        ("link: 'https://a.b/) <script>'\n", 1, "'link' is not an address"),
        ("label: phenotpye\n", 1, "no label column.*Did you mean 'phenotype'"),
        ("label: dose\n", 1, "no label column.*It is one of organism"),
        ("stains: {a: x, a: y}\n", 1, "A channel appears twice"),
        ("stains: {a: 'x|y'}\n", 1, "A stain contains"),
        ("stains: {a: [brightfield, actin]}\n", 1, "either brightfield or stained"),
        ("- a\n- b\n", None, "no `key: value` lines"),
        ("just text", None, "no `key: value` lines"),
        ("name: 'open\n", None, "Not readable as YAML"),
        ("a: b: c\n", 1, "Not readable as YAML"),
        ("\tname: a\n", 1, "Not readable as YAML"),
        (b"name: \xff\xfe\n", None, "Not readable as YAML"),
        (b"name: a\x00b\n", None, "Not readable as YAML"),
        ("name: a\n---\nname: b\n", 2, "several documents"),
        ("name: &a x\norganism: *a\n", 2, "alias"),
        ("name: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("name: !x y\n", 1, "tag"),
        ("stains:\n  a:\n    - - deep\n", 3, "deeper than 3 levels"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, line, what):
    with pytest.raises(MetadataError, match=f"(?s){what}") as error:
        read(text)
    assert error.value.where == "RAW/x/source.yaml" + (f", line {line}" if line else "") or line is None


def bomb() -> str:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(20)]
    return "\n".join(levels)


@pytest.mark.parametrize(
    "text",
    [bomb(), "[" * 60_000, "{a: " * 16_000, "- " * 30_000, "? " * 30_000, "name: " + "x" * MAX_BYTES, "a: \n" * 16_000],
    ids=["aliases", "lists", "maps", "items", "keys", "size", "repeats"],
)
def test_hostile_files_are_refused(text):
    with pytest.raises(MetadataError):
        read(text)


def test_too_large_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(source_yaml, "_refuse_what_is_not_plain", None)
    with pytest.raises(MetadataError, match="Larger than 65,536 bytes"):
        read("#" * (MAX_BYTES + 1))


@given(st.binary(max_size=200) | st.text(st.sampled_from("ab:-[]{}&*!|>'\"#\n \t?,%@`"), max_size=60).map(str.encode))
def test_any_bytes_give_facts_or_one_kind_of_error(data):
    with suppress(MetadataError):
        assert isinstance(parse(data, "f", "x"), Facts)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Phenotype ", "phenotype"),
        ("phenotyp", "phenotype"),
        ("fenotype", "phenotype"),
        ("cell-type", "cell_type"),
        ("celltype", "cell_type"),
        ("orgnaism", "organism"),
        ("compounds", "compound"),
        ("time", ""),
        ("well_id", ""),
        ("date", ""),
        ("dose", ""),
        ("x", ""),
    ],
)
def test_what_was_probably_meant(name, meant):
    assert (
        suggestion(name, [*LABEL_COLUMNS, "plate", "well", "site", "microscopy", "licence", "group", "label"]) == meant
    )
    assert plain(name) == plain(plain(name))
