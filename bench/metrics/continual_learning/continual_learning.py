"""Continual-learning metrics for the `evaluate` library:
`evaluate.load("<path>/bench/metrics/continual_learning")`.
"""

import datasets
import evaluate

from bench.metrics.continual_learning.sequence import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    trace_backward_transfer,
)

_CITATION = """\
@inproceedings{lopezpaz2017gradient,
  title = {Gradient Episodic Memory for Continual Learning},
  author = {Lopez-Paz, David and Ranzato, Marc'Aurelio},
  booktitle = {NeurIPS},
  year = {2017},
}
@inproceedings{chaudhry2018riemannian,
  title = {Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence},
  author = {Chaudhry, Arslan and Dokania, Puneet K. and Ajanthan, Thalaiyasingam and
            Torr, Philip H. S.},
  booktitle = {ECCV},
  year = {2018},
}
@article{wang2023trace,
  title = {TRACE: A Comprehensive Benchmark for Continual Learning in Large Language Models},
  author = {Wang, Xiao and others},
  journal = {arXiv:2310.06762},
  year = {2023},
}
"""

_DESCRIPTION = """\
Accuracy, backward and forward transfer and forgetting of a model trained on several tasks in
sequence.
"""

_INPUTS = """\
Args:
    scores: T + 1 rows of T scores, higher is better. Row 0 is before any training, row i is after
        stage i. Tasks are in training order.
    baseline: T scores of an untrained model; default: row 0.
Returns:
    average_accuracy: mean over tasks after the last stage.
    backward_transfer: mean change of each earlier task since it was trained; higher is better.
    forward_transfer: mean score on each later task just before it is trained, minus the baseline;
        higher is better.
    forgetting: mean drop of each earlier task from its best score; lower is better.
    trace_backward_transfer: backward transfer divided by T, as in TRACE; higher is better.
    With one task, all but average_accuracy and trace_backward_transfer are NaN.
Examples:
    >>> metric = evaluate.load("bench/metrics/continual_learning")
    >>> metric.compute(scores=[[0.0, 0.0], [0.75, 0.0], [0.5, 0.75]])["forgetting"]
    0.25
"""


class ContinualLearning(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"scores": datasets.Sequence(datasets.Value("float64"))}),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, scores: list[list[float]], baseline: list[float] | None = None
    ) -> dict[str, float]:
        return {
            "average_accuracy": average_accuracy(scores),
            "backward_transfer": backward_transfer(scores),
            "forward_transfer": forward_transfer(scores, baseline),
            "forgetting": forgetting(scores),
            "trace_backward_transfer": trace_backward_transfer(scores),
        }
