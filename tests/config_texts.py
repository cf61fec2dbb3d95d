"""The least that a gateway.toml may say, and what is read of one or said of its mistakes."""

from pathlib import Path

import pytest

from gateway import config
from gateway.config import Config, SettingsErrors

TRUNK = '[[trunk]]\nname = "pbx"\nsource = ["10.0.0.1"]\ntarget = ["sip:10.0.0.1"]\n'
"""Four lines: what a test adds below it stands on line 5."""

MINIMAL = '[[trunk]]\nname = "pbx"\nsource = ["10.0.0.1"]\n'


def read(text: str) -> Config:
    return config.parse(text, "gateway.toml")


def sentences(text: str, directory: Path | None = None) -> list[str]:
    with pytest.raises(SettingsErrors) as caught:
        config.parse(text, "gateway.toml", directory)
    return [str(error) for error in caught.value.errors]
