"""`manifest.sig`: who vouches for a dataset. A signature of `manifest.json`, in the OpenSSF model-signing format.

The manifest has the sha256 of every file, so that a signature of it covers the complete folder. The package
`model-signing` (extra `sign`) writes and checks the signature; its own command can check it as well:
`model_signing verify key manifest.json --signature manifest.sig --public_key public.pem`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import CheckFailedError, CytoImageNetError, UsageError
from ..extras import require
from ..storage import is_local, join, read_bytes, write_atomic
from .manifest import Manifest, rendered
from .names import MANIFEST, SIGNATURE

MAX_SIGNATURE_BYTES = 1 << 20  # of a key: 2 kB; of an identity, with its certificates and log entry: 10 kB


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose signature is expected: the owner of a key, or a person or program that an issuer knows.

    Parameters
    ----------
    key : str or path, optional
        PEM file with the public key: an elliptic curve of 256, 384 or 521 bits (NIST).
    identity : str, optional
        Without a key: an e-mail address, or the address of a workflow.
    issuer : str, optional
        Address of the OpenID Connect provider that attests the identity.

    Raises
    ------
    UsageError
        If neither a key nor both identity and issuer are given.

    Examples
    --------
    >>> Signer(identity="me@lab.example", issuer="https://accounts.google.com").identity
    'me@lab.example'
    """

    key: str | PathLike[str] | None = None
    identity: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        given = [self.key is not None, self.identity is not None, self.issuer is not None]
        if given not in ([True, False, False], [False, True, True]):
            raise UsageError(
                "To check a signature, either the signer's public key or both identity and issuer are needed",
                next="Name --key PUBLIC.pem, or --identity NAME --issuer URL",
            )


def sign(folder: str | PathLike[str], *, key: str | PathLike[str] | None = None, password: str | None = None) -> Path:
    """Sign the manifest of a dataset folder: write `manifest.sig`. Digest and files stay the same.

    Parameters
    ----------
    folder : path
        A dataset folder on this disk. Verify it first: the signature says that its content is yours.
    key : path, optional
        PEM file with the private key: an elliptic curve of 256, 384 or 521 bits (NIST). Without it the signature is
        keyless: Sigstore asks who you are in the browser, and publishes your identity and the hash in a public log.
    password : str, optional
        Of the private key, if it is encrypted.

    Returns
    -------
    Path
        The signature.

    Raises
    ------
    UsageError
        If the key can't be used, the folder is not on this disk, or the package model-signing is not installed.
    CytoImageNetError
        If Sigstore can't be reached or does not accept the identity.
    """
    manifest = Manifest.load(folder)
    if not is_local(folder):
        raise UsageError("Only a folder on this disk can be signed", where=str(folder), next="Copy it to this disk")
    config = _library().signing.Config()
    if key is not None:
        try:
            config.use_elliptic_key_signer(private_key=key, password=password.encode() if password else None)
        except OSError as error:
            raise UsageError(f"The key can't be read: {error.strerror}", where=key) from error
        except (ValueError, TypeError, AttributeError) as error:  # not a key, encrypted, or a key of another kind
            raise _not_a_key("private", key, error) from error
    else:
        config.use_sigstore_signer(use_ambient_credentials=True)
    with tempfile.TemporaryDirectory() as temporary:
        copy, signature = Path(temporary, MANIFEST), Path(temporary, SIGNATURE)
        copy.write_bytes(rendered(manifest.data))
        try:
            config.sign(copy, signature)
        except Exception as error:
            if key is not None:
                raise
            raise CytoImageNetError(
                f"The keyless signature failed: {_first_line(error)}",
                next="Check the network and try again, or sign with a key: --key PRIVATE.pem",
            ) from error
        write_atomic(join(folder, SIGNATURE), signature.read_bytes())
    return Path(folder) / SIGNATURE


def check_signature(manifest: Manifest, signer: Signer) -> None:
    """Check that the manifest of a dataset folder has the signature of a signer.

    Parameters
    ----------
    manifest : Manifest
        As it was read: its content, not the file of that name, is compared with the signature.
    signer : Signer

    Raises
    ------
    CheckFailedError
        If there is no signature, it is damaged, it is that of somebody else, or the manifest was changed after it.
    UsageError
        If the key can't be used, or the package model-signing is not installed.
    """
    where = join(manifest.root, SIGNATURE)
    try:
        found = read_bytes(where, 0, MAX_SIGNATURE_BYTES)
    except FileNotFoundError as error:
        raise CheckFailedError("The dataset is not signed", where=where) from error
    config = _library().verifying.Config()
    if signer.key is not None:
        try:
            config.use_elliptic_key_verifier(public_key=signer.key)
        except OSError as error:
            raise UsageError(f"The key can't be read: {error.strerror}", where=signer.key) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise _not_a_key("public", signer.key, error) from error
    with tempfile.TemporaryDirectory() as temporary:
        copy, signature = Path(temporary, MANIFEST), Path(temporary, SIGNATURE)
        copy.write_bytes(rendered(manifest.data))
        signature.write_bytes(found)
        try:
            if signer.key is None:  # gets the roots of trust of Sigstore
                config.use_sigstore_verifier(identity=signer.identity, oidc_issuer=signer.issuer)
            config.verify(copy, signature)
        except Exception as error:  # the library has an exception of its own for each kind of damage
            raise CheckFailedError(
                f"The signature is not that of this signer and this manifest: {_first_line(error)}",
                where=where,
                next="If you rewrote the pages (`cytoimagenet card`), sign again; otherwise don't trust the folder",
            ) from error


def _library() -> Any:
    require("model_signing", "OpenSSL")
    import model_signing

    return model_signing


def _not_a_key(kind: str, key: str | PathLike[str], error: Exception) -> UsageError:
    return UsageError(
        f"This is not a {kind} key of an elliptic curve: {_first_line(error)}",
        where=key,
        next="Make one: openssl ecparam -name prime256v1 -genkey -noout -out private.pem; "
        "openssl ec -in private.pem -pubout -out public.pem",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
