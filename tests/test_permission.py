"""What members of spaces may do: the code against the documented table, and people who try to get more."""

import random
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.permission import ALL, NAMES, OF_CHANNELS, bits, names
from server.access import Member, Overwrite, Role, deciding, may_overwrite, may_shape, may_touch, permissions, steps

SPACE, ANN = UUID(int=1), UUID(int=2)
CASES = (20_000, pytest.param(100_000, marks=pytest.mark.slow))
DOCUMENT = Path(__file__).parent.parent / "docs" / "permissions.md"
Layers = Sequence[Sequence[Overwrite]]


# The table of docs/permissions.md, word by word, with sets of names and no bits


def documented(member: Member, layers: Layers) -> set[str]:
    if member.owner:
        return set(NAMES)
    allowed: set[str] = set()
    for role in member.roles:
        allowed |= set(names(role.permissions))
    if "administrator" in allowed:
        return set(NAMES)
    roles = {role.id for role in member.roles if role.id != SPACE}
    for layer in layers:
        for told in ([SPACE], roles, [member.account]):
            denied = {name for one in layer if one.target in told for name in names(one.deny)}
            granted = [name for one in layer if one.target in told for name in names(one.allow)]
            allowed = {name for name in allowed if name not in denied} | set(granted)
    if layers:
        if "view" not in allowed:
            allowed -= {name for name in NAMES if NAMES.index(name) <= NAMES.index("move_members")}
        if "send" not in allowed:
            allowed -= {"attach", "mention_everyone", "start_polls", "bypass_slow_mode"}
        if "connect" not in allowed:
            allowed -= {"speak", "video", "mute_members", "move_members"}
    if member.timed_out:
        allowed &= {"view", "history"}
    return allowed


def _few(dice: random.Random, most: int) -> int:
    """Some bits: mostly few, sometimes many."""
    found = dice.getrandbits(len(NAMES)) & dice.getrandbits(len(NAMES))
    return (found if dice.random() < 0.5 else found & dice.getrandbits(len(NAMES))) & most


def _case(dice: random.Random) -> tuple[Member, Layers]:
    administrator = bits(["administrator"]) if dice.random() < 0.05 else 0
    everyone = Role(SPACE, 0, _few(dice, ALL & ~bits(["administrator"])))
    others = [
        Role(UUID(int=10 + n), n + 1, _few(dice, ALL & ~bits(["administrator"]))) for n in range(dice.randrange(5))
    ]
    if others:
        others[0] = Role(others[0].id, 1, others[0].permissions | administrator)
    had = [role for role in others if dice.random() < 0.6]
    targets = [SPACE, ANN, UUID(int=3), *(role.id for role in others)]

    def layer() -> list[Overwrite]:
        chosen = [one for one in targets if dice.random() < 0.5]
        dice.shuffle(chosen)
        return [Overwrite(one, _few(dice, OF_CHANNELS), _few(dice, OF_CHANNELS)) for one in chosen]

    layers = [layer() for _ in range(dice.randrange(3))]
    member = Member(ANN, [everyone, *had], owner=dice.random() < 0.02, timed_out=dice.random() < 0.1)
    return member, layers


@pytest.mark.parametrize("cases", CASES)
def test_a_hundred_thousand_cases_agree_with_the_documented_algorithm(cases: int) -> None:
    """A fifth of them in the ordinary run."""
    dice, seen = random.Random(20261121), set[tuple[bool, bool, int]]()
    for number in range(cases):
        member, layers = _case(dice)
        found = permissions(member, layers)
        assert set(names(found)) == documented(member, layers), (number, member, layers)
        seen.add((member.owner, member.timed_out, len(layers)))
    assert len(seen) == 12, "every kind of case came up"


_bits = st.integers(0, ALL)
_of_channels = _bits.map(lambda one: one & OF_CHANNELS)
_targets = st.sampled_from([SPACE, ANN, *(UUID(int=10 + n) for n in range(3))])
_layer = st.lists(
    st.builds(Overwrite, _targets, _of_channels, _of_channels), max_size=5, unique_by=lambda one: one.target
)
_roles = st.lists(_bits, max_size=3).map(
    lambda all_: [Role(UUID(int=10 + n), n + 1, one) for n, one in enumerate(all_)]
)
_member = st.builds(
    lambda everyone, roles, owner, out: Member(ANN, [Role(SPACE, 0, everyone), *roles], owner, out),
    _bits,
    _roles,
    st.booleans(),
    st.booleans(),
)


@given(_member, st.lists(_layer, max_size=2))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_generated_hierarchies_agree_with_the_documented_algorithm(member: Member, layers: Layers) -> None:
    assert set(names(permissions(member, layers))) == documented(member, layers)


@given(_member, st.lists(_layer, max_size=2))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_deciding_step_is_the_one_without_which_it_would_be_otherwise(member: Member, layers: Layers) -> None:
    all_ = list(steps(member, layers))
    for name in NAMES:
        bit = bits([name])
        step = deciding(member, layers, bit)
        assert bool(step.allowed & bit) == bool(permissions(member, layers) & bit)
        if step.rule == "nobody":
            assert not any(one.allowed & bit for one in all_)
        else:
            since = max(place for place, one in enumerate(all_) if one == step)
            assert not any((one.allowed ^ step.allowed) & bit for one in all_[since:])


# Examples that people ask about


def everyone(*allowed: str) -> Role:
    return Role(SPACE, 0, bits(allowed))  # type: ignore[arg-type]


def test_a_members_own_overwrite_beats_those_of_roles_and_an_allowance_of_one_role_beats_the_denial_of_another() -> (
    None
):
    one, other = Role(UUID(int=10), 1, 0), Role(UUID(int=11), 2, 0)
    member = Member(ANN, [everyone("view", "send"), one, other])
    send = bits(["send"])
    denied = [Overwrite(one.id, 0, send)]
    assert not permissions(member, [denied]) & send
    assert permissions(member, [[*denied, Overwrite(other.id, send, 0)]]) & send
    assert not permissions(member, [[Overwrite(other.id, send, 0), Overwrite(ANN, 0, send)]]) & send


def test_a_channel_has_the_last_word_over_its_category() -> None:
    view, member = bits(["view"]), Member(ANN, [everyone("view", "send")])
    hidden, shown = [Overwrite(SPACE, 0, view)], [Overwrite(SPACE, view, 0)]
    assert permissions(member, [hidden, []]) == 0
    assert permissions(member, [hidden, shown]) & view
    assert permissions(member, [shown, hidden]) == 0


def test_who_is_timed_out_reads_and_does_nothing_else_but_owners_and_administrators_cannot_be() -> None:
    usual = everyone("view", "history", "send", "react", "manage_roles")
    assert names(permissions(Member(ANN, [usual], timed_out=True), [[]])) == ["view", "history"]
    for one in (
        Member(ANN, [usual], owner=True, timed_out=True),
        Member(ANN, [everyone("administrator")], False, True),
    ):
        assert permissions(one, [[]]) == ALL


@pytest.mark.parametrize(
    ("member", "layers", "name", "rule"),
    [
        (Member(ANN, [everyone()], owner=True), [], "ban", "owner"),
        (Member(ANN, [everyone("administrator")]), [], "ban", "administrator"),
        (Member(ANN, [everyone("send")]), [], "send", "role"),
        (Member(ANN, [everyone()]), [], "send", "nobody"),
        (
            Member(ANN, [everyone("view", "send")]),
            [[Overwrite(SPACE, 0, bits(["send"]))]],
            "send",
            "denied_by_everyone",
        ),
        (Member(ANN, [everyone("view")]), [[Overwrite(ANN, bits(["send"]), 0)]], "send", "allowed_by_member"),
        (Member(ANN, [everyone("send")]), [[]], "send", "implied"),
        (Member(ANN, [everyone("view", "send")], timed_out=True), [[]], "send", "timed_out"),
    ],
)
def test_it_can_be_told_which_rule_decided(member: Member, layers: Layers, name: str, rule: str) -> None:
    assert deciding(member, layers, bits([name])).rule == rule  # type: ignore[list-item]


# People who try to get more


class Village:
    """A space in which some work together: each change goes through the checks that ops go through."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.next = dice, 100
        self.roles = {SPACE: Role(SPACE, 0, _few(dice, ALL & ~bits(["administrator", "manage_roles"])))}
        for position in range(1, 5):
            given_ = _few(dice, ALL) | (bits(["manage_roles"]) if dice.random() < 0.5 else 0)
            self.make(Role(self.id(), position, given_))
        self.had = {UUID(int=1000 + n): {SPACE, dice.choice(list(self.roles))} for n in range(4)}

    def id(self) -> UUID:
        self.next += 1
        return UUID(int=self.next)

    def make(self, role: Role) -> None:
        self.roles[role.id] = role

    def member(self, account: UUID) -> Member:
        return Member(account, [self.roles[one] for one in self.had[account] if one in self.roles])

    def power(self) -> tuple[int, float]:
        """What they can do all together, and how high the highest stands."""
        together = 0
        for account in self.had:
            together |= permissions(self.member(account))
        return together, max(self.member(account).height for account in self.had)

    def step(self) -> bool:
        """Somebody tries something; whether it was let pass."""
        who = self.member(self.dice.choice(list(self.had)))
        whom = self.dice.choice(list(self.had))
        role = self.roles[self.dice.choice(list(self.roles))]
        match self.dice.randrange(5):
            case 0:
                new = Role(self.id(), self.dice.randrange(1, 6), _few(self.dice, ALL))
                return may_shape(who, None, new) and not self.make(new)
            case 1:
                changed = Role(role.id, role.position, _few(self.dice, ALL))
                return may_shape(who, role, changed) and not self.make(changed)
            case 2 if role.id != SPACE:
                moved = Role(role.id, self.dice.randrange(1, 6), role.permissions)
                return may_shape(who, role, moved) and not self.make(moved)
            case 3:
                return (
                    may_touch(who, self.member(whom)) and may_shape(who, None, role) and not self.had[whom].add(role.id)
                )
            case _ if role.id != SPACE:
                allowed = may_touch(who, self.member(whom)) and may_shape(who, role, None)
                return allowed and not self.had[whom].discard(role.id)
        return False


def test_no_sequence_of_role_edits_lets_anybody_gain_a_permission_or_a_position() -> None:
    dice, passed = random.Random(4), 0
    for _ in range(300):
        village = Village(dice)
        together, height = village.power()
        for _ in range(60):
            passed += village.step()
            now, high = village.power()
            assert now & ~together == 0, "somebody can do what nobody could"
            assert high <= height, "somebody stands higher than anybody stood"
    assert passed > 500, "much of it was allowed"


def test_nobody_allows_in_a_channel_what_they_may_not_do_there_nor_touches_who_is_as_high() -> None:
    dice = random.Random(5)
    for _ in range(5000):
        member, layers = _case(dice)
        changed, height = _few(dice, OF_CHANNELS), dice.randrange(6)
        if may_overwrite(member, layers, changed, height):
            assert set(names(changed)) <= documented(member, layers)
            assert "manage_roles" in documented(member, [])
            assert height < member.height


def test_the_owner_is_touched_by_nobody_and_touches_everybody_else() -> None:
    owner, other = Member(ANN, [everyone()], owner=True), Member(UUID(int=3), [everyone("administrator")])
    assert may_touch(owner, other)
    assert not may_touch(other, owner)
    assert not may_touch(owner, owner)
    assert not may_touch(other, other)


# The document


def test_the_document_names_every_permission_and_every_step() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in NAMES if f"`{name}`" not in text] == []
    rules = ("role", "owner", "administrator", "implied", "timed_out", "nobody")
    layered = [f"{verb}_by_{whom}" for verb in ("denied", "allowed") for whom in ("everyone", "roles", "member")]
    assert [rule for rule in (*rules, *layered) if f"`{rule}`" not in text] == []
