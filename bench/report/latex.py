"""The table for a paper: LaTeX with booktabs, one table on quality and one on cost for every group
of rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from bench.analysis import Findings, Group
from bench.analysis.rows import Row
from bench.records.schema import BASE
from bench.report import table

QUALITY = ("target_accuracy", "forgetting", "items_lost", "items_gained", "drift_kl")
COST = (
    "peak_train_bytes",
    "train_tokens_per_second",
    "trainable_parameters",
    "artifact_bytes",
    "train_seconds",
)
SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": (
        "{[}"
    ),  # right after a line's end it would be that line's skip, as a star would forbid a page's end
    "*": "{*}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\to$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‖": r"$\Vert$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}
HEAD = r"% Needs \usepackage{booktabs}."


def latex(findings: Findings) -> str:
    """Every group's tables, ready to \\input."""
    parts = [HEAD]
    for number, group in enumerate(findings.groups):
        for kind, names in (("quality", QUALITY), ("cost", COST)):
            columns = [
                c
                for c in table.COLUMNS
                if c.name in names and any(c.name in row.means for row in group.rows)
            ]
            if columns:
                label = "-".join(
                    (f"tab:{_slug(findings.name)}", kind, *([str(number + 1)] if number else []))
                )
                parts.append(_table(group, columns, _caption(findings, group, kind), label, kind))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Plain text as LaTeX: names come from plugins and suites, so nothing in them may act as a
    command.
    """
    one_line = " ".join(text.split())
    parts = re.split("(?<=-)(?=-)", one_line)  # two hyphens in a row would become a dash
    return "{}".join("".join(map(_sign, part)) for part in parts)


def _sign(sign: str) -> str:
    if sign in SIGNS:
        return SIGNS[sign]
    if " " <= sign <= "~":
        return sign
    # What pdflatex may not know is written with the nearest known letters, or with its number.
    known = "".join(c for c in unicodedata.normalize("NFKD", sign) if " " <= c <= "~")
    return "".join(SIGNS.get(c, c) for c in known) or rf"\texttt{{U+{ord(sign):04X}}}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "results"


def _table(
    group: Group, columns: Sequence[table.Column], caption: str, label: str, kind: str
) -> str:
    letters = kind == "quality" and any(row.letters for row in group.rows)
    titles = [_title(c.title) for c in columns] + (
        [r"\shortstack{spent\\of budget}", "seeds"] if kind == "cost" else []
    )
    head = ["method", *([""] if letters else []), *titles]
    lines = [
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\small",
        rf"\begin{{tabular}}{{@{{}}l{'l' if letters else ''}{'r' * len(titles)}@{{}}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    ranked = sorted(group.rows, key=lambda row: row.recipe != BASE)
    for place, row in enumerate(ranked):
        if place and ranked[place - 1].recipe == BASE:
            lines.append(r"\addlinespace")
        lines.append(" & ".join(_cells(row, columns, letters, kind)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _title(title: str) -> str:
    name, _, unit = title.partition(", ")
    return rf"\shortstack{{{escaped(name)}\\({escaped(unit)})}}" if unit else escaped(name)


def _cells(row: Row, columns: Sequence[table.Column], letters: bool, kind: str) -> list[str]:
    name = escaped(row.recipe) + (r"$^{\ast}$" if row.imported else "")
    known = [row.letters or "--"] if letters else []
    cells = [name, *known, *(_cell(row, column) for column in columns)]
    return [*cells, escaped(table.spent_share(row)), str(row.seeds)] if kind == "cost" else cells


def _cell(row: Row, column: table.Column) -> str:
    """The value with its interval or spread, or why there is none."""
    if column.name not in row.means:
        return rf"\textit{{{escaped(row.missing.get(column.name, row.status))}}}"
    value = _number(row.means[column.name], column.write)
    if (interval := row.intervals.get(column.name)) is not None:
        low, high = (_number(end, column.write) for end in interval)
        return rf"{value} {{\footnotesize [{low}, {high}]}}"
    spread = row.spreads.get(column.name)
    return (
        value
        if spread is None
        else rf"{value} {{\footnotesize $\pm$ {_number(spread, column.write)}}}"
    )


def _number(value: float, write: Callable[[float], str]) -> str:
    return escaped(write(value)).replace("-", "$-$")


def _caption(findings: Findings, group: Group, kind: str) -> str:
    """What the table shows, under which conditions, and how to read it."""
    currency, amount = group.rows[0].budget
    budget = f", each on {amount:,.10g} {currency}" if amount == amount else ""
    what = "What was learned and what was forgotten" if kind == "quality" else "What it cost"
    told = [f"{what}: {findings.name}{budget}{f' ({group.apart})' if group.apart else ''}."]
    if any(row.intervals.keys() & {*QUALITY, *COST} for row in group.rows):
        told.append(f"In brackets: {100 * findings.level:g}% confidence intervals.")
    if any(row.spreads for row in group.rows):
        told.append("After ±: standard deviation over seeds.")
    if kind == "quality" and any(row.letters for row in group.rows):
        told.append("Rows that share a letter are not known to differ in target accuracy.")
    if any(row.imported for row in group.rows):
        told.append("An asterisk marks what others measured.")
    return escaped(" ".join(told))
