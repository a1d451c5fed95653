"""Methods against forgetting: they learn the target and hold on to what the start model knew."""

from .anchors import EWC, L2SP, MAS, SI, Mixout, OnlineEWC, RecAdam
from .averages import ModelSoup, WiseFT
from .memory import AGEM, DERpp
from .orthogonal import OLora
from .rehearsal import LwF, Replay, SelfReplay

__all__ = [
    "AGEM",
    "EWC",
    "L2SP",
    "MAS",
    "SI",
    "DERpp",
    "LwF",
    "Mixout",
    "ModelSoup",
    "OLora",
    "OnlineEWC",
    "RecAdam",
    "Replay",
    "SelfReplay",
    "WiseFT",
]
