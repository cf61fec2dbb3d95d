"""The command line in odd surroundings: each time a sentence or a list, never a traceback or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import RULES, Place

RULES_WITH_ARROW = RULES.replace("dead-number", "dead→number")


def gateway(place: Place, *arguments: str | bytes, out: str = "", **environment: str) -> tuple[int, str, str]:
    """Run the command in a process of its own; return its exit code and what it printed."""
    code = "from gateway.cli import main; main()"
    root = str(Path(__file__).parents[2])
    with Path(out or os.devnull).open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=place.path,
            env={**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8", **environment},
            stdout=file if out else subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    return done.returncode, (done.stdout or b"").decode("latin-1"), done.stderr.decode("latin-1")


def test_signs_that_the_terminal_cannot_show_are_replaced(place: Place) -> None:
    place.write("answer", "SIP/2.0 603 Decline\r\nReason: Q.850;cause=1\r\n\r\n")
    place.write("rules.toml", RULES_WITH_ARROW)
    command = ("explain", "answer", "--rules", "rules.toml")
    code, out, err = gateway(place, *command, PYTHONIOENCODING="latin-1")
    assert (code, err) == (0, "")
    assert "dead?number" in out


def test_an_argument_that_is_no_text_is_told(place: Place) -> None:
    code, _, err = gateway(place, "calls", "show", b"caf\xe9")
    assert code == 2
    assert err == "'caf\\udce9' holds bytes that are no UTF-8 text; write it in UTF-8\n"


def test_an_argument_that_is_missing_is_named_as_the_usage_names_it(place: Place) -> None:
    code, _, err = gateway(place, "analyze")
    assert code == 2
    assert "TRACE" in err and "--trace" not in err


def test_arguments_that_are_too_many_are_named(place: Place) -> None:
    code, _, err = gateway(place, "demo", "more", "still more")
    assert code == 2
    assert 'Too many arguments: "more" "still more".' in err


@pytest.mark.parametrize(
    ("command", "closed", "sentence"),
    [
        ("explain -", "<&-", "standard input is closed; name a file"),
        ("capture -", ">&-", "standard output is closed; name a file"),
    ],
)
def test_a_closed_input_or_output_is_told(place: Place, command: str, closed: str, sentence: str) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        f"exec {sys.executable} -m gateway {command} {closed}",
        shell=True,
        env={**os.environ, "PYTHONPATH": root},
        cwd=place.path,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (2, f"{sentence}\n")


def test_a_disk_that_is_full_is_told(place: Place) -> None:
    code, _, err = gateway(place, "doctor", out="/dev/full")
    assert (code, err) == (1, "the output cannot be written: no space left on device\n")


def test_a_width_in_which_nothing_fits_does_not_count(place: Place) -> None:
    code, out, err = gateway(place, "--help", COLUMNS="0")
    assert (code, err) == (0, "")
    assert "explain" in out


def test_a_command_that_prints_nothing_does_not_mind_a_full_disk(place: Place) -> None:
    code, _, err = gateway(place, "explain", "none", out="/dev/full")
    assert (code, err) == (2, "none: cannot be read: no such file or directory\n")
