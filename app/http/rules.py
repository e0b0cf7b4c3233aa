"""The rules in force over REST."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from app.database.keys import Scope
from app.http.gate import needs
from app.http.pages import Answer, Page, Paging, Using, part
from app.http.problems import Code, Problem, responses

router = APIRouter(prefix="/v1/rules", tags=["rules"])
RuleId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$", examples=["login-decline"])]


class PlaybookView(Answer):
    """What a person should do, and until when."""

    action: str
    due: str | None


class RuleView(Answer):
    """One rule, as its file writes it."""

    id: str
    when: str = Field(examples=["logins.change_28d <= -0.20"])
    resolve_when: str | None
    for_: str | None = Field(alias="for")
    keep_firing_for: str | None
    cooldown: str | None
    severity: str
    title: str
    playbook: PlaybookView
    labels: dict[str, str]
    floors: dict[str, int]
    mode: str
    metrics: list[str] = Field(description="The metrics that its conditions read")
    version: str = Field(description="A hash of what decides")


class RulePage(Page):
    """A page of rules. ``version`` is a hash of the configuration."""

    version: str
    data: list[RuleView]


@router.get(
    "",
    response_model=RulePage,
    summary="List rules",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def list_rules(services: Using, query: Annotated[Paging, Query()]) -> RulePage:
    """Those in force, in the order of their file."""
    configuration = services.configuration()
    shown, cursor = part(configuration.rules, query, "rules", lambda rule: rule.id)
    rules = [RuleView.model_validate(each.describe()) for each in shown]
    return RulePage(data=rules, next_cursor=cursor, version=configuration.version)


@router.get(
    "/{rule_id}",
    response_model=RuleView,
    summary="One rule",
    responses=responses(Code.RULE_NOT_FOUND, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def get_rule(services: Using, rule_id: RuleId) -> RuleView:
    """By its id."""
    found = services.configuration().rule(rule_id)
    if found is None:
        raise Problem(Code.RULE_NOT_FOUND, f"there is no rule {rule_id!r}")
    return RuleView.model_validate(found.describe())
