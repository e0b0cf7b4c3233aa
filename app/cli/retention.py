"""`bellwether retention`: what became of the customers, month by month."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.pages import Out, OutOption, show

_PARTS = "months, segments, churn, freemium, surveys or benchmark"
_MONTHS = (
    "month",
    "status",
    ">accounts",
    ">MRR",
    ">expansion",
    ">contraction",
    ">churn",
    ">NRR",
    ">GRR",
    ">logos kept",
    "95 %",
)
_SEGMENTS = ("by", "segment", *_MONTHS[2:])
_CHURN = ("month", "status", ">accounts", ">lost", ">logo churn", ">MRR", ">lost", ">MRR churn")
_SURVEYS = ("survey", "window", "status", ">answers", ">positive", ">negative", ">score")


def retention(
    at: Annotated[
        str, typer.Option("--at", metavar="YYYY-MM", help="The last month; else the last complete one.")
    ] = "",
    months: Annotated[int, typer.Option("--months", min=1, max=60, help="How many of them.")] = 12,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="size, channel, tier, use_case; else all.")
    ] = None,
    stage: Annotated[str, typer.Option("--stage", help="series_a, series_b or series_c_plus.")] = "",
    currency: Annotated[str, typer.Option("--currency", help="The reporting currency.")] = "",
    part: Annotated[str, typer.Option("--table", help=f"Which part a CSV holds: {_PARTS}.")] = "months",
    out: OutOption = Out.TABLE,
) -> None:
    """Net and gross revenue retention, churn and logos, by month and by segment."""
    asked: dict[str, str | int | list[str]] = {
        "at": at,
        "months": months,
        "segment": segment or [],
        "stage": stage,
        "currency": currency,
        "table": part,
    }
    show("/v1/portfolio/retention", asked, out, _print)


def _print(answer: dict[str, Any]) -> None:
    money = f"in {answer['currency']}" if answer["currency"] else "in no currency that was told"
    output.line(f"twelve months up to the end of each month, {money}, as of {answer['as_of']}")
    for code, accounts in answer["left_out"].items():
        output.note(f"left out: {accounts} account{'s' * (accounts != 1)} with MRR in {code}")
    if answer["churned_with_mrr"]:
        output.note(
            f"{answer['churned_with_mrr']} accounts are churned by their lifecycle, and have MRR all the same"
        )
    output.table(
        _MONTHS, ([_month(each), each["status"], *_flow(each)] for each in answer["months"]), empty=""
    )
    rows = [
        [dimension, each["segment"] or "(not told)", *_flow(each)]
        for dimension, parts in answer["segments"].items()
        for each in parts
    ]
    output.table(_SEGMENTS, rows, empty="no segments")
    output.table(_CHURN, map(_churn, answer["churn"]), empty="")
    if freemium := answer["freemium"]:
        kept = _percent(freemium["logo_retention"])
        output.line(
            f"freemium, {freemium['status']}: {freemium['retained']} of {freemium['accounts']} accounts kept ({kept})"
        )
    surveys = [
        [
            survey,
            window,
            told["status"],
            told["answers"],
            told["positive"],
            told["negative"],
            _points(told["score"]),
        ]
        for survey, both in answer["surveys"].items()
        for window, told in (("last 180 days", both["level"]), ("180 days before", both["previous"]))
    ]
    output.table(_SURVEYS, surveys, empty="")
    if benchmark := answer["benchmark"]:
        _print_benchmark(benchmark)


def _month(each: dict[str, Any]) -> str:
    return str(each["month"] if each["complete"] else f"{each['month']} to {each['end']}")


def _flow(each: dict[str, Any]) -> list[Any]:
    return [
        each["accounts"],
        each["mrr_start"],
        each["expansion"],
        each["contraction"],
        each["churn"],
        _percent(each["nrr"]),
        _percent(each["grr"]),
        _percent(each["logo_retention"]),
        f"{_percent(each['logo_retention_low'])} to {_percent(each['logo_retention_high'])}"
        if each["logo_retention"] is not None
        else "",
    ]


def _churn(each: dict[str, Any]) -> list[Any]:
    return [
        _month(each),
        each["status"],
        each["accounts"],
        each["accounts_lost"],
        _percent(each["logo_churn"]),
        each["mrr_start"],
        each["mrr_lost"],
        _percent(each["mrr_churn"]),
    ]


def _print_benchmark(benchmark: dict[str, Any]) -> None:
    output.line(f"against {benchmark['stage']}: NRR {benchmark['level'] or 'cannot be told'}")
    rows = [
        [
            each["rate"],
            each["size"] or "all",
            f"> {_percent(each['above'])}" if each["above"] is not None else f"< {_percent(each['below'])}",
            _percent(each["value"]),
            {True: "yes", False: "no", None: "–"}[each["met"]],
        ]
        for each in benchmark["targets"]
    ]
    output.table(("target", "size", ">a year", ">value", "met"), rows, empty="")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _points(score: float | None) -> str:
    return "–" if score is None else f"{score:.1f}"
