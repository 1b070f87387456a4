"""The YAML files of a config group, as plain containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="session")
def node():
    """Function that reads conf/<group>/<name>.yaml and changes some of its values."""

    def read(group: str, name: str, **changes: Any) -> dict[str, Any]:
        plain = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"), resolve=True)
        assert isinstance(plain, dict)
        if "allow_random_init" in plain:  # a test has no cluster file
            plain["allow_random_init"] = True
        if name == "megaloc":  # at its own 8,448 the linear layer has 140 million weights
            plain["dim"] = 64
        return {**plain, **changes}

    return read
