"""The limits on one image, and the processes in which single images are tried."""

import resource
import signal
import subprocess
import sys

import pytest
from cytoimagenet.builder.curate import trial
from cytoimagenet.builder.errors import CytoImageNetError
from cytoimagenet.builder.images.guard import ImageLimits, ended_by_timer, one_image
from cytoimagenet.builder.images.make import PixelSettings, SourceImage

from tests.builder.curate import curated_sources as made

BUSY = """
from cytoimagenet.builder.images.guard import ImageLimits, one_image
with one_image(ImageLimits(seconds=0.2)):
    {}
print("survived")
"""


@pytest.mark.parametrize(
    "work", ["while True: pass", "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"], ids=["Python", "C"]
)
def test_a_process_ends_when_the_time_of_an_image_is_up(work):
    ended = subprocess.run([sys.executable, "-c", BUSY.format(work)], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGPROF
    assert ended_by_timer(ended.returncode)
    assert ended.stdout == b""


def test_waiting_is_not_counted_and_the_timer_stops_with_the_image():
    work = "import time; time.sleep(0.4)\nfor _ in range(3 * 10**6): pass"
    ended = subprocess.run([sys.executable, "-c", BUSY.format(work)], capture_output=True, check=False)
    assert ended.stdout == b"survived\n"
    assert not ended_by_timer(ended.returncode)


def test_too_much_memory_is_refused_and_the_limit_ends_with_the_image():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with one_image(ImageLimits(memory_bytes=2**28)), pytest.raises(MemoryError):
        bytearray(2**30)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    bytearray(2**29)
    with one_image(None):
        bytearray(2**29)


def test_images_that_end_no_process_have_no_verdict(tmp_path):
    rows = [SourceImage(f"a{n}", f"a{n}.tif", 1) for n in range(3)]
    (tmp_path / "a0.tif").write_bytes(made.tif(made.cells(0)))
    (tmp_path / "a1.tif").write_bytes(b"damaged")
    settings = PixelSettings(match_shapes=((150, 160),))
    assert trial.verdicts(rows, str(tmp_path), settings, ImageLimits()) == {}


def test_what_no_image_is_to_blame_for_is_an_error(tmp_path):
    rows = [SourceImage("a", "a.tif", 1)]
    with pytest.raises(CytoImageNetError, match=r"Images can.t be tried one by one: .*nowhere"):
        trial.verdicts(rows, "nowhere://raw", PixelSettings(), ImageLimits())
