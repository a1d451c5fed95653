"""What the fork server imports once, so that a run starts in tenths of a second. Nothing here starts a thread or a device."""

import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks  # noqa: F401
import pandas  # noqa: F401
import peft  # noqa: F401
import torch  # noqa: F401
import transformers
import transformers.models.llama.modeling_llama  # noqa: F401

import bench.evaluate
import bench.session
import bench.stage_evaluate
import bench.stage_train  # noqa: F401
