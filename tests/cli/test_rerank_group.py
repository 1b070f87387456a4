"""`rerank=` of evaluate.py: its choices compose and pass the checks."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate

from vpr.cli.checks import check_targets
from vpr.cli.compose import CONF, compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError
from vpr.retrieval.kreciprocal import KReciprocal


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "rerank").glob("*.yaml")))
def test_each_choice(choice: str) -> None:
    cfg = compose("evaluate", ["ckpt=x.ckpt", f"rerank={choice}"])
    check_rules(cfg)
    check_targets(cfg)


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "rerank").glob("*.yaml")))
def test_each_choice_in_the_demo(choice: str) -> None:
    words = ["ckpt=x.ckpt", "database=a", "query=b", f"rerank={choice}"]
    cfg = compose("demo", words)
    check_rules(cfg)
    check_targets(cfg)
    if choice == "none":
        return
    with pytest.raises(ConfigError, match="calibrate=toycity with rerank: the confidence is that of the plain search"):
        check_rules(compose("demo", [*words, "calibrate=toycity"]))
    watched = compose("demo", [*words, "watch=true"])
    if choice != "sequence":
        check_rules(watched)
        return
    with pytest.raises(ConfigError, match="watch=true with rerank=sequence: photos that come are answered one at a ti"):
        check_rules(watched)


def test_the_values_are_those_of_wakd_and_can_be_changed() -> None:
    assert not compose("evaluate", ["ckpt=x.ckpt"]).rerank
    chosen = ["ckpt=x.ckpt", "rerank=kreciprocal"]
    assert instantiate(compose("evaluate", chosen).rerank) == KReciprocal(k1=25, k2=1, lambda_value=0)
    changed = compose("evaluate", [*chosen, "rerank.k1=20", "rerank.k2=6", "rerank.lambda_value=0.3"])
    assert instantiate(changed.rerank).id == "kreciprocal-20-6-0.3"
    with pytest.raises(ConfigError, match="KReciprocal has no argument 'k3'"):
        check_targets(compose("evaluate", [*chosen, "+rerank.k3=1"]))
