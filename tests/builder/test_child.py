"""A function called in a child process: its result, its errors, and its end when the time is up."""

import os
import time

import pytest
from cytoimagenet.builder.child import ChildError, call_in_child
from cytoimagenet.builder.dataset.describe import size
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.storage import filesystem


def test_the_result_or_the_error_of_the_function():
    assert call_in_child(size, 1234, seconds=60) == "1.23 kB"
    with pytest.raises(UsageError, match="not a path that this project opens"):
        call_in_child(filesystem, "ftp://x", seconds=60)


def test_a_process_that_does_not_return():
    with pytest.raises(ChildError, match="No result after 1 seconds"):
        call_in_child(time.sleep, 600, seconds=1)
    with pytest.raises(ChildError, match="ended with the status 7"):
        call_in_child(os._exit, 7, seconds=60)


def test_what_is_printed_does_not_get_into_the_result():
    assert call_in_child(os.system, "echo printed", seconds=60) == 0


def test_files_in_the_working_folder_are_not_imported(tmp_path):
    for name in ("pickle", "json", "cytoimagenet", "pandas", "fsspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    assert call_in_child(size, 1, seconds=60) == "1 bytes"
