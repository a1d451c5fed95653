"""The door: results in; a site, or a dataset on the Hub, out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.publish import hub, site
from bench.publish.adapters import publish_adapters
from bench.publish.gather import Published, gather, suites_in
from bench.system.cache import cache_folder


def send(results: Path, to: str, adapters: bool, private: bool) -> list[str]:
    """Publish a results folder; gives what to tell, a line each. UserError where there is nothing,
    or it cannot be sent.
    """
    repo = hub.repository(to)
    if repo is None:
        suites = gather(results)
        pages = site.build(suites, results, Path(to))
        told = _adapters(suites, Path(to)) if adapters else []
        return [
            *told,
            f"{len(pages) - 1} reports. Open {pages[0]}, or give the folder to any web host",
        ]
    suites_in(results)
    address = hub.open_repository(
        repo, private
    )  # before the reports are made, so that whoever may not write need not wait
    suites = gather(results)
    with tempfile.TemporaryDirectory() as folder:
        hub.stage(suites, Path(folder))
        told = _adapters(suites, Path(folder)) if adapters else []
        hub.push(Path(folder), repo)
    return [*told, f"{len(suites)} suites are at {address}"]


def _adapters(suites: list[Published], to: Path) -> list[str]:
    """Of each suite, how many adapters went along; where none did, what would keep them."""
    told = []
    for suite in suites:
        runs = publish_adapters(suite, cache_folder(), to / suite.name / "adapters")
        none = "none is kept; write `artifacts: keep` into the suite and run it again"
        told.append(f"{suite.name}: {f'{len(runs)} adapters' if runs else f'adapters: {none}'}")
    return told
