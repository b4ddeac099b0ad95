"""Commands about a dataset folder: shard, verify, sign, info, preview, card, browse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import emit, out
from ..errors import CheckFailedError, UsageError
from .options import SHARD_SIZE, Form, Json, ShardFormat, ShardSize, Threads, examples, parse_size, seed_of

SHARD_EXAMPLES = examples(
    "cytoimagenet shard CURATED --out cytoimagenet",
    "cytoimagenet shard CURATED --out s3://bucket/cytoimagenet-parquet --format parquet --shard-size 256MB",
)
VERIFY_EXAMPLES = examples(
    "cytoimagenet verify cytoimagenet",
    "cytoimagenet verify hf://datasets/OWNER/cytoimagenet --json",
    "cytoimagenet verify cytoimagenet --signature --key public.pem",
)
SIGN_EXAMPLES = examples(
    "cytoimagenet sign cytoimagenet --key private.pem",
    "cytoimagenet sign cytoimagenet",
)
INFO_EXAMPLES = examples(
    "cytoimagenet info cytoimagenet",
    "cytoimagenet info cytoimagenet --classes",
    "cytoimagenet info cytoimagenet --json | jq .classes",
)
PREVIEW_EXAMPLES = examples(
    "cytoimagenet preview cytoimagenet --out montage.png",
    "cytoimagenet preview cytoimagenet --label actin --label nucleus --images 12",
)
CARD_EXAMPLES = examples("cytoimagenet card cytoimagenet")
BROWSE_EXAMPLES = examples(
    "cytoimagenet browse cytoimagenet --out site",
    "cytoimagenet browse hf://datasets/OWNER/cytoimagenet --out site --images 4",
)
SIGNATURES = {
    "none": "It is not signed: anybody could have written it.",
    "not checked": "It is signed; who signed it was not checked (--signature).",
    "valid": "The signature is valid.",
}
Folder = Annotated[str, typer.Argument(metavar="DIR", help="A dataset folder, local or a URL.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("shard", epilog=SHARD_EXAMPLES)(shard)
    app.command("verify", epilog=VERIFY_EXAMPLES)(verify)
    app.command("sign", epilog=SIGN_EXAMPLES)(sign)
    app.command("info", epilog=INFO_EXAMPLES)(info)
    app.command("preview", epilog=PREVIEW_EXAMPLES)(preview)
    app.command("card", epilog=CARD_EXAMPLES)(card)
    app.command("browse", epilog=BROWSE_EXAMPLES)(browse)


def shard(
    curated: Annotated[str, typer.Argument(metavar="CURATED", help="Folder that `cytoimagenet curate` wrote.")],
    to: Annotated[str, typer.Option("--out", help="Dataset folder to write, local or a URL.")],
    shard_size: ShardSize = SHARD_SIZE,
    form: ShardFormat = Form.webdataset,
    seed: Annotated[int, seed_of("the order of the images")] = 0,
    workers: Threads = None,
    as_json: Json = False,
) -> None:
    """Write the dataset folder: shuffle curated images into shards (files of many images each), with tables.

    Run the same command again to continue where it stopped.
    """
    from ..shards.write import write_dataset

    manifest = write_dataset(
        curated, to, shard_size=parse_size(shard_size), format=form.value, seed=seed, workers=workers
    )
    if as_json:
        emit({"out": manifest.root, "digest": manifest.digest, "splits": manifest.splits, "counts": manifest.counts})
    else:
        out.print(repr(manifest), markup=False)
        out.print(
            f'\nNext: cytoimagenet verify {to}, or load_dataset("cytoimagenet") in the folder that contains it',
            markup=False,
        )


def verify(
    folder: Folder,
    workers: Annotated[int | None, typer.Option(help="Number of shards read at the same time.")] = None,
    signature: Annotated[
        bool, typer.Option("--signature", help="Also check who signed it; needs --key, or --identity and --issuer.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="With --signature: PEM file with the signer's public key.")] = None,
    identity: Annotated[
        str | None, typer.Option(help="With --signature: e-mail address of a signer without a key.")
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(help="With --identity: login service of the signer, such as https://accounts.google.com."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every byte of a dataset folder against its manifest, and its files against each other.

    The exit code is 0 if there is no problem, otherwise 1; every problem is listed. A folder need not be signed, unless
    --signature is given.
    """
    from ..dataset.describe import size
    from ..dataset.signature import Signer
    from ..shards.verify import inspect
    from ..shards.verify import verify as check

    if not signature and (key or identity or issuer):
        raise UsageError("--key, --identity and --issuer can only be used with --signature")
    signer = Signer(key=key, identity=identity, issuer=issuer) if signature else None
    if as_json:
        report = inspect(folder, workers=workers, signer=signer)
        emit({"ok": not report.problems, **vars(report)})
        raise typer.Exit(CheckFailedError.exit_code if report.problems else 0)
    report = check(folder, workers=workers, signer=signer)
    read = f"{report.images:,} images, {report.files:,} files, {size(report.bytes)} read"
    out.print(f"{folder} is complete and undamaged: {read}", markup=False)
    out.print(f"Schema version {report.schema_version}.", markup=False)
    out.print(SIGNATURES[report.signature], markup=False)
    for note in report.notes:
        out.print(f"Note: {note}", markup=False)


def sign(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder on this disk.")],
    key: Annotated[
        Path | None,
        typer.Option(help="PEM file with your private key. Default: no key; log in with the browser instead."),
    ] = None,
) -> None:
    r"""Sign a dataset folder, so that others can check that it is yours: verify it, and write manifest.sig.

    With --key nothing is sent anywhere. Without it, Sigstore asks who you are, and publishes your e-mail address and
    the hash of the manifest in a public log. Needs: pip install 'cytoimagenet\[sign]'.
    """
    from ..dataset.signature import sign as write_signature
    from ..extras import require
    from ..shards.verify import verify as check

    require("model_signing", "OpenSSL")  # before every byte is read
    encrypted = key is not None and key.is_file() and b"ENCRYPTED" in key.read_bytes()
    password = typer.prompt("Password of the key", hide_input=True) if encrypted else None
    check(folder)
    out.print(f"Wrote {write_signature(folder, key=key, password=password)}", markup=False)


def info(
    folder: Folder,
    classes: Annotated[bool, typer.Option("--classes", help="List every class.")] = False,
    as_json: Json = False,
) -> None:
    """Print splits, categories, classes, settings, counts and versions of a dataset folder.

    Classes that may be wrong are named: those with images of which the source gives several organisms or cell types.
    """
    from ..ambiguous import COLUMNS, ambiguous_classes, warnings
    from ..dataset.manifest import Manifest

    manifest = Manifest.load(folder)
    if as_json:
        emit(manifest.data)
        return
    out.print(manifest.describe(all_classes=classes), markup=False)
    if manifest.settings.get("labels") != "unambiguous":
        for line in warnings(ambiguous_classes(manifest.metadata(list(COLUMNS)))):
            out.print(line, markup=False)


def preview(
    folder: Folder,
    to: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("montage.png"),
    classes: Annotated[int, typer.Option(min=1, max=40, help="Number of classes, chosen at random.")] = 20,
    images: Annotated[int, typer.Option(min=1, max=40, help="Number of images of each class.")] = 8,
    label: Annotated[
        list[str] | None, typer.Option(help="Show this class instead; may be given several times.")
    ] = None,
    seed: Annotated[int, seed_of("the choice of classes and images")] = 0,
) -> None:
    """Write a montage: one row of example images for each of some classes."""
    import io

    from ..pages.preview import montage
    from ..storage import write_atomic

    file = io.BytesIO()
    montage(folder, classes=classes, images=images, labels=label, seed=seed).save(file, "PNG")
    write_atomic(to, file.getvalue())
    out.print(f"Wrote {to}", markup=False)


def card(folder: Folder) -> None:
    """Rewrite README.md and the other pages of a dataset folder; its images and its digest stay the same."""
    from ..dataset.manifest import Manifest
    from ..pages.write import rewrite_pages

    out.print(f"Wrote {', '.join(rewrite_pages(Manifest.load(folder)).pages)} in {folder}", markup=False)


def browse(
    folder: Folder,
    to: Annotated[str, typer.Option("--out", help="Folder for the page and its pictures.")] = "site",
    images: Annotated[int, typer.Option(min=1, max=40, help="Number of example images of each class.")] = 8,
    seed: Annotated[int, seed_of("the choice of the examples")] = 0,
) -> None:
    """Write a page with all classes and example images, to search and to scroll through; it needs no server."""
    from ..pages.browse import write_site

    out.print(f"Open {write_site(folder, to, images=images, seed=seed)}", markup=False)
