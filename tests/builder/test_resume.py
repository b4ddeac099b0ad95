"""A folder is taken for one set of settings: the same ones continue, others are refused or replace."""

import json

import pytest
from cytoimagenet.builder import resume
from cytoimagenet.builder.errors import SettingsChangedError
from cytoimagenet.builder.storage import TEMPORARY, read_bytes

WORDS = {"what": "This folder contains pictures made with other settings", "next": "Use another folder."}
SETTINGS = {"seed": 0, "split": "by-image", "sizes": (1, 2), "earlier": {"min_images": 287}}


def test_a_new_folder_gets_the_note_and_an_old_one_keeps_it(tmp_path):
    resume.claim(tmp_path / "out", "settings.json", SETTINGS, **WORDS)
    note = tmp_path / "out" / "settings.json"
    assert json.loads(note.read_text()) == {**SETTINGS, "sizes": [1, 2]}
    before = note.stat().st_mtime_ns
    resume.claim(tmp_path / "out", "settings.json", SETTINGS, **WORDS)
    assert note.stat().st_mtime_ns == before


def test_half_written_files_are_removed_and_finished_ones_kept(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f"{TEMPORARY}a").write_bytes(b"half")
    (tmp_path / "below" / "a").write_bytes(b"whole")
    resume.claim(tmp_path, "settings.json", SETTINGS, **WORDS)
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["a", "settings.json"]


def test_every_changed_setting_is_named_with_both_values(tmp_path):
    resume.claim(tmp_path, "settings.json", SETTINGS, **WORDS)
    (tmp_path / f"{TEMPORARY}a").write_bytes(b"half")
    other = {"seed": 1, "split": "by-image", "sizes": (1, 3), "earlier": {"min_images": 4}, "new": "x"}
    with pytest.raises(SettingsChangedError) as caught:
        resume.claim(tmp_path, "settings.json", other, **WORDS)
    assert caught.value.what == (
        "This folder contains pictures made with other settings: "
        "min_images 287, now 4, new None, now 'x', seed 0, now 1, sizes [1, 2], now (1, 3)"
    )
    assert (caught.value.where, caught.value.next) == (str(tmp_path), "Use another folder.")
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 0
    assert (tmp_path / f"{TEMPORARY}a").exists(), "a refused run touches nothing"


def test_replace_accepts_other_settings_and_writes_them_down(tmp_path):
    resume.claim(tmp_path, "settings.json", SETTINGS, **WORDS)
    resume.claim(tmp_path, "settings.json", {"seed": 7}, replace=True, **WORDS)
    assert json.loads((tmp_path / "settings.json").read_text()) == {"seed": 7}
    with pytest.raises(SettingsChangedError):
        resume.claim(tmp_path, "settings.json", SETTINGS, **WORDS)


def test_a_note_may_have_a_form_of_its_own_and_may_be_below_a_url(tmp_path):
    form = {"encode": lambda s: s["archive"].encode(), "decode": lambda b: {"archive": b.decode()}}
    folder = f"memory://resume-{tmp_path.name}"
    resume.claim(folder, "below/archive.txt", {"archive": "a" * 64}, **WORDS, **form)
    assert read_bytes(f"{folder}/below/archive.txt") == b"a" * 64
    resume.claim(folder, "below/archive.txt", {"archive": "a" * 64}, **WORDS, **form)
    with pytest.raises(SettingsChangedError, match=r"archive 'a{15}\.\.\., now 'b{15}\.\.\."):
        resume.claim(folder, "below/archive.txt", {"archive": "b" * 64}, **WORDS, **form)
