"""Champions: who is one, who left, and on which day that last changed, each told as a short story."""

from __future__ import annotations

import pytest

from consumers.champions import DEPARTED, PEOPLE, PRESENT, UNMAPPED, Champions
from consumers.windows import NEVER


def told(*story):
    champions = Champions()
    for day, kind, user, data in story:
        champions.fold(kind, user, data, day)
    return champions


def named(contact, user=None, roles=("champion",), **more):
    data = {"contact_id": contact, "roles": list(roles), **more}
    return data if user is None else {**data, "user_id": user}


def test_an_account_without_contacts_is_unmapped():
    assert told().state() == (UNMAPPED, 0)


def test_a_member_is_no_champion():
    assert told((1, "contact.updated", "", named("c1", "u1", ["member"]))).state() == (UNMAPPED, 0)


def test_the_first_naming_is_no_change():
    champions = told((1, "contact.updated", "", named("c1", "u1")))
    assert champions.state() == (PEOPLE, 1)
    assert champions.change_day == NEVER


def test_a_champion_without_a_user_id_is_present():
    assert told((1, "contact.updated", "", named("c1"))).state() == (PRESENT, 0)


@pytest.mark.parametrize(
    "leaving",
    [
        (5, "contact.updated", "", {"contact_id": "c1", "active": False}),
        (5, "contact.updated", "", {"contact_id": "c1", "roles": ["member"]}),
        (5, "user.updated", "u1", {"deactivated": True}),
        (5, "champion.changed", "", {"kind": "left_company", "previous_user_id": "u1"}),
        (5, "champion.changed", "", {"kind": "role_change"}),
    ],
    ids=["inactive", "role withdrawn", "user deactivated", "left company", "whoever it was"],
)
def test_a_champion_departs_in_every_way_the_field_knows(leaving):
    champions = told((1, "contact.updated", "", named("c1", "u1")), leaving)
    assert champions.state() == (DEPARTED, 0)
    assert champions.change_day == 5


def test_one_departure_told_by_two_providers_is_one():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "user.updated", "u1", {"deactivated": True}),
        (9, "champion.changed", "", {"kind": "left_company", "previous_user_id": "u1"}),
    )
    assert champions.change_day == 5


def test_a_successor_ends_the_departure_but_not_the_change():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "champion.changed", "", {"previous_user_id": "u1", "user_id": "u2"}),
    )
    assert champions.state() == (PEOPLE, 1)
    assert champions.current_users() == ["u2"]
    assert champions.change_day == 5


def test_a_successor_named_later_is_a_change_of_its_own():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "champion.changed", "", {"previous_user_id": "u1"}),
        (9, "champion.changed", "", {"previous_user_id": "u1", "user_id": "u2"}),
    )
    assert champions.state() == (PEOPLE, 1)
    assert champions.change_day == 9


def test_the_departure_of_a_champion_nobody_named_is_known_all_the_same():
    champions = told((5, "champion.changed", "", {"kind": "left_company"}))
    assert champions.state() == (DEPARTED, 0)
    assert champions.change_day == 5


def test_of_two_champions_one_may_leave():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (2, "contact.updated", "", named("c2", "u2")),
        (5, "contact.updated", "", {"contact_id": "c1", "active": False}),
    )
    assert champions.state() == (PEOPLE, 1)
    assert champions.change_day == 5


def test_a_user_who_is_activated_again_is_champion_again():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "user.updated", "u1", {"deactivated": True}),
        (6, "user.updated", "u1", {"deactivated": False}),
    )
    assert champions.state() == (PEOPLE, 1)
    assert champions.deactivated == set()


@pytest.mark.parametrize(
    "leaving",
    [
        (5, "user.updated", "u1", {"deactivated": True}),
        (5, "champion.changed", "", {"kind": "left_company", "previous_user_id": "u1"}),
        (5, "champion.changed", "", {"kind": "role_change"}),
    ],
    ids=["user deactivated", "left company", "whoever it was"],
)
def test_whoever_departed_is_not_named_by_a_list_of_contacts_told_every_night(leaving):
    nightly = [
        told
        for day in range(6, 10)
        for told in (
            (day, "contact.updated", "", named("c1", "u1", name="Ada")),
            (day, "user.updated", "u1", {"deactivated": True}),
            (day, "contact.updated", "", named("c1", roles=["member", "champion"])),
        )
    ]
    champions = told((1, "contact.updated", "", named("c1", "u1")), leaving, *nightly)
    assert champions.state() == (DEPARTED, 0)
    assert champions.change_day == 5


def test_a_role_that_was_taken_away_and_is_given_again_names_anew():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "champion.changed", "", {"previous_user_id": "u1"}),
        (6, "contact.updated", "", named("c1", roles=["member"])),
        (7, "contact.updated", "", named("c1")),
    )
    assert champions.state() == (PEOPLE, 1)
    assert champions.change_day == 5


def test_a_list_in_which_the_successor_never_was_champion_does_not_take_the_role_from_him():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (1, "contact.updated", "", named("c2", "u2", ["member"])),
        (5, "champion.changed", "", {"previous_user_id": "u1", "user_id": "u2"}),
        (6, "contact.updated", "", named("c2", "u2", ["member"])),
    )
    assert champions.current_users() == ["u2"]
    assert champions.change_day == 5


def test_a_champion_whose_contact_is_active_again_is_champion_again():
    gone = [
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "contact.updated", "", named("c1", active=False)),
        (6, "contact.updated", "", named("c1", active=False)),
    ]
    assert told(*gone).state() == (DEPARTED, 0)
    assert told(*gone).change_day == 5
    assert told(*gone, (7, "contact.updated", "", named("c1", active=True))).state() == (PEOPLE, 1)


def test_nobody_is_named_by_a_role_while_his_user_is_deactivated_but_when_he_is_back():
    story = [
        (1, "user.updated", "u1", {"deactivated": True}),
        (2, "contact.updated", "", named("c1", "u1")),
    ]
    assert told(*story).state() == (UNMAPPED, 0)
    back = (3, "user.updated", "u1", {"deactivated": False})
    assert told(*story, back).state() == (PEOPLE, 1)
    assert told(*story, back).change_day == NEVER


def test_a_role_taken_away_while_the_user_is_deactivated_does_not_come_back_with_him():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1")),
        (5, "user.updated", "u1", {"deactivated": True}),
        (6, "contact.updated", "", named("c1", roles=["member"])),
        (7, "user.updated", "u1", {"deactivated": False}),
    )
    assert champions.state() == (DEPARTED, 0)
    assert champions.change_day == 5


def test_a_deactivated_champion_who_turns_out_to_be_a_contact_is_champion_when_he_is_back():
    champions = told(
        (1, "champion.changed", "", {"user_id": "u1"}),
        (2, "contact.updated", "", {"contact_id": "c1"}),
        (3, "user.updated", "u1", {"deactivated": True}),
        (4, "contact.updated", "", {"contact_id": "c1", "user_id": "u1"}),
        (5, "user.updated", "u1", {"deactivated": False}),
    )
    assert champions.current_users() == ["u1"]


def test_a_contact_and_a_user_who_turn_out_to_be_one_person_are_joined():
    champions = told(
        (1, "champion.changed", "", {"user_id": "u1"}),
        (2, "contact.updated", "", {"contact_id": "c1", "name": "head of data"}),
        (3, "contact.updated", "", {"contact_id": "c1", "user_id": "u1"}),
    )
    assert champions.state() == (PEOPLE, 1)
    assert len(champions.people) == 1


def test_it_tells_who_is_and_who_was_a_champion_and_from_when_the_newest_change_counts():
    champions = told(
        (1, "contact.updated", "", named("c1", "u1", name="Ada")),
        (5, "champion.changed", "", {"previous_user_id": "u1", "effective_at": "2026-12-31"}),
        (6, "contact.updated", "", named("c2")),
        (6, "contact.updated", "", named("c3", "u3", ["member"])),
    )
    assert champions.describe() == {
        "people": [
            {"contact_id": "c1", "user_id": "u1", "name": "Ada", "status": "departed"},
            {"contact_id": "c2", "user_id": None, "name": None, "status": "current"},
        ],
        "effective_at": "2026-12-31",
    }
    assert told().describe() == {"people": [], "effective_at": None}
