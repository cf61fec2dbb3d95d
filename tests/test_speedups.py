"""Which modules run compiled, and which from their sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import speedups

_ASK = "import gateway.sip.endpoint as module; print(type(module.__loader__).__name__)"


def loader_of_the_endpoint(**environment: str) -> str:
    """The name of what loads the endpoint in a new process."""
    ran = subprocess.run(
        [sys.executable, "-c", _ASK], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_pure_python_is_the_sources_whatever_was_compiled() -> None:
    assert loader_of_the_endpoint(GATEWAY_PURE="1") == "SourceFileLoader"


@pytest.mark.skipif(bool(speedups.WHY_INTERPRETED), reason=speedups.WHY_INTERPRETED)
def test_what_was_compiled_is_used() -> None:
    assert loader_of_the_endpoint() != "SourceFileLoader"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose one module was compiled at 1000 seconds, after it was written."""
    folder = tmp_path / "gateway"
    (folder / "sip").mkdir(parents=True)
    for name, changed in (
        ("sip/endpoint.py", 900),
        (f"sip/endpoint{speedups._SUFFIX}", 1000),
        (f"compiled__mypyc{speedups._SUFFIX}", 1000),
        ("../setup.py", 900),
    ):
        (folder / name).touch()
        os.utime(folder / name, (changed, changed))
    monkeypatch.setattr(speedups, "_PACKAGE", folder)
    monkeypatch.setattr(speedups, "_LIBRARY", folder / f"compiled__mypyc{speedups._SUFFIX}")
    monkeypatch.setattr(speedups, "_IS_PURE", False)
    return folder


def test_modules_older_than_what_was_compiled_of_them_run_compiled(package: Path) -> None:
    assert speedups._why_interpreted() == ""


def test_a_module_that_has_changed_since_is_named(package: Path) -> None:
    os.utime(package / "sip/endpoint.py", (1001, 1001))
    assert speedups._why_interpreted().startswith("endpoint.py has changed since it was compiled")


def test_an_installed_package_is_not_looked_at_for_changes(package: Path) -> None:
    (package / "../setup.py").unlink()
    os.utime(package / "sip/endpoint.py", (1001, 1001))
    assert speedups._why_interpreted() == ""


def test_without_a_compiler_there_is_a_reason(package: Path) -> None:
    (package / f"compiled__mypyc{speedups._SUFFIX}").unlink()
    assert "C compiler" in speedups._why_interpreted()
