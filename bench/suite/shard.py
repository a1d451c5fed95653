"""A part of a suite's runs, for one of several machines that do not know of one another."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from bench.suite.plan import Run
from bench.system.errors import UserError


@dataclass(frozen=True)
class Shard:
    """The runs whose id falls on this number, from 1, of so many. The base is in every shard, as
    every row is read against it.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From text such as 2/4; `UserError` where it is none."""
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        number, of = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise UserError(f"--shard {text} is no shard; write 1/4, 2/4, 3/4 or 4/4, for example")
        return cls(number, of)

    def has(self, run: Run) -> bool:
        place = int.from_bytes(hashlib.sha256(run.id.encode()).digest()[:8], "big")
        return run.method is None or place % self.of == self.number - 1


WHOLE = Shard(1, 1)
