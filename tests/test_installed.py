"""The list of methods is remembered for as long as no plugin has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .conftest import Bench

SOURCE = '''
import sys
from bench import Format, Method
print("imported", file=sys.stderr)
class Plugin(Method):
    """Does nothing."""
    formats, reference = (Format.PROMPT_COMPLETION,), "{}"
    def train(self, session): return session.model()
'''


def test_methods_are_listed_without_importing_them_again(
    bench_process: Bench, plugin: Callable[[str, str], str]
) -> None:
    site = plugin("idle", SOURCE.format("Nobody 2001"))
    path = f"{site}:{os.environ.get('PYTHONPATH', '')}"
    first, second = (bench_process("methods", PYTHONPATH=path) for _ in range(2))
    assert "Nobody 2001" in first.stdout
    assert second.stdout == first.stdout
    assert [run.stderr for run in (first, second)] == ["imported\n", ""]
    assert "Does nothing" in bench_process("methods", "idle", PYTHONPATH=path).stdout
    assert '"Nobody 2001"' in bench_process("methods", "idle", "--json", PYTHONPATH=path).stdout
    Path(site, "plugin_idle.py").write_text(SOURCE.format("Somebody else 2002"))
    changed = bench_process("methods", PYTHONPATH=path)
    assert "Somebody else 2002" in changed.stdout and changed.stderr == "imported\n"
    without = bench_process("methods", PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    assert "idle" not in without.stdout and "lora" in without.stdout


def test_methods_are_listed_where_nothing_can_be_remembered(bench_process: Bench) -> None:
    listed = bench_process("methods", XDG_CACHE_HOME=os.devnull)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "lora" in listed.stdout


def test_a_plugin_that_cannot_be_used_is_tried_again(
    bench_process: Bench, plugin: Callable[[str, str], str], tmp_path: Path
) -> None:
    """What it lacks may be installed at any time, in a package that nobody asked about."""
    site = plugin("needy", "import something_it_needs\n" + SOURCE.format("Nobody 2001"))
    path = f"{site}:{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    assert "no module named" in bench_process("methods", PYTHONPATH=path).stdout.lower()
    (tmp_path / "something_it_needs.py").write_text("")
    assert "Nobody 2001" in bench_process("methods", PYTHONPATH=path).stdout
