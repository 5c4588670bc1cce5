r"""report.tex: the tables of the terminal in booktabs, to be taken into a paper with \input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from palprobe.report.tables import Table
from palprobe.report.text import visible

HEAD = r"% \usepackage{booktabs} and, for names that are not ASCII, LuaLaTeX or \usepackage[utf8]{inputenc}"
MARKS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "×": r"\texttimes{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{mark: f"{{{mark}}}" for mark in "[]*!?`'-"},  # neither an argument of \\ nor a ligature
}
SPECIAL = re.compile("|".join(map(re.escape, MARKS)))


def latex_text(text: str) -> str:
    """The text as itself in LaTeX: no command, comment, argument or ligature."""
    return SPECIAL.sub(lambda found: MARKS[found[0]], visible(text))


def latex_report(tables: Sequence[Table], legends: Iterable[str]) -> str:
    """The whole file; the same tables give the same bytes."""
    told = "".join(f"\\par\\smallskip\\noindent\\footnotesize {latex_text(legend)}\n" for legend in legends)
    return "\n".join([HEAD, "", *map(latex_table, tables), f"{{{told}}}\n"])


def latex_table(table: Table) -> str:
    """A floating table with its title as caption; what the terminal says below it, below it."""
    columns = "l" * len(table.names) + "r" * len(table.numbers)
    lines = [_line((*table.names, *table.numbers)), r"\midrule", *map(_line, table.rows)]
    note = [rf"\par\smallskip\footnotesize {latex_text(table.caption)}"] if table.caption else []
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *note,
            r"\end{table}",
            "",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(map(latex_text, cells))} \\\\"
