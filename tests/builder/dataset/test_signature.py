"""Signatures with a key, written and checked without a network.

Of keyless ones, a stand-in takes the place of Sigstore's signer and verifier, which need the network.
"""

import json
import shutil
import subprocess
import sys
from inspect import signature as inspect_signature
from pathlib import Path
from types import SimpleNamespace

import pytest
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset.manifest import Manifest, record_pages
from cytoimagenet.builder.dataset.signature import Signer, check_signature, sign
from cytoimagenet.builder.errors import CheckFailedError, CytoImageNetError, UsageError
from cytoimagenet.builder.shards.verify import inspect, verify

CLI = Path(sys.executable).with_name("cytoimagenet")


def write_keys(folder, name, curve="SECP256R1", password=None):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(getattr(ec, curve)())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path):
    pytest.importorskip("model_signing")
    return write_keys(tmp_path, "ours")


@pytest.fixture
def signed(small_dataset, keys, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "signed")
    sign(tmp_path / "signed", key=keys[0])
    return tmp_path / "signed"


def problem(folder, public):
    found = inspect(folder, signer=Signer(key=public)).problems
    assert len(found) == 1 and found[0].startswith("manifest.sig: ")
    return found[0]


def test_a_signature_is_that_of_its_key_alone(signed, keys, small_dataset, tmp_path):
    assert Manifest.load(signed).digest == Manifest.load(small_dataset).digest
    report = verify(signed, signer=Signer(key=keys[1]))
    assert (report.signature, report.notes) == ("valid", [])
    assert verify(signed).signature == "not checked"
    assert verify(small_dataset).signature == "none"
    _, others = write_keys(tmp_path, "others")
    assert "not that of this signer" in problem(signed, others)
    assert "not signed" in problem(small_dataset, keys[1])


@pytest.mark.parametrize("curve", ["SECP384R1", "SECP521R1"])
def test_other_curves(curve, signed, tmp_path):
    private, public = write_keys(tmp_path, curve, curve)
    sign(signed, key=private)
    check_signature(Manifest.load(signed), Signer(key=public))


def test_a_manifest_that_was_changed_after_the_signature_is_found(signed, keys):
    """Whoever changes a file can make digest and seal right again, but not the signature."""
    shard = next(signed.glob("data/train-*"))
    data = json.loads((signed / "manifest.json").read_text())
    data["files"][f"data/{shard.name}"]["sha256"] = "0" * 64
    manifests.write(signed, data)
    with pytest.raises(CheckFailedError, match="Hash mismatch"):
        check_signature(Manifest.load(signed), Signer(key=keys[1]))
    sign(signed, key=keys[0])
    check_signature(Manifest.load(signed), Signer(key=keys[1]))


def test_rewritten_pages_need_a_new_signature(signed, keys):
    (signed / "README.md").write_text("---\n---\n# Another card\n")
    record_pages(Manifest.load(signed))
    with pytest.raises(CheckFailedError, match="sign again"):
        check(signed, keys[1])
    sign(signed, key=keys[0])
    check(signed, keys[1])


def check(folder, public):
    check_signature(Manifest.load(folder), Signer(key=public))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b"null", b'{"dsseEnvelope": {}}', b" " * 2_000_000]
)
def test_a_damaged_signature_is_one_problem(content, signed, keys):
    (signed / "manifest.sig").write_bytes(content)
    assert "not that of this signer and this manifest" in problem(signed, keys[1])


def test_a_signature_of_another_dataset_is_refused(signed, keys, tmp_path):
    """It has the right key, and the right form."""
    shutil.copytree(signed, tmp_path / "other")
    data = json.loads((tmp_path / "other" / "manifest.json").read_text())
    manifests.write(tmp_path / "other", {**data, "seed": 77})
    sign(tmp_path / "other", key=keys[0])
    shutil.copy(tmp_path / "other" / "manifest.sig", signed)
    assert "Hash mismatch" in problem(signed, keys[1])


def test_the_command_of_openssf_checks_it_too(signed, keys, tmp_path):
    command = [sys.executable, "-m", "model_signing", "verify", "key", signed / "manifest.json", "--signature"]
    command += [signed / "manifest.sig", "--public_key"]
    assert subprocess.run([*command, keys[1]], capture_output=True).returncode == 0
    assert subprocess.run([*command, write_keys(tmp_path, "others")[1]], capture_output=True).returncode == 1


def test_the_commands(signed, keys, tmp_path):
    def run(*command, code=0, typed=None):
        done = subprocess.run([CLI, *command], capture_output=True, text=True, input=typed)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "It is signed; who signed it was not checked" in run("verify", signed)
    assert "The signature is valid" in run("verify", signed, "--signature", "--key", keys[1])
    (signed / "manifest.sig").unlink()
    assert "It is not signed" in run("verify", signed)
    assert "not signed" in run("verify", signed, "--signature", "--key", keys[1], code=1)
    private, public = write_keys(tmp_path, "encrypted", password=b"secret")
    assert "manifest.sig" in run("sign", signed, "--key", private, typed="secret\n")
    answer = json.loads(run("verify", signed, "--signature", "--key", public, "--json"))
    assert answer["signature"] == "valid" and answer["ok"]
    assert "not a private key" in run("sign", signed, "--key", private, typed="wrong\n", code=2)
    assert "--signature" in run("verify", signed, "--key", public, code=2)


def test_keys_that_are_none(signed, keys, tmp_path):
    (tmp_path / "text.pem").write_text("hello")
    for private in (tmp_path / "text.pem", tmp_path / "absent.pem", keys[1]):
        with pytest.raises(UsageError, match=r"key"):
            sign(signed, key=private)
    for public in (tmp_path / "text.pem", tmp_path / "absent.pem", keys[0]):
        with pytest.raises(UsageError, match=r"key"):
            check_signature(Manifest.load(signed), Signer(key=public))


@pytest.mark.parametrize(
    "given", [{}, {"identity": "me"}, {"issuer": "x"}, {"key": "k", "issuer": "x"}, {"key": "k", "identity": "x"}]
)
def test_a_signer_is_a_key_or_an_identity(given):
    with pytest.raises(UsageError, match="public key or both identity and issuer"):
        Signer(**given)


@pytest.fixture
def sigstore(keys, monkeypatch):
    """Replace what speaks to Sigstore by a key; record the arguments, which must be those that the library takes."""
    from model_signing import signing, verifying
    from model_signing._signing import sign_ec_key, sign_sigstore, sign_sigstore_pb

    asked = []

    def stands_in_for(real, replacement):
        def call(*args, **options):
            given = inspect_signature(real).bind(*args, **options)
            asked.append({name: value for name, value in given.arguments.items() if value})
            if given.arguments.get("identity") == "nobody@lab.example":
                raise ValueError("no such identity\nand more")
            return replacement()

        return call

    fakes = {
        "Signer": lambda: sign_ec_key.Signer(keys[0]),
        "Verifier": lambda: sign_ec_key.Verifier(keys[1]),
        "Signature": sign_sigstore_pb.Signature,
    }
    stand_in = SimpleNamespace(
        Signer=stands_in_for(sign_sigstore.Signer, fakes["Signer"]),
        Verifier=stands_in_for(sign_sigstore.Verifier, fakes["Verifier"]),
        Signature=fakes["Signature"],
    )
    monkeypatch.setattr(signing, "sigstore", stand_in)
    monkeypatch.setattr(verifying, "sigstore", stand_in)
    return asked


def test_a_keyless_signature_names_who_signed(sigstore, small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "signed")
    sign(tmp_path / "signed")
    assert sigstore == [{"use_ambient_credentials": True}]
    signer = Signer(identity="me@lab.example", issuer="https://issuer.example")
    assert verify(tmp_path / "signed", signer=signer).signature == "valid"
    assert sigstore[1:] == [{"identity": "me@lab.example", "oidc_issuer": "https://issuer.example"}]
    nobody = Signer(identity="nobody@lab.example", issuer="https://issuer.example")
    (problem,) = inspect(tmp_path / "signed", signer=nobody).problems
    assert problem == "manifest.sig: The signature is not that of this signer and this manifest: no such identity"


def test_a_keyless_signature_that_fails_leaves_no_file(sigstore, small_dataset, tmp_path, monkeypatch):
    from model_signing import signing

    def unreachable(*_, **__):
        raise ConnectionError("no route to host\nand more")

    shutil.copytree(small_dataset, tmp_path / "unsigned")
    monkeypatch.setattr(signing.Config, "sign", unreachable)
    with pytest.raises(CytoImageNetError, match="The keyless signature failed: no route to host") as caught:
        sign(tmp_path / "unsigned")
    assert "--key PRIVATE.pem" in str(caught.value.next)
    assert not (tmp_path / "unsigned" / "manifest.sig").exists()
