"""What a configuration asks for that this version reads and checks but does not do yet.

The names are fixed, so that a configuration written today serves tomorrow; but nobody should believe that a
limit or a listener works when it does not. `gateway run` and `gateway check` say each of these once.
"""

from __future__ import annotations

from gateway.config import Config, SettingsError


def unserved(config: Config) -> list[SettingsError]:
    """Return each setting in the file that has no effect yet, said as one sentence.

    The embedded default is not complained about: the line `ready` tells what is served.
    """
    if config.is_embedded:
        return []
    paths: list[tuple[str | int, ...]] = []
    if config.gateway.workers != 1:
        paths.append(("gateway", "workers"))
    remedy = "this version carries calls as if it were not there"
    return [config.source.error(path, "this has no effect yet", remedy) for path in paths]
