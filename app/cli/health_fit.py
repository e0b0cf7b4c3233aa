"""`bellwether health fit`: engagement weights that history speaks for, as a change for a person to apply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import DONE, NO, history_files, output
from app.cli.history_files import Files
from app.cli.opened import settings
from app.cli.output import Output, OutputOption
from consumers.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from alerts.configuration import Configuration
    from alerts.health.fates import Fates
    from alerts.health.fit import Cohort, Fit
    from alerts.model import HealthModel
    from consumers.days import Calendar
    from consumers.history import History

_VERDICTS = {
    "better": "better: the interval of the difference lies above 0",
    "no_better": "no better: the interval of the difference holds 0, so the later cohort does not speak for a change",
    "worse": "worse: the interval of the difference lies below 0; keep the present weights",
    "same": "the same: these are the present weights",
}


def fit(
    files: Files,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            "--outcomes", metavar="CSV", help="account_id, churned_on, renewed_on; by default what MRR tells."
        ),
    ] = None,
    cohort: Annotated[
        str, typer.Option("--cohort", metavar="DAY", help="Fit to the customers of this day.")
    ] = "",
    judge: Annotated[
        str, typer.Option("--judge", metavar="DAY", help="Judge by the customers of this later day.")
    ] = "",
    rules: Annotated[
        Path | None, typer.Option("--rules", help="A configuration file; by default BELLWETHER_CONFIG.")
    ] = None,
    out: OutputOption = Output.TABLE,
) -> int:
    """Propose engagement weights: how each part went with customers' staying twelve months, judged on a later cohort.

    Prints a diff to the configuration; nothing is written. Exit 1 if there are no better weights to propose.
    """
    from alerts.configuration import load_configuration
    from alerts.health.fit import NothingToPropose
    from alerts.metrics.catalogue import CATALOGUE
    from consumers.days import Calendar

    read = settings()
    path = rules or read.config
    configuration = load_configuration(path, CATALOGUE)
    calendar = Calendar(read.timezone)
    days = (history_files.day(calendar, cohort, "--cohort"), history_files.day(calendar, judge, "--judge"))
    history_files.check_readable(files)
    told = _told(outcomes, calendar)  # wrong outcomes are told before hours of reading
    history = history_files.read_files(files, calendar, read.now, configuration.is_internal)
    rejected = history_files.rejected(history)
    try:
        answer = _proposed(history, calendar, configuration, told or _paid(history, calendar), days, path)
    except NothingToPropose as refusal:
        if out is Output.JSON:
            output.document({"version": configuration.version, "verdict": None, "why_not": str(refusal)})
        else:
            for line in str(refusal).splitlines():
                output.note(line)
        return NO
    if out is Output.JSON:
        output.document({**answer, "rejected": rejected})
    else:
        _print(answer)
    return DONE if answer["verdict"] == "better" else NO


def _told(path: Path | None, calendar: Calendar) -> Fates | None:
    from alerts.health.fates import Told

    return None if path is None else Told(history_files.read_outcomes(path, calendar))


def _paid(history: History, calendar: Calendar) -> Fates:
    from alerts.health.fates import Paid
    from alerts.health.fit import NothingToPropose

    paid = Paid.read(history, calendar)
    if not paid.told:
        raise NothingToPropose(
            "no event tells an MRR, so nobody is known to be a customer\n"
            "send subscription.changed, or name the outcomes: --outcomes FILE.csv"
        )
    return paid


def _proposed(
    history: History,
    calendar: Calendar,
    configuration: Configuration,
    fates: Fates,
    days: tuple[int | None, int | None],
    path: Path | None,
) -> dict[str, Any]:
    """Everything that is told, in JSON's types."""
    from alerts.health.fit import check_enough, chosen_days, fingerprint, fitted, judged_on, read_cohort

    fit_day, judge_day = chosen_days(history.span, calendar, *days)
    model = configuration.model
    early = read_cohort(history, calendar, model, fit_day, fates)
    found = fitted(early, calendar, model.health.terms.engagement)
    late = read_cohort(history, calendar, model, judge_day, fates)
    check_enough(late, calendar)
    digest = fingerprint(configuration.version, found.weights, (early, late))
    health, diff = _change(configuration, path, found, _remark(digest, early, late, calendar))
    judgement = judged_on(late, model.health, health)
    same = found.weights == model.health.terms.engagement
    return {
        "proposal": digest,
        "version": configuration.version,
        "configuration": None if path is None else str(path),
        "cohort": _cohort(early, calendar),
        "judged_on": {**_cohort(late, calendar), "lost_in_both": late.lost_in_both(early)},
        "parts": _parts(found, model.health),
        "segments_with_their_own": [
            number
            for number, segment in enumerate(health.segments, 1)
            if segment.terms.engagement != health.terms.engagement
        ],
        "auc": judgement.describe(),
        "verdict": "same" if same else judgement.verdict.value,
        "diff": "" if same else diff,
    }


def _remark(digest: str, early: Cohort, late: Cohort, calendar: Calendar) -> str:
    fitted, judged = (
        f"{calendar.date(each.day)} ({len(each.kept) - each.lost} kept, {each.lost} lost)"
        for each in (early, late)
    )
    return f"proposal {digest}, cohort {fitted}, judged on {judged}"


def _change(
    configuration: Configuration, path: Path | None, found: Fit, remark: str
) -> tuple[HealthModel, str]:
    """How the change would score, and the change as a diff. Raises ConfigurationError where it cannot be written."""
    from alerts.health.proposal import NEW_FILE, checked, diff, edited, lines_of
    from alerts.metrics.catalogue import CATALOGUE

    old = None if path is None else _text(path)
    text = (old or "").removeprefix("\ufeff")
    mark = (old or "")[: len(old or "") - len(text)]
    new = edited(text, found.weights, remark)
    health = None if new is None else checked(new, configuration, found.weights, CATALOGUE)
    if new is None or health is None:
        lines = " ".join(lines_of(found.weights).split())
        raise ConfigurationError(
            f"{path}: putting the weights in would change more: {lines}\n"
            "a segment that names some weights and inherits others must name all four first"
        )
    return health, diff(old, mark + new, NEW_FILE if path is None else str(path))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:  # it was read a moment ago
        raise SourceError(f"{path}: cannot be read any more: {error}") from None


def _cohort(cohort: Cohort, calendar: Calendar) -> dict[str, Any]:
    return {
        "day": calendar.date(cohort.day).isoformat(),
        "until": calendar.date(cohort.until).isoformat(),
        "accounts": len(cohort.kept),
        "kept": len(cohort.kept) - cohort.lost,
        "lost": cohort.lost,
        "unscored": cohort.unscored,
    }


def _parts(found: Fit, health: HealthModel) -> list[dict[str, Any]]:
    return [
        {
            "part": part.name,
            "accounts": part.accounts,
            "lost": part.lost,
            "enough": part.enough,
            "correlation": part.correlation,
            "low": part.interval.low if part.interval else None,
            "high": part.interval.high if part.interval else None,
            "weight": before / 1_000,
            "share": round(before / sum(health.terms.engagement), 3),
            "proposed": after / 1_000,
        }
        for part, before, after in zip(found.parts, health.terms.engagement, found.weights, strict=True)
    ]


def _print(answer: dict[str, Any]) -> None:
    output.line(f"fitted to {_customers(answer['cohort'])}")
    output.table(
        ("part", ">accounts", ">lost", ">correlation", "95 %", ">share now", ">proposed", ""),
        map(_part_row, answer["parts"]),
        empty="",
    )
    late = answer["judged_on"]
    both = f"; {late['lost_in_both']:,} of the lost were lost in both" if late["lost_in_both"] else ""
    output.line(f"judged on {_customers(late)}{both}")
    auc = answer["auc"]
    output.table(
        ("weights", ">AUC", "95 %"),
        [
            ("now", *_figure(auc["present"])),
            ("proposed", *_figure(auc["proposed"])),
            ("difference", *_figure(auc["difference"], "+")),
        ],
        empty="",
    )
    output.line("(AUC: the chance that who was kept had scored above who was lost; 0.5 is a coin)")
    if auc["accounts"] < late["accounts"]:
        output.line(f"{late['accounts'] - auc['accounts']:,} have no score by one of the weights")
    for number in answer["segments_with_their_own"]:
        output.line(f"segment {number} has weights of its own, and keeps them")
    output.line(_VERDICTS[answer["verdict"]])
    output.line(f"proposal {answer['proposal']} to configuration {answer['version']}; nothing was written")
    sys.stdout.write(answer["diff"])


def _customers(cohort: dict[str, Any]) -> str:
    unscored = f" ({cohort['unscored']:,} more had no score)" if cohort["unscored"] else ""
    return (
        f"{cohort['accounts']:,} customers of {cohort['day']}{unscored}: {cohort['kept']:,} kept, "
        f"{cohort['lost']:,} lost by {cohort['until']}"
    )


def _part_row(part: dict[str, Any]) -> tuple[Any, ...]:
    if part["correlation"] is None:
        told, between = "–", ""
    else:
        told, between = f"{part['correlation']:+.3f}", f"{part['low']:+.3f} to {part['high']:+.3f}"
    note = "" if part["enough"] else "too few: keeps its share"
    if part["enough"] and part["correlation"] is None:
        note = "the same for all"
    return (
        part["part"], f"{part['accounts']:,}", f"{part['lost']:,}", told, between,
        f"{part['share']:.3f}", f"{part['proposed']:.3f}", note,
    )  # fmt: skip


def _figure(figure: dict[str, float], sign: str = "") -> tuple[str, str]:
    return f"{figure['value']:{sign}.3f}", f"{figure['low']:{sign}.3f} to {figure['high']:{sign}.3f}"
