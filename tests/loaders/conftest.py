"""An HTTP storage with prescribed faults."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture
def server(small_dataset):
    """A server of the dataset folder with range requests; its next faults are the entries of `faults`."""

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
            length = len(part) if fault != "short with its true length" else len(part) // 2
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
