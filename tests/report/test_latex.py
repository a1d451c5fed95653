"""The LaTeX table: what it holds, and that no name in it can act as a command."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.analysis import Analysis, Group
from bench.report.latex import escaped, latex
from tests.made_up import base, everything, row

GOLDEN = r"""% Needs \usepackage{booktabs}.

\begin{table}[tbp]
\centering
\caption{Learning and forgetting: small, each on 200,000 tokens. In brackets: 95\% confidence intervals. After $\pm$: standard deviation over seeds. Rows in one tie group are statistically indistinguishable in target accuracy.}
\label{tab:small-quality}
\small
\begin{tabular}{@{}llrrrrr@{}}
\toprule
method & \shortstack{tie\\group} & \shortstack{target accuracy\\(\%)} & \shortstack{forgetting\\(points)} & \shortstack{right$\to$wrong\\(items)} & \shortstack{wrong$\to$right\\(items)} & \shortstack{drift KL\\(nats/token)} \\
\midrule
base & -- & 2.0 {\footnotesize [0.0, 5.0]} & 0.0 {\footnotesize [$-$4.0, 4.0]} & 0 {\footnotesize $\pm$ 0} & 7 {\footnotesize $\pm$ 0} & 0.000 {\footnotesize $\pm$ 0.000} \\
\addlinespace
lora\_r8 & a & 90.0 {\footnotesize [87.0, 93.0]} & 30.0 {\footnotesize [26.0, 34.0]} & 120 {\footnotesize $\pm$ 4} & 7 {\footnotesize $\pm$ 0} & 0.540 {\footnotesize $\pm$ 0.016} \\
\bottomrule
\end{tabular}
\end{table}
"""  # noqa: E501


def small() -> Analysis:
    return Analysis("small", "", [Group([base(), row("lora_r8", 0.9, 0.3, tie_groups="a")])], 0.95)


def test_the_table_on_quality_is_as_written_here() -> None:
    assert latex(small()).startswith(GOLDEN)


def test_what_was_not_measured_says_why() -> None:
    assert r"\textit{not trained}" in latex(small())


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (r"a_b & 50% #1 $x$", r"a\_b \& 50\% \#1 \$x\$"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a--b", "a-{}-b"),
        ("[2pt]", "{[}2pt]"),
        ("sft → dpo", r"sft $\to$ dpo"),
        ("naïve", "naive"),
        ("中", r"\texttt{U+4E2D}"),
        ("two\nlines", "two lines"),
    ],
)
def test_names_are_text(name: str, written: str) -> None:
    assert escaped(name) == written


def test_nothing_that_a_name_brings_is_left_raw() -> None:
    evil = r"\write18{rm} %{}_^~#&$"
    text = latex(everything(evil))
    assert r"\write18" not in text
    bare = re.sub(r"\\[%&#$_{}]|\\[a-z]+", "", text.replace(r"\\", "").replace(r"$^{\ast}$", ""))
    body = "\n".join(line for line in bare.splitlines() if not line.startswith("%"))
    assert not set("%#~^") & set(body), "a sign that acts in LaTeX is unescaped"
    assert body.count("{") == body.count("}")


def test_every_line_has_as_many_cells_as_its_head() -> None:
    for table in re.findall(r"\\toprule\n(.*?)\\bottomrule", latex(everything()), re.S):
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_it_compiles(tmp_path: Path) -> None:
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    document = head + latex(everything()) + r"\end{document}"
    (tmp_path / "report.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "report.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:]
