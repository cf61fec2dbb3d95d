"""Compile the modules that every call goes through, where a C compiler is at hand (mypyc, from their types).

Everything else about the package is in pyproject.toml. What is compiled stays Python: the same files run
interpreted where they were not compiled, or where ``GATEWAY_PURE=1`` asks for it (gateway/speedups.py).
Nothing needs it, so whatever stands in its way costs one line and not the installation.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

# What a rejected and an answered call execute, by count of byte codes. A msgspec struct with options, such as
# eq=False, is more than mypyc takes, so those modules are left out; the rest would only take longer to build.
HOT = {
    ".": "tokens",
    "sip": "build dialog endpoint fields flow headers itself message parted remember rows sizing timers "
    "traffic uri",
    "sip/transaction": "base client invite_client invite_server server",
    "b2bua": "call contacts core credentials events extensions feedback hunting inside leg loops naming "
    "outside policy relay search",
    "ledger": "packing",
    "routing": "health route trunk",
    "rules": "decision emit facts rule ruleset",
    "tap": "store tap",
    "telemetry": "call_times",
    "transport": "udp",
    "workers": "endpoint ownership",
}
# The types of most libraries are not there while we are built: `make types` is the strict check.
MYPY_OPTIONS = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]


# Calls among compiled functions need not go by way of the dynamic linker, and may be inlined.
FLAGS = ["-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt"] if sys.platform == "linux" else []


def why_not() -> str:
    """Return why nothing can be compiled here, "" when it can."""
    if os.environ.get("GATEWAY_PURE", "") not in ("", "0"):
        return "GATEWAY_PURE is set"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no {compiler}"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "there are no header files of Python"
    return ""


def compiled() -> list[Extension]:
    """Return the modules to compile; none where that cannot be done."""
    reason = why_not()
    if not reason:
        try:
            from mypyc.build import mypycify

            files = [
                str(Path("gateway", folder, f"{name}.py"))
                for folder, names in HOT.items()
                for name in names.split()
            ]
            modules: list[Extension] = mypycify(
                [*MYPY_OPTIONS, *files], debug_level="0", group_name="gateway.compiled"
            )
        except (Exception, SystemExit) as error:  # mypyc ends the process when types do not fit
            reason = f"mypyc says {error}"
        else:
            for module in modules:
                module.optional = True
                module.extra_compile_args = [*module.extra_compile_args, *FLAGS]  # theirs is one for all
            return modules
    print(f"the call logic runs as Python, not compiled: {reason}", file=sys.stderr)
    return []


setup(ext_modules=compiled())
