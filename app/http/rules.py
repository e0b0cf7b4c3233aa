"""The rules in force over REST."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from app.database.keys import Scope
from app.http.gate import needs
from app.http.pages import Answer, Page, Using
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


class RuleList(Page):
    """All rules: there are never many. ``version`` is a hash of the configuration."""

    version: str
    data: list[RuleView]


@router.get("", response_model=RuleList, summary="List rules", responses=responses(), **needs(Scope.READ))
async def list_rules(services: Using) -> RuleList:
    """Those in force, in the order of their file."""
    configuration = services.configuration()
    rules = [RuleView.model_validate(each.describe()) for each in configuration.rules]
    return RuleList(data=rules, next_cursor=None, version=configuration.version)


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
        raise Problem(Code.RULE_NOT_FOUND)
    return RuleView.model_validate(found.describe())
