"""The final errors of networks, and the claims with their verdicts, as a terminal shows them."""

import re
import textwrap
from statistics import fmean

import pandas as pd

from degradation.report.caption import caveats, provenance, seeds_by_network
from degradation.report.claims import RUNS_MISSING, Difference, Finding, check_one_setting
from degradation.report.formats import points
from degradation.report.paper import final_error
from degradation.report.runs import WORDS, Run, mean_final

WIDTH = 100
SEEDS_WIDTH = 20
HEADING = "points [95 % interval]"
NO_BREAK = "\N{NO-BREAK SPACE}"


def final_errors(runs: list[Run]) -> pd.DataFrame:
    """Tabulate the last errors of each network, in percent, as means over its seeds.

    A row a network: plain ones first, then residual ones, by depth. Columns: `model`, `network`,
    `parameters` (trainable; NA where its run does not say), `seeds` (text), `train_error`,
    `test_error` or, for runs with a held-out set, `val_error`, and `best_error`, the mean of the
    lowest of these in each run: chosen on the very images that it was measured on. `paper` is the
    paper's test error and `paper_source` where it stands; NaN and "" unless all runs of the network
    follow the paper. Raises UserError if the runs are not of one schedule and variant.
    """
    check_one_setting(runs)
    unseen, seeds = runs[0].measured, seeds_by_network(runs)
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.residual, run.depth or 0)):
        groups.setdefault(run.model, []).append(run)
    rows = []
    for model, group in groups.items():
        known = final_error(model) if all(run.faithful for run in group) else None
        paper, source = known or (float("nan"), "")
        rows.append(
            {
                "model": model,
                "network": group[0].network,
                "parameters": group[0].manifest.get("parameters"),
                "seeds": seeds[group[0].network],
                "train_error": mean_final(group, "train_error"),
                unseen: mean_final(group, unseen),
                "best_error": fmean(run.rows[unseen].min() for run in group),
                "paper": paper,
                "paper_source": source,
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def summary_text(runs: list[Run], findings: list[Finding]) -> str:
    """Tell in 100 columns how the networks ended and what became of the claims (`judge`).

    `findings` are what `judge` makes of `runs`. Commands are not broken, so that they can be
    copied. Raises UserError as `final_errors` does.
    """
    parts = [_fill(provenance(runs)), _errors_text(runs), _claims_text(findings)]
    return "\n\n".join(filter(None, [*parts, _notes(findings), _fill(caveats(runs))]))


def _errors_text(runs: list[Run]) -> str:
    table, unseen = final_errors(runs), runs[0].measured
    columns = {"network": "final errors, %", "seeds": "seeds", "train_error": "training"}
    columns |= {unseen: WORDS[unseen], "best_error": "best *"}
    if table["paper"].notna().any():
        columns["paper"] = "paper"
    shown = table[list(columns)].rename(columns=columns)
    shown["seeds"] = [_few(text) for text in shown["seeds"]]
    text = shown.to_string(index=False, float_format="{:.2f}".format, na_rep="-")
    notes = f"* the lowest {WORDS[unseen]} error of each run: chosen on the {WORDS[unseen]} images"
    return f"{text}\n{notes}"


def _few(seeds: str) -> str:
    """Name the seeds or, if they are many, count them."""
    return seeds if len(seeds) <= SEEDS_WIDTH else f"{seeds.count(',') + 1} seeds"


def _claims_text(findings: list[Finding]) -> str:
    """A line a claim; below it a line for each difference, unless it is about one alone."""
    if not findings:
        return ""
    rows = [("", "claim", HEADING, "verdict")]
    for finding in findings:
        effects = [(d.label.partition(",")[0], _effect(d)) for d in finding.differences]
        whole = len(effects) == 1 and finding.verdict != RUNS_MISSING
        alone = effects[0][1] if whole else ""
        rows.append((str(finding.number), finding.statement, alone, finding.verdict))
        rows += [("", f"  {pair}", effect, "") for pair, effect in effects if not alone]
    middle, right = (max(len(row[column]) for row in rows) for column in (2, 3))
    left = WIDTH - 3 - middle - right - 4  # the number, and two spaces between columns
    lines = []
    for number, words, effect, verdict in rows:
        first, *rest = textwrap.wrap(words, left, drop_whitespace=False)
        lines.append(f"{number:3}{first:{left}}  {effect:{middle}}  {verdict}".rstrip())
        lines += [f"   {line.strip()}" for line in rest]
    return "\n".join(lines)


def _effect(difference: Difference) -> str:
    """Write a difference and, where there is one, its interval: +1.20 [+0.85, +1.55]."""
    if difference.low is None or difference.high is None:
        return points(difference.points)
    return f"{points(difference.points)} [{points(difference.low)}, {points(difference.high)}]"


def _notes(findings: list[Finding]) -> str:
    """The remarks, each once, after the numbers of the claims that it belongs to."""
    numbers: dict[str, list[str]] = {}
    for finding in findings:
        if finding.remark:
            numbers.setdefault(finding.remark, []).append(str(finding.number))
    return "\n".join(
        _fill(f"({', '.join(known)}) {remark}", "    ") for remark, known in numbers.items()
    )


def _fill(text: str, indent: str = "") -> str:
    """Break a text into lines, but not inside the commands between its backticks."""
    whole = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", NO_BREAK), text)
    lines = textwrap.fill(
        whole, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(NO_BREAK, " ")
