"""What the fork server imports once, so that a run starts in tenths of a second. Nothing here
starts a thread or a device.

A plugin may add modules that its methods import only when they train, as entry points in the group
`bench.preload`: what is here already counts in nobody's seconds.
"""

import gc
from contextlib import suppress
from importlib.metadata import entry_points
from importlib.util import find_spec

import datasets
import lm_eval.evaluator
import lm_eval.tasks
import pandas
import torch
import transformers
import transformers.models.llama.modeling_llama

import bench.execution.evaluate
import bench.execution.train
import bench.methods.session

# PEFT imports bitsandbytes, which then asks each GPU what it can do. A process that has used CUDA
# cannot fork others that use it, so there each run imports PEFT for itself.
if not (find_spec("bitsandbytes") and torch.cuda.is_available()):
    import lm_eval.models.huggingface
    import peft

    import bench.evaluation.drift
    import bench.evaluation.lm_eval
    import bench.methods.trainer

    for module in entry_points(group="bench.preload"):
        with suppress(Exception):  # the run that needs it will tell what is wrong
            module.load()
# all of this stays for good: a collection, of which a run makes many, need not look through it
gc.freeze()
