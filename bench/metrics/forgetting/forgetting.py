"""Forgetting as a metric of the `evaluate` library:
`evaluate.load("<path>/bench/metrics/forgetting")`.
"""

import datasets
import evaluate

from bench.metrics.forgetting.flips import flips

_CITATION = """\
@inproceedings{toneva2019forgetting,
  title = {An Empirical Study of Example Forgetting during Deep Neural Network Learning},
  author = {Toneva, Mariya and Sordoni, Alessandro and Tachet des Combes, Remi and Trischler, Adam and Bengio, Yoshua and Gordon, Geoffrey},
  booktitle = {ICLR},
  year = {2019},
}
@article{mcnemar1947,
  title = {Note on the sampling error of the difference between correlated proportions or percentages},
  author = {McNemar, Quinn},
  journal = {Psychometrika},
  year = {1947},
}
"""

_DESCRIPTION = """\
Which items a model lost and gained by being trained. Accuracy alone hides it: as many may be gained as were lost.
"""

_INPUTS = """\
Args:
    before: 1 where the model before training was right on an item, 0 where it was wrong.
    after: the same for the model after training, in the same order.
Returns:
    items_lost: right before, wrong after (n10).
    items_gained: wrong before, right after (n01).
    forgetting_rate: n10 / (n10 + n11), NaN where nothing was right before.
    gain_rate: n01 / (n01 + n00), NaN where nothing was wrong before.
    net_change: accuracy after minus accuracy before.
    p: two-sided exact McNemar p.
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
