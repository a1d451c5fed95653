"""What the fork server imports once, so that a run starts in tenths of a second. Nothing here starts a thread or a device."""

import datasets
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks
import pandas
import peft
import torch
import transformers
import transformers.models.llama.modeling_llama

import bench.evaluate
import bench.session
import bench.stage_evaluate
import bench.stage_train
