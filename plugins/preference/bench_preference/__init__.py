"""Preference optimisation: learning from which of several completions is better, as data say it or
as a ranker says of samples.
"""

from __future__ import annotations

from .dpo import DPO, StepwiseDPO
from .dpo_variants import LDDPO, DPONorm, RobustDPO
from .kto import KTO
from .online import OnlineDPO
from .ranking import RRHF
from .rso import RSO
from .slic import SLiCHF, SLiCHFDirect
from .triples import TPO
from .with_reference import IPO
from .without_reference import CPO, ORPO, SimPO

__all__ = [
    "CPO",
    "DPO",
    "IPO",
    "KTO",
    "LDDPO",
    "ORPO",
    "RRHF",
    "RSO",
    "TPO",
    "DPONorm",
    "OnlineDPO",
    "RobustDPO",
    "SLiCHF",
    "SLiCHFDirect",
    "SimPO",
    "StepwiseDPO",
]
