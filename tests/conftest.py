"""Shared by all tests: no network, caches in a temporary folder, fixed seeds."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CACHES = Path(tempfile.mkdtemp(prefix="cytoimagenet-tests-"))
# set before datasets, huggingface_hub and matplotlib are imported: they read these variables once
os.environ.update(
    HF_HOME=str(CACHES / "hf"),
    HF_DATASETS_CACHE=str(CACHES / "hf" / "datasets"),
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    XDG_CACHE_HOME=str(CACHES / "xdg"),
    XDG_CONFIG_HOME=str(CACHES / "config"),
    MPLCONFIGDIR=str(CACHES / "matplotlib"),
    MPLBACKEND="Agg",
    NUMBA_CACHE_DIR=str(CACHES / "numba"),
    KERAS_BACKEND="torch",
    KERAS_HOME=str(CACHES / "keras"),
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",  # tests run in parallel; threads that wait for each other would use the cores
    NO_COLOR="1",
    COLUMNS="160",
)
for name in ("CYTOIMAGENET_HOME", "CYTOIMAGENET_EVALDATA", "HF_TOKEN"):
    os.environ.pop(name, None)
# a shell starts background jobs with SIGINT ignored, and child processes inherit that: tests of Ctrl-C would hang
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "cytoimagenet",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("cytoimagenet")

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = CHECKOUT.parent / "shared"
_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address, *rest):
    host = address[0] if isinstance(address, tuple) else ""
    if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
        raise OSError(f"tests may not reach the network: {address!r}")
    return _connect(self, address, *rest)


socket.socket.connect = _loopback_only  # type: ignore[method-assign]


def pytest_unconfigure(config):
    shutil.rmtree(CACHES, ignore_errors=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != "test_demo.py")  # the longest test first, in parallel with the others
    for item in items:
        if item.get_closest_marker("real") and not SHARED.is_dir():
            item.add_marker(
                pytest.mark.skip(reason="the folder of real images (../shared) is not next to this checkout")
            )
        if item.get_closest_marker("browser") and not (shutil.which("chromium") and shutil.which("chromedriver")):
            item.add_marker(pytest.mark.skip(reason="needs Debian's chromium and chromium-driver"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of this checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images; mark the test `real`."""
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    """Run every test in an empty folder, so that no dataset in the parent of the checkout is found."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def small_curated(tmp_path_factory) -> Path:
    """A curated folder: 5 classes x 60 simulated images of 32 to 96 px."""
    from cytoimagenet.builder.simulate.curated_folder import write_curated

    return Path(write_curated(tmp_path_factory.mktemp("curated") / "curated"))


@pytest.fixture(scope="session")
def small_dataset(small_curated, tmp_path_factory) -> Path:
    """A dataset folder called `cytoimagenet` with those images in tar shards. Do not change it."""
    from cytoimagenet.builder.shards.write import write_dataset

    out = tmp_path_factory.mktemp("dataset") / "cytoimagenet"
    write_dataset(small_curated, out)
    return out


@pytest.fixture
def server(small_dataset):
    """A web server of the small dataset with range requests; requests of shards fail as the list `faults` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            path = small_dataset / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, stop = 0, len(data)
            if found:
                start, stop = int(found[1]), min(int(found[2] or len(data)) + 1, len(data))
            fault = self.server.faults.pop(0) if body and self.server.faults and path.suffix == ".tar" else ""
            self.server.asked.append((self.path, start, stop, fault))
            if fault == "503":
                self.send_error(503)
                return
            if fault == "reset":
                self.close_connection = True
                return
            part = data[start:stop]
            self.send_response(206 if found else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            length = len(part) if fault != "short, with its length" else len(part) // 2
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if body:
                self.wfile.write(part[: length if fault != "cut off" else length // 2])
                if fault == "cut off":
                    self.close_connection = True

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.faults, running.asked = [], []
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless browser with an empty profile; mark the test `browser`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        f"--disable-component-update --disable-sync --window-size=1200,900 --user-data-dir={profile}"
    ).split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def s3(monkeypatch):
    """An empty bucket, `s3://lab`, on a simulated S3 server; cached connections to an earlier server are removed."""
    import fsspec

    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    # all servers of one process share their contents
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"))
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.mkdir("lab")
    yield fs
    server.stop()
    type(fs).clear_instance_cache()
