"""What contenders are compared on, and who they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from xedge_benchmarks.hosts import HOSTS, QUICK, chosen_hosts
from xedge_benchmarks.rivals import NNCF, PLAIN, RIVALS, chosen_rivals
from xedge_benchmarks.speed_graphs import FORMS_OF

from xedge.bundle import open_bundle
from xedge.engines import BACK_ENDS
from xedge.errors import ConfigError
from xedge.train.recipe import load_recipe


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_a_recipe_of_its_size(name: str) -> None:
    host = HOSTS[name]
    recipe, _ = load_recipe(Path(host.recipe), list(host.changes))
    assert getattr(recipe.model, "label_aware", False) == host.label_aware
    assert not getattr(getattr(recipe.model, "pyramid", None), "pretrained", False)
    assert not getattr(getattr(recipe.model, "trunk", None), "pretrained", False)
    if not host.shipped and (size := re.search(r"(\d+) x (\d+)", host.title)):
        assert (recipe.data.height, recipe.data.width) == (int(size[1]), int(size[2]))


def test_the_shipped_host_is_the_bundle() -> None:
    (name,) = QUICK
    bundle = open_bundle(None)
    assert HOSTS[name].graph() == bundle.model()
    assert HOSTS[name].recipe == bundle.spec.name


@pytest.mark.parametrize("name", RIVALS)
def test_a_contender_reads_what_can_be_made(name: str) -> None:
    rival = RIVALS[name]
    assert rival.form in {"", PLAIN, NNCF, *FORMS_OF}
    if rival.ours:
        engine, _, form = name.partition(":")
        assert engine in BACK_ENDS
        assert form == rival.form


def test_names_are_checked() -> None:
    assert chosen_hosts(["ssd", "ssd"]) == ("ssd",)
    assert chosen_hosts([]) == tuple(HOSTS)
    with pytest.raises(ConfigError, match="no such host"):
        chosen_hosts(["sdd"])
    assert not any(RIVALS[name].gpu for name in chosen_rivals([], gpu=False))
    assert all(RIVALS[name].gpu for name in chosen_rivals([], gpu=True))
    with pytest.raises(ConfigError, match="no such contender"):
        chosen_rivals(["tensorflow"], gpu=False)


def test_a_contender_that_needs_no_pytorch_has_none() -> None:
    """Its memory and its threads would count as the engine's."""
    code = "import sys, xedge_benchmarks.side_by_side; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
