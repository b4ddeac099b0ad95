"""As much of the Hub as its client needs for datasets and models, in memory, on loopback. It fails on request."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BIG = (".tar", ".parquet", ".png", ".safetensors")


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit

    def add(self, files: dict[str, bytes]) -> str:
        commit = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[commit] = files
        self.names["main"] = commit
        return commit

    def commit_of(self, revision: str) -> str | None:
        return self.names.get(revision) or (revision if revision in self.commits else None)


class HubServer(ThreadingHTTPServer):
    """`with HubServer() as hub:` serves until the block ends; `hub.url` is what `HF_ENDPOINT` wants."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut: set[str] = set()  # files whose next download breaks off in the middle
        self.hang: set[str] = set()  # files whose download stops in the middle until `released` is set
        self.halfway, self.released = threading.Event(), threading.Event()
        self.altered: set[str] = set()  # files whose next download has another byte
        self.cut_uploads = 0  # uploads of blobs that fail from now on
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()

    def uploads(self) -> int:
        return sum(method == "PUT" for method, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self) -> None:
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        self.server.requests.append((self.command, path))
        self.content = self.read_body()
        for method, pattern, action in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method.split():
                return action(self, **found.groupdict())
        return self.send(404, {"error": f"no route for {path}"})

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, status: int, content=b"", **headers) -> None:
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers.setdefault("Content_Type", "application/json")
        headers.setdefault("Content_Length", str(len(content)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, code: str) -> None:
        self.send(404, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def find(self, repo: str, revision: str = "main"):
        """Return the repository and its files at a revision, or answer that there is none."""
        repository = self.server.repositories.get(repo)
        if repository is None:
            self.refuse("RepoNotFound")
            return None, None, None
        commit = repository.commit_of(revision)
        if commit is None:
            self.refuse("RevisionNotFound")
            return None, None, None
        return repository, commit, repository.commits[commit]

    # what the client does

    def who(self) -> None:
        self.send(200, {"name": "me", "type": "user", "orgs": []})

    def check_card(self) -> None:
        self.send(200, {"warnings": [], "errors": []})

    def create(self) -> None:
        asked = json.loads(self.content)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.server.url}/{'datasets/' if asked.get('type') == 'dataset' else ''}{repo}"
        if repo in self.server.repositories:
            return self.send(409, {"error": "it is there", "url": url})
        self.server.repositories[repo] = Repository()
        self.server.repositories[repo].add({})
        return self.send(200, {"url": url, "id": repo})

    def preupload(self, repo: str, revision: str) -> None:
        _, commit, files = self.find(repo, revision)
        if commit is None:
            return None
        answer = []
        for asked in json.loads(self.content)["files"]:
            path, big = asked["path"], asked["path"].endswith(BIG)
            present = files.get(path)
            digest = None if present is None else (hashlib.sha256(present).hexdigest() if big else git_id(present))
            answer.append(
                {"path": path, "uploadMode": "lfs" if big else "regular", "shouldIgnore": False, "oid": digest}
            )
        return self.send(200, {"files": answer})

    def lfs_batch(self, repo: str) -> None:
        answer = []
        for asked in json.loads(self.content)["objects"]:
            upload = {"actions": {"upload": {"href": f"{self.server.url}/blob/{asked['oid']}"}}}
            answer.append({**asked, **({} if asked["oid"] in self.server.blobs else upload)})
        self.send(200, {"transfer": "basic", "objects": answer})

    def put_blob(self, digest: str) -> None:
        if self.server.cut_uploads:
            self.server.cut_uploads -= 1
            return self.send(400, {"error": "fails on request"})
        assert hashlib.sha256(self.content).hexdigest() == digest
        self.server.blobs[digest] = self.content
        return self.send(200, b"", ETag='"x"')

    def commit(self, repo: str, revision: str) -> None:
        repository, commit, files = self.find(repo, revision)
        if commit is None:
            return None
        files = dict(files)
        for line in self.content.splitlines():
            answer = json.loads(line)
            value = answer["value"]
            if answer["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif answer["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif answer["key"] == "deletedFile":
                del files[value["path"]]
        made = repository.add(files)
        url = f"{self.server.url}/datasets/{repo}/commit/{made}"
        return self.send(200, {"success": True, "commitOid": made, "commitUrl": url, "pullRequestUrl": None})

    def tag(self, repo: str, revision: str) -> None:
        repository, commit, _ = self.find(repo, revision)
        if commit is not None:
            repository.names[json.loads(self.content)["tag"]] = commit
            self.send(200, {})

    def refs(self, repo: str) -> None:
        repository, commit, _ = self.find(repo)
        if commit is None:
            return
        named = [{"name": n, "ref": f"refs/{n}", "targetCommit": c} for n, c in repository.names.items()]
        self.send(200, {"branches": named[:1], "tags": named[1:], "converts": [], "pullRequests": []})

    def about(self, repo: str, revision: str = "main") -> None:
        _, commit, files = self.find(repo, revision)
        if commit is None:
            return
        answer = {"_id": "0", "id": repo, "author": "me", "sha": commit, "private": False, "gated": False}
        answer |= {"disabled": False, "downloads": 0, "likes": 0, "tags": [], "cardData": {}}
        answer |= {"lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z"}
        self.send(200, {**answer, "siblings": [{"rfilename": name} for name in sorted(files)]})

    def entry(self, name: str, content: bytes) -> dict:
        lfs = {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}
        big = lfs if name.endswith(BIG) else {}
        return {"type": "file", "path": name, "size": len(content), "oid": git_id(content), **big}

    def tree(self, repo: str, revision: str, folder: str | None = None) -> None:
        _, commit, files = self.find(repo, revision)
        if commit is None:
            return None
        start = f"{folder}/" if folder else ""
        deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        below = [name for name in sorted(files) if name.startswith(start)]
        if start and not below:
            return self.refuse("EntryNotFound")
        parents = ("/".join(name.split("/")[:n]) for name in below for n in range(1, name.count("/") + 1))
        folders = {p for p in parents if p.startswith(start) and (deep or "/" not in p[len(start) :])}
        answer = [{"type": "directory", "path": p, "size": 0, "oid": git_id(p.encode())} for p in sorted(folders)]
        shown = [name for name in below if deep or "/" not in name[len(start) :]]
        return self.send(200, answer + [self.entry(name, files[name]) for name in shown])

    def paths_info(self, repo: str, revision: str) -> None:
        _, commit, files = self.find(repo, revision)
        if commit is None:
            return
        body = self.content.decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        answer = []
        for path in (p.strip("/") for p in paths):
            if path in files:
                answer.append(self.entry(path, files[path]))
            elif any(name.startswith(f"{path}/") for name in files):
                answer.append({"type": "directory", "path": path, "size": 0, "oid": git_id(path.encode())})
        self.send(200, answer)

    def resolve(self, repo: str, revision: str, name: str) -> None:
        _, commit, files = self.find(repo, revision)
        if commit is None:
            return None
        if name not in files:
            return self.send(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        content = files[name]
        answer = self.entry(name, content)
        headers = {"X_Repo_Commit": commit, "ETag": f'"{answer["oid"]}"', "Accept_Ranges": "bytes"}
        if "lfs" in answer:
            headers |= {"X_Linked_Etag": f'"{answer["lfs"]["oid"]}"', "X_Linked_Size": len(content)}
        if self.command == "HEAD":
            return self.send(200, b"", **headers, Content_Length=len(content))
        if name in self.server.altered:
            self.server.altered.discard(name)
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status, first, last = 200, 0, len(content) - 1
        if asked:
            status, first = 206, int(asked[1])
            last = min(int(asked[2]), last) if asked[2] else last
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        part = content[first : last + 1]
        if name in self.server.hang:
            self.close_connection = True
            self.send(status, part[: len(part) // 2], **headers, Content_Length=len(part))
            self.wfile.flush()
            self.server.halfway.set()
            self.server.released.wait(60)
            return None
        if name in self.server.cut:
            self.server.cut.discard(name)
            self.close_connection = True
            return self.send(status, part[: len(part) // 2], **headers, Content_Length=len(part))
        return self.send(status, part, **headers)


_API = r"/api/(?:datasets|models)/(?P<repo>[^/]+/[^/]+)"
_AT = r"/(?P<revision>[^/]+)"
ROUTES = (
    ("GET", "/api/whoami-v2", Handler.who),
    ("POST", "/api/validate-yaml", Handler.check_card),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", r"(?:/datasets)?/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/blob/(?P<digest>\w+)", Handler.put_blob),
    ("POST", f"{_API}/preupload{_AT}", Handler.preupload),
    ("POST", f"{_API}/commit{_AT}", Handler.commit),
    ("POST", f"{_API}/tag{_AT}", Handler.tag),
    ("GET", f"{_API}/refs", Handler.refs),
    ("POST", f"{_API}/paths-info{_AT}", Handler.paths_info),
    ("GET", f"{_API}/tree{_AT}(?:/(?P<folder>.*))?", Handler.tree),
    ("GET", f"{_API}(?:/revision{_AT})?", lambda self, repo, revision: self.about(repo, revision or "main")),
    ("GET HEAD", rf"(?:/datasets)?/(?P<repo>[^/]+/[^/]+)/resolve{_AT}/(?P<name>.+)", Handler.resolve),
)
