"""`bellwether backtest`: rules judged against what really happened."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import history_files, output
from app.cli.history_files import Files, FromDay, UntilDay
from app.cli.opened import settings
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from alerts.backtest.outcomes import Outcomes
    from alerts.backtest.score import Estimate, Population, Score
    from alerts.backtest.sweep import Sweep
    from consumers.history import History

_RANGES = ("precision", "recall", "lift", "lead_days", "per_100_accounts_and_week")


class Answer(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def backtest(
    files: Files,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            "--outcomes", metavar="CSV", help="account_id, and churned_on or renewed_on or both; a date each."
        ),
    ] = None,
    silence: Annotated[
        int | None,
        typer.Option(
            "--outcomes-from-silence",
            metavar="DAYS",
            min=1,
            help="Instead: an account churned the day after its last login if so many days without one follow.",
        ),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="A rule file; by default BELLWETHER_CONFIG.")
    ] = None,
    from_: FromDay = "",
    until: UntilDay = "",
    horizon: Annotated[
        int,
        typer.Option("--horizon", min=1, max=3_650, help="Days before a churn in which an alert is true."),
    ] = 90,
    sweep: Annotated[
        str,
        typer.Option(
            "--sweep",
            metavar="RULE=FROM..TO",
            help="Try other thresholds of one rule; /0.05 behind it is the step, :9 how many.",
        ),
    ] = "",
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Draw the sweep as a picture, into this file."),
    ] = None,
    out: Annotated[
        Answer, typer.Option("--output", "-o", help="A table, JSON, or CSV with a line for each rule.")
    ] = Answer.TABLE,
) -> None:
    """Replay history and judge each rule by what happened: precision, recall, lift, lead time, alerts a week.

    All with 95 % intervals. Outcomes are compared with the alerts afterwards; the replay never sees them.
    """
    from alerts.backtest.sweep import parse_sweep
    from alerts.backtest.trial import describe_population, trial
    from alerts.configuration import load_configuration
    from alerts.metrics.catalogue import CATALOGUE
    from alerts.replay import Summary
    from consumers.days import Calendar

    if (outcomes is None) == (silence is None):
        raise ConfigurationError(
            "name the outcomes: --outcomes FILE.csv, or --outcomes-from-silence DAYS (one of them)\n"
            "the file has the columns account_id and churned_on or renewed_on"
        )
    _check_picture(svg, sweep)
    read = settings()
    configuration = load_configuration(rules or read.config, CATALOGUE)
    calendar = Calendar(read.timezone)
    first, last = history_files.days(calendar, from_, until)
    tried = parse_sweep(sweep, configuration.rules) if sweep else None
    judged = configuration.rules if tried is None else tried.variants
    history_files.check_readable(files)
    # Wrong outcomes are told before hours of reading.
    told = None if outcomes is None else history_files.read_outcomes(outcomes, calendar)
    history = history_files.read_files(files, calendar, read.now, configuration.is_internal)
    rejected = history_files.rejected(history)
    fates = _from_silence(history, silence) if told is None else told
    summary = Summary()
    found = trial(
        history,
        judged,
        calendar,
        fates,
        first=first,
        until=last,
        horizon=horizon,
        model=configuration.model,
        summary=summary,
    )
    population = {**describe_population(found.population, calendar), "rejected": rejected}
    where = f"up to {until}" if until else "in the files"
    if tried is None:
        scores = found.scores({rule.id: rule.severity for rule in judged})
        answer = {**population, "rules": [score.describe() for score in scores]}
        _write(out, answer, scores, found.population, where)
    else:
        swept = tried.scores(found)
        _swept(out, tried, swept, population, found.population, where)
        if svg is not None:
            _draw(svg, tried, swept)


def _check_picture(path: Path | None, sweep: str) -> None:
    """Raises ConfigurationError where there will be nothing to draw, or no place to draw it."""
    if path is None:
        return
    if not sweep:
        raise ConfigurationError("--svg draws a sweep\nadd --sweep 'login-decline=-0.1..-0.5'")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(f"--svg {path}: there is no folder {folder}\ncreate it first")
    if path.is_dir():
        raise ConfigurationError(f"--svg {path} is a folder\nname a file in it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigurationError(f"--svg {path} may not be written by this user")


def _draw(path: Path, sweep: Sweep, scores: Sequence[Any]) -> None:
    from alerts.backtest.chart import draw_sweep

    try:
        path.write_text(draw_sweep(sweep, scores), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--svg {path} cannot be written: {error.strerror}") from None


def _from_silence(history: History, days: int | None) -> Outcomes:
    from alerts.backtest.outcomes import outcomes_of_silence

    assert days is not None, "one of the two was given"
    return outcomes_of_silence(history, days)


def _write(
    out: Answer, answer: Mapping[str, Any], scores: Sequence[Score], population: Population, where: str
) -> None:
    """One line for each rule."""
    if out is Answer.JSON:
        output.document(answer)
    elif out is Answer.CSV:
        _write_csv("rule", answer["rules"])
    else:
        _introduce(answer, population, where)
        _table("rule", ((score.rule, score) for score in scores))
        _explain(scores)


def _swept(
    out: Answer,
    sweep: Sweep,
    scores: Sequence[Any],
    population: Mapping[str, Any],
    judged: Population,
    where: str,
) -> None:
    """One line for each threshold."""
    from alerts.backtest.sweep import describe_sweep, marked

    answer = {**population, "sweep": describe_sweep(sweep, scores)}
    if out is Answer.JSON:
        output.document(answer)
    elif out is Answer.CSV:
        _write_csv("threshold", answer["sweep"]["points"])
    else:
        _introduce(answer, judged, where)
        output.line(f"{sweep.rule.id}: {sweep.rule.when.text}, with other thresholds (* is the rule's own)")
        _table("threshold", marked(sweep, scores))


def _introduce(answer: Mapping[str, Any], population: Population, where: str) -> None:
    """``where`` the events were looked for: in the files, or up to a day."""
    output.line(
        f"{population.accounts:,} accounts, {population.account_days / 7:,.0f} account-weeks judged, "
        f"{answer['from']} to {answer['until']}; the data end {answer['data_end']}, the horizon is "
        f"{population.period.horizon} days"
    )
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (population.too_early, "too early to have had a full lead"),
            (population.too_late, "too late for alerts that count"),
            (population.after_end, "after the end of the data"),
        )
        if count
    ]
    aside = f"; not counted: {', '.join(left_out)}" if left_out else ""
    output.line(
        f"{population.churns:,} churns counted{aside}; base rate {population.base_rate:.2%}: "
        "a day drawn by lot has a churn within the horizon"
    )
    if population.strangers:
        output.line(
            f"{population.strangers:,} accounts of the outcomes have no event {where} and count nowhere"
        )


def _table(first: str, scores: Iterator[tuple[str, Score]]) -> None:
    output.table(
        (
            first,
            ">alerts",
            ">precision",
            ">recall",
            ">lift",
            ">lead, days",
            ">quartiles",
            ">per 100 accounts & week",
        ),
        (
            (
                name,
                score.alerts,
                _told(score.precision, "percent"),
                _told(score.recall, "percent"),
                _told(score.lift, "2"),
                _told(score.lead, "0"),
                "–"
                if score.lead_quartiles is None
                else "–".join(f"{days:.3g}" for days in score.lead_quartiles),
                _told(score.rate, "2"),
            )
            for name, score in scores
        ),
        empty="no rule was judged",
    )


def _explain(scores: Sequence[Score]) -> None:
    late, after = (sum(getattr(score, name) for score in scores[:-1]) for name in ("censored", "after_churn"))
    output.line("(in brackets: 95 % intervals; “any rule” leaves out those of severity info)")
    if late or after:
        output.line(
            f"alerts that count nowhere: {late:,} with less than the horizon after them, {after:,} of accounts "
            "that had churned"
        )


def _told(figure: Estimate, style: str) -> str:
    """A figure with its interval; a dash where there is none."""
    if figure.value is None:
        return "–"

    def spelt(value: float) -> str:
        return f"{value:.1%}" if style == "percent" else f"{value:.{style}f}"

    if figure.interval is None:
        return spelt(figure.value)
    return f"{spelt(figure.value)} ({spelt(figure.interval.low)}–{spelt(figure.interval.high)})"


def _write_csv(first: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Nested figures as columns of their own: precision, precision_low, precision_high."""
    flat = [{first: row[first], **dict(_flat({k: v for k, v in row.items() if k != first}))} for row in rows]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(flat[0]) if flat else [first], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if name in _RANGES:
            yield from ((name if part == "value" else f"{name}_{part}", each) for part, each in value.items())
        else:
            yield name, value
