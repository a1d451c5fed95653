"""Forgetting as a metric for the `evaluate` library:
`evaluate.load("<path>/bench/metrics/forgetting")`.
"""

import datasets
import evaluate

from bench.metrics.forgetting.flips import flips

_CITATION = """\
@inproceedings{toneva2019forgetting,
  title = {An Empirical Study of Example Forgetting during Deep Neural Network Learning},
  author = {Toneva, Mariya and Sordoni, Alessandro and Tachet des Combes, Remi and
            Trischler, Adam and Bengio, Yoshua and Gordon, Geoffrey},
  booktitle = {ICLR},
  year = {2019},
}
@article{mcnemar1947,
  title = {Note on the sampling error of the difference between correlated proportions or
           percentages},
  author = {McNemar, Quinn},
  journal = {Psychometrika},
  year = {1947},
}
"""

_DESCRIPTION = """\
How many items went right→wrong and wrong→right in training. The two can cancel in accuracy.
"""

_INPUTS = """\
Args:
    before: 1 for each item that the model got right before training, 0 for each it got wrong.
    after: the same after training, in the same order.
Returns:
    items_lost: right→wrong (n10).
    items_gained: wrong→right (n01).
    forgetting_rate: n10 / (n10 + n11); NaN if nothing was right before.
    gain_rate: n01 / (n01 + n00); NaN if nothing was wrong before.
    net_change: accuracy after minus accuracy before.
    p: two-sided p of the exact McNemar test.
Examples:
    >>> forgetting = evaluate.load("bench/metrics/forgetting")
    >>> forgetting.compute(before=[1, 1, 0, 0], after=[1, 0, 1, 0])["items_lost"]
    1
"""


class Forgetting(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"before": datasets.Value("float64"), "after": datasets.Value("float64")}
            ),
        )

    def _compute(self, before: list[float], after: list[float]) -> dict[str, float]:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = flips(before, after)
        return {
            "items_lost": found.lost,
            "items_gained": found.gained,
            "forgetting_rate": found.forgetting_rate,
            "gain_rate": found.gain_rate,
            "net_change": found.net_change,
            "p": found.p,
        }
