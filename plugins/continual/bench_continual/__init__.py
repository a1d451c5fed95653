"""Methods against forgetting: they learn the target and hold on to what the start model knew."""

from .anchors import EWC, L2SP, Mixout, RecAdam
from .averages import ModelSoup, WiseFT
from .orthogonal import OLora
from .rehearsal import LwF, Replay

__all__ = ["EWC", "L2SP", "LwF", "Mixout", "ModelSoup", "OLora", "RecAdam", "Replay", "WiseFT"]
