"""Write curated folders and dataset folders as versions of this package with schema 1 wrote them, byte for byte."""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset import manifest
from cytoimagenet.builder.shards import format as shard_format

EARLIER = "1.0.0"


@contextmanager
def earlier_version():
    """Write tables and shards with the columns of schema 1."""
    columns = {name: schema.of_version(getattr(schema, name), EARLIER) for name in ("ROW", "CURATED", "METADATA")}
    with ExitStack() as patched:
        for name, value in {**columns, "VERSION": EARLIER}.items():
            patched.enter_context(patch.object(schema, name, value))
        patched.enter_context(patch.object(shard_format, "COLUMNS", ["key", *columns["ROW"].names]))
        patched.enter_context(patch.dict(manifest.TABLES, {manifest.METADATA: columns["METADATA"]}))
        yield
