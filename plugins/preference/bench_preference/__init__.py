"""Offline preference optimisation: learning from which of several completions is better, without a
reward while training.
"""

from __future__ import annotations

from .dpo import DPO, SDPO
from .kto import KTO
from .ranking import RRHF
from .slic import SLiCHF, SLiCHFDirect
from .with_reference import IPO
from .without_reference import CPO, ORPO, SimPO

__all__ = ["CPO", "DPO", "IPO", "KTO", "ORPO", "RRHF", "SDPO", "SLiCHF", "SLiCHFDirect", "SimPO"]
