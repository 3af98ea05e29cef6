"""`xedge sign`: a bundle signed with a key, and new keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from xedge import signing
from xedge.bundle import sign_bundle
from xedge.errors import ConfigError

PASSPHRASE = "XEDGE_KEY_PASSPHRASE"
"""Variable that the passphrase is taken from, where nobody can be asked."""


def passphrase() -> str:
    """The passphrase of a key that is there, from the environment or from the person."""
    return os.environ.get(PASSPHRASE) or click.prompt("Passphrase", hide_input=True, err=True)


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="The private key to sign with.")
@click.option("-o", "--out", type=click.Path(path_type=Path),
              help="The signed bundle; else BUNDLE is replaced.")  # fmt: skip
@click.option("--new-key", type=click.Path(path_type=Path), metavar="NAME",
              help="Make NAME.key and NAME.pub.")  # fmt: skip
@click.option("--passphrase", "locked", is_flag=True, help="Encrypt the new key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a sentence.")
def sign(
    bundle: Path | None,
    key: Path | None,
    out: Path | None,
    new_key: Path | None,
    locked: bool,
    as_json: bool,
) -> None:
    """Sign BUNDLE with an Ed25519 key, or make a pair of keys.

    Keep NAME.key where bundles are made, and give NAME.pub to every device: a command with
    --require-signature NAME.pub opens no bundle but those signed with NAME.key. A signature that
    BUNDLE carried is replaced.

    A passphrase is asked for, or taken from the environment variable XEDGE_KEY_PASSPHRASE.

    \b
    Examples:
      xedge sign --new-key maker --passphrase
      xedge sign model.xedge --key maker.key
      xedge verify model.xedge --require-signature maker.pub
    """  # noqa: D301  # click wants the character, not a backslash
    if new_key is not None:
        if bundle or key or out:
            raise ConfigError("--new-key makes keys and signs nothing",
                              remedy="Sign with a second command")  # fmt: skip
        record = make_keys(new_key, locked)
    elif bundle is None or key is None:
        raise ConfigError("nothing says what is to be signed, or by whom",
                          expected="BUNDLE and --key KEY, or --new-key NAME")  # fmt: skip
    elif locked:
        raise ConfigError("--passphrase encrypts a new key",
                          remedy="Leave it out: where KEY is encrypted, you are asked")  # fmt: skip
    else:
        target = out or bundle
        digest = sign_bundle(bundle, target, signing.read_private_key(key, passphrase))
        record = {"bundle": str(target), "sha256": digest}
    if as_json:
        click.echo(json.dumps(record))
    elif new_key is not None:
        click.echo(f"Private key, keep it: {record['private']}; public key: {record['public']}")
    else:
        click.echo(f"{record['bundle']}: signed, sha256 {record['sha256']}")


def make_keys(name: Path, locked: bool) -> dict[str, str]:
    """The names of the files of a new pair of keys.

    Args:
        name: What their names begin with.
        locked: Encrypt the private one with a passphrase.
    """
    private, public = (name.with_name(f"{name.name}.{end}") for end in ("key", "pub"))
    secret = ""
    if locked:
        secret = os.environ.get(PASSPHRASE) or click.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    signing.new_key(private, public, secret)
    return {"private": str(private), "public": str(public)}
