"""The table for a paper: LaTeX with booktabs, one table on quality and one on cost for every group
of rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from bench.analysis import Analysis, Group
from bench.analysis.columns import Column
from bench.analysis.rows import Row
from bench.analysis.words import amount
from bench.records.schema import BASE
from bench.report import table
from bench.report.cut import told as left_out

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
    "[": "{[}",  # after a line's end a bracket would be that line's skip, a star no page break
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


KINDS = {"quality": "Learning and forgetting", "cost": "Cost"}


def latex(analysis: Analysis) -> str:
    """Every group's tables, ready to \\input."""
    parts = [HEAD]
    for number, group in enumerate(analysis.groups):
        for kind in KINDS:
            columns = [c for c in table.main_columns(group.rows) if c.about == kind]
            if columns:
                label = f"tab:{_slug(analysis.name)}-{kind}{f'-{number + 1}' if number else ''}"
                parts.append(_table(group, columns, _caption(analysis, group, kind), label, kind))
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


def _table(group: Group, columns: Sequence[Column], caption: str, label: str, kind: str) -> str:
    tied = kind == "quality" and table.tied(group.rows)
    titles = [_title(c.title_and_unit) for c in columns]
    if kind == "cost":
        titles += [r"\shortstack{spent\\of budget}", "seeds"]
    head = ["method", *([r"\shortstack{tie\\group}"] if tied else []), *titles]
    lines = [
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\small",
        rf"\begin{{tabular}}{{@{{}}l{'l' if tied else ''}{'r' * len(titles)}@{{}}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    ranked = sorted(group.rows, key=lambda row: row.recipe != BASE)
    for place, row in enumerate(ranked):
        if place and ranked[place - 1].recipe == BASE:
            lines.append(r"\addlinespace")
        name = escaped(row.recipe) + (r"$^{\ast}$" if row.imported else "")
        cells = [
            name,
            *([row.tie_groups or "--"] if tied else []),
            *(_cell(row, c) for c in columns),
        ]
        if kind == "cost":
            cells += [escaped(table.spent(row)), str(row.seeds)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _title(title: str) -> str:
    name, _, unit = title.partition(", ")
    return rf"\shortstack{{{escaped(name)}\\({escaped(unit)})}}" if unit else escaped(name)


def _cell(row: Row, column: Column) -> str:
    """The value with its interval or deviation, or why there is none."""
    if column.name not in row.means:
        return rf"\textit{{{escaped(column.why(row))}}}"
    value, ends = escaped(column.value(row)), column.ends(row)
    extent = f"[{', '.join(map(escaped, ends))}]" if ends else escaped(column.extent(row))
    return rf"{value} {{\footnotesize {extent}}}" if extent else value


def _caption(analysis: Analysis, group: Group, kind: str) -> str:
    """What the table shows, under which conditions, and how to read it."""
    rows = group.rows
    currency, budget = rows[0].budget
    spent = f", each on {amount(budget)} {currency}" if budget == budget else ""
    told = [f"{KINDS[kind]}: {analysis.name}{spent}{f' ({group.apart})' if group.apart else ''}."]
    if any(row.intervals for row in rows) and kind == "quality":
        told.append(f"In brackets: {100 * analysis.level:g}% confidence intervals.")
    if any(row.spreads for row in rows):
        told.append("After ±: standard deviation over seeds.")
    if kind == "quality" and table.tied(rows):
        told.append("Rows in one tie group are statistically indistinguishable in target accuracy.")
    if analysis.left_out:
        told.append(left_out(analysis))
    if any(row.imported for row in rows):
        told.append("An asterisk marks results of others.")
    return escaped(" ".join(told))
