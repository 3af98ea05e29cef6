"""`xedge sign`, and `--require-signature` on every command that opens a bundle."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("cryptography", reason="the extra `signing`")

from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.signing import read_public_key


def call(*arguments: object, **more: object):
    return CliRunner().invoke(main, [str(a) for a in arguments], **more)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    assert call("sign", "--new-key", folder / "maker").exit_code == 0
    assert call("sign", "--new-key", folder / "thief").exit_code == 0
    return folder


@pytest.fixture(scope="module")
def signed(keys: Path, tiny_bundle: Path) -> Path:
    path = keys / "signed.xedge"
    done = call("sign", tiny_bundle, "--key", keys / "maker.key", "-o", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "bundle": str(path), "sha256": open_bundle(path).sha256,
    }  # fmt: skip
    return path


def test_a_signed_bundle_is_the_same_bundle(signed: Path, tiny_bundle: Path, keys: Path) -> None:
    before, after = (
        open_bundle(tiny_bundle),
        open_bundle(signed, read_public_key(keys / "maker.pub")),
    )
    assert (before.signed, after.signed, after.verified) == (False, True, True)
    assert (before.spec, before.model(), before.measured) == (
        after.spec,
        after.model(),
        after.measured,
    )
    assert tiny_bundle.read_bytes() != signed.read_bytes()


def test_a_second_signature_replaces_the_first(signed: Path, keys: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.xedge"
    again.write_bytes(signed.read_bytes())
    assert call("sign", again, "--key", keys / "thief.key").exit_code == 0
    assert open_bundle(again, read_public_key(keys / "thief.pub")).verified
    assert call("sign", again, "--key", keys / "maker.key").exit_code == 0
    assert again.read_bytes() == signed.read_bytes()  # Ed25519 leaves nothing to chance
    assert [p.name for p in tmp_path.iterdir()] == ["again.xedge"]


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--source", "none.xstrip", "--bundle"),
        ("detect", "none.png", "--bundle"),
        ("demo", "--bundle"),
        ("doctor", "--bundle"),
        ("dicos", "write", "--source", "none.xstrip", "--out", "none", "--bundle"),
        ("evaluate", "--bundle"),
        ("verify",),
        ("inspect",),
        ("compile",),
    ],
    ids=lambda command: command[0],
)
def test_commands_refuse_what_nobody_trusted_signed(
    command: tuple[str, ...], signed: Path, tiny_bundle: Path, keys: Path
) -> None:
    for path, key, message in (
        (tiny_bundle, "maker", "the bundle is not signed"),
        (signed, "thief", "the signature of the bundle does not verify"),
    ):
        done = call(*command, path, "--require-signature", keys / f"{key}.pub")
        assert done.exit_code == 1
        assert message in done.output


def test_doctor_takes_a_bundle_that_its_maker_signed(signed: Path, keys: Path) -> None:
    done = call("doctor", "--bundle", signed, "--require-signature", keys / "maker.pub")
    assert done.exit_code == 0, done.output


def test_keys_are_encrypted_with_a_passphrase(tmp_path: Path, tiny_bundle: Path) -> None:
    made = call("sign", "--new-key", tmp_path / "k", "--passphrase", "--json", input="abc\nabc\n")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {
        "private": str(tmp_path / "k.key"), "public": str(tmp_path / "k.pub"),
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "k.key").stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (tmp_path / "k.key").read_bytes()
    out = tmp_path / "s.xedge"
    asked = ("sign", tiny_bundle, "--key", tmp_path / "k.key", "-o", out)
    wrong = call(*asked, input="abd\n")
    assert wrong.exit_code == 1
    assert "abd" not in wrong.output
    assert not out.exists()
    assert call(*asked, input="abc\n").exit_code == 0
    out.unlink()
    assert call(*asked, env={"XEDGE_KEY_PASSPHRASE": "abc"}).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--new-key NAME"),
        (("x.xedge",), "BUNDLE and --key KEY"),
        (("x.xedge", "--new-key", "k"), "signs nothing"),
        (("x.xedge", "--key", "k", "--passphrase"), "encrypts a new key"),
        (("x.xedge", "--key", "none.key"), "cannot be read"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("sign", *arguments)
    assert done.exit_code == 1
    assert message in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_not_signed(keys: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    path = tmp_path / "changed.xedge"
    content = bytearray(tiny_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    for data in (bytes(content), content[:-40], b"text"):
        path.write_bytes(data)
        done = call("sign", path, "--key", keys / "maker.key")
        assert done.exit_code == 1
        assert str(path) in done.output
        assert path.read_bytes() == data
