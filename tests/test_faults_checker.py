"""The checker of histories finds nothing wrong with a good one, and each wrong in a bad one."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from protocol.message import MessageHistory
from tests.faults.caller import outcome
from tests.faults.checker import check, together
from tests.faults.evidence import merged
from tests.faults.history import Database, Did, Entry, Fact, Fault, Heard, Log, Message, Reader, Recorder, Told, Type
from tests.faults.invariants import percentile

CHANNEL = "general"


class World:
    """A history that is put together by hand: two writers, two readers, one channel. Time is counted in seconds."""

    def __init__(self) -> None:
        self.log = Log(readers=[Reader("r1", "rita", []), Reader("r2", "ron", [])])
        self.facts: list[Fact] = []
        self.messages: dict[int, Message] = {}
        self.t, self.deadlocks = 0.0, 0
        self.head: int | None = None
        for reader in self.log.readers:
            reader.heard.append(Heard(t=0.0, kind="start", stream=CHANNEL, seq=0))

    def op(self, f: Did, nonce: str, *ends: tuple[Type, int], user: str = "ann", **fields: Any) -> None:
        """An op with one attempt for each of its ends, a tenth of a second each."""
        for type, seq in ends:
            asked = {"seq": fields["seq"]} if "seq" in fields else {}
            given = {name: value for name, value in fields.items() if name != "seq"}
            self._note("invoke", f, nonce, user, given | asked)
            self._note(type, f, nonce, user, given | {"seq": seq})

    def _note(self, type: Type, f: Did, nonce: str, user: str, fields: dict[str, Any]) -> None:
        self.t += 0.05
        self.log.history.append(
            Entry(t=self.t, client=user, f=f, channel=CHANNEL, nonce=nonce, type=type, user=user, **fields)
        )

    def store(self, ev: str, **fields: Any) -> int:
        """A fact in the database."""
        self.facts.append(Fact(seq=len(self.facts) + 1, ev=ev, **fields))
        return len(self.facts)

    def hear(self, seq: int, ev: str, body: dict[str, Any], *readers: int, after: float = 0.01) -> None:
        """A fact at some readers, all of them if none is named."""
        for number in readers or (0, 1):
            heard = Heard(t=self.t + after, kind="fact", stream=CHANNEL, seq=seq, ev=ev, body=body)
            self.log.readers[number].heard.append(heard)

    def send(self, nonce: str, *, user: str = "ann", tell: bool = True) -> int:
        """A message that goes well."""
        seq = self.store("message.created", user=user, message=len(self.facts) + 1)
        self.messages[seq] = Message(seq=seq, author=user, nonce=nonce, text=nonce)
        self.op("send", nonce, ("ok", seq), user=user, text=nonce)
        if tell:
            self.tell(seq)
        return seq

    def tell(self, seq: int, *readers: int, text: str | None = None, after: float = 0.01) -> None:
        stored = self.messages[seq]
        words = stored.text if text is None else text
        body = {"message": {"seq": seq, "author": stored.author, "text": words}}
        self.hear(seq, "message.created", body, *readers, after=after)

    def edit(self, nonce: str, target: int, *, tell: bool = True) -> int:
        """An edit that goes well."""
        seq = self.store("message.edited", message=target)
        self.messages[target] = msgspec.structs.replace(self.messages[target], text=nonce)
        self.op("edit", nonce, ("ok", seq), target=target, text=nonce)
        if tell:
            self.hear(seq, "message.edited", self.edited(target, nonce))
        return seq

    def edited(self, target: int, text: str) -> dict[str, Any]:
        return {"message": {"seq": target, "author": self.messages[target].author, "text": text}}

    def react(self, nonce: str, target: int) -> int:
        seq = self.store("reaction.added", message=target)
        self.messages[target] = msgspec.structs.replace(self.messages[target], reactions=[("🌱", "ann")])
        self.op("react", nonce, ("ok", seq), target=target, text="🌱")
        self.hear(seq, "reaction.added", {"message": target, "emoji": "🌱", "user": "ann"})
        return seq

    def kick(self, user: str, *, seq: bool = True) -> int:
        """Somebody is put out: acknowledged, stored and told."""
        self.op("kick", f"kick {user} {self.t}", ("ok", 0), user=user)
        at = self.store("channel.member_left", user=user)
        self.hear(at, "channel.member_left", {"user": user})
        return at

    def add(self, user: str) -> int:
        self.op("add", f"add {user} {self.t}", ("ok", 0), user=user)
        at = self.store("channel.member_joined", user=user)
        self.hear(at, "channel.member_joined", {"user": user})
        return at

    @property
    def database(self) -> Database:
        return Database(
            heads={CHANNEL: len(self.facts) if self.head is None else self.head},
            facts={CHANNEL: self.facts},
            messages={CHANNEL: list(self.messages.values())},
            deadlocks=self.deadlocks,
        )

    @property
    def broken(self) -> set[str]:
        """The numbers of the invariants that don't hold."""
        return {name.split()[0] for name in check(self.log, self.database).broken}


@pytest.fixture
def world() -> World:
    """A little of everything, with nothing wrong."""
    world = World()
    first, _ = world.send("m1"), world.send("m2", user="bob")
    world.edit("e1", first)
    world.react("x1", first)
    world.op("look", "l1", ("ok", first), seq=first)
    world.op("mark", "k1", ("ok", 2), target=2, user="rita")
    world.op("send", "never", ("fail", 0), user="ann", text="never")
    world.op("send", "m3", ("info", 0), ("ok", 5), user="ann", text="m3")
    world.store("message.created", user="ann", message=5)
    world.messages[5] = Message(seq=5, author="ann", nonce="m3", text="m3")
    world.tell(5)
    return world


def test_a_good_history_is_good(world: World) -> None:
    report = check(world.log, world.database)
    assert report.good, str(report)
    expected = "3 acked · 1 nemesis · 0 lost · 0 duplicated · 0 reordered · 0 gaps · worst catch-up 0.01 s"
    assert report.line() == expected
    assert report.deliveries == 10


# 1


def test_an_acknowledged_message_that_is_not_stored_is_lost(world: World) -> None:
    world.op("send", "m9", ("ok", 6), text="m9")
    assert world.broken == {"1"}
    assert check(world.log, world.database).count("lost") == 1


def test_an_acknowledged_message_that_another_one_replaced_is_lost(world: World) -> None:
    world.op("send", "m9", ("ok", 5), text="m9")
    assert "1" in world.broken


def test_an_acknowledged_edit_that_is_not_stored_is_lost(world: World) -> None:
    world.op("edit", "e9", ("ok", 5), target=1, text="e9")
    assert "1" in world.broken


def test_a_nonce_that_is_stored_twice_is_a_double(world: World) -> None:
    world.send("m4")
    seq = world.store("message.created", user="ann", message=7)
    world.messages[seq] = Message(seq=seq, author="ann", nonce="m4", text="m4")
    world.tell(seq)
    assert world.broken == {"1"}
    assert check(world.log, world.database).count("duplicated") == 1


def test_a_retry_that_is_given_another_seq_is_a_double(world: World) -> None:
    world.op("send", "m3", ("ok", 6), text="m3")
    assert "1" in world.broken


# 2


def test_a_refused_message_that_is_stored_is_noticed(world: World) -> None:
    seq = world.store("message.created", user="ann", message=6)
    world.messages[seq] = Message(seq=seq, author="ann", nonce="never", text="never")
    world.tell(seq)
    assert world.broken == {"2"}


def test_a_refusal_after_an_unknown_end_says_nothing(world: World) -> None:
    world.op("send", "m4", ("info", 0), ("fail", 0), text="m4")
    seq = world.store("message.created", user="ann", message=6)
    world.messages[seq] = Message(seq=seq, author="ann", nonce="m4", text="m4")
    world.tell(seq)
    assert not world.broken


# 3


def test_a_number_that_no_fact_has_is_a_gap(world: World) -> None:
    world.facts.pop(1)
    world.messages.pop(2)
    world.log.history = [entry for entry in world.log.history if entry.nonce != "m2"]
    assert "3" in world.broken
    assert check(world.log, world.database).count("gap") == 1


def test_a_number_that_two_facts_have_is_a_double(world: World) -> None:
    world.facts.append(world.facts[-1])
    world.head = 5
    assert world.broken == {"3"}


def test_a_head_beyond_the_last_fact_is_a_gap(world: World) -> None:
    world.head = 6
    assert "3" in world.broken


# 4


def test_a_reader_that_misses_the_last_fact_lost_it(world: World) -> None:
    world.log.readers[0].heard.pop()
    report = check(world.log, world.database)
    assert world.broken == {"4"}
    assert report.count("lost") == 1


def test_a_reader_that_misses_one_in_the_middle_has_a_gap(world: World) -> None:
    world.log.readers[0].heard.pop(2)
    report = check(world.log, world.database)
    assert set(report.broken) == {"4 readers agree with the database"}
    assert report.count("gap") == 1


def test_a_fact_that_is_told_twice_is_a_double(world: World) -> None:
    world.tell(5, 0)
    assert world.broken == {"4"}
    assert check(world.log, world.database).count("duplicated") == 1


def test_facts_out_of_order_are_noticed(world: World) -> None:
    heard = world.log.readers[0].heard
    heard[1], heard[2] = heard[2], heard[1]
    assert check(world.log, world.database).count("reordered") == 1


def test_a_fact_of_another_kind_than_the_stored_one_is_noticed(world: World) -> None:
    heard = world.log.readers[1].heard
    heard[1] = msgspec.structs.replace(heard[1], ev="message.deleted", body={"messages": [1]})
    assert world.broken == {"4"}


def test_words_that_nobody_wrote_are_noticed(world: World) -> None:
    world.send("m4", tell=False)
    world.tell(6, text="something else")
    assert world.broken == {"4"}


def test_an_edit_that_is_told_in_the_words_before_is_noticed(world: World) -> None:
    world.edit("e2", 1, tell=False)
    world.edit("e3", 1, tell=False)
    world.hear(6, "message.edited", world.edited(1, "e3"))
    world.hear(7, "message.edited", world.edited(1, "e2"))
    assert world.broken == {"4"}


def test_a_fact_that_is_told_late_may_tell_the_present(world: World) -> None:
    world.send("m4", tell=False)
    world.edit("e2", 6, tell=False)
    world.tell(6, text="e2")
    world.hear(7, "message.edited", world.edited(6, "e2"))
    assert not world.broken


def test_a_reaction_that_a_reader_does_not_see_is_noticed(world: World) -> None:
    heard = world.log.readers[0].heard
    at = next(at for at, one in enumerate(heard) if one.ev == "reaction.added")
    heard[at] = msgspec.structs.replace(heard[at], body={**heard[at].body, "emoji": "🔥"})
    assert world.broken == {"4"}


def test_a_deleted_message_that_a_reader_still_sees_is_noticed(world: World) -> None:
    seq = world.store("message.deleted", message=2)
    world.messages[2] = Message(seq=2, author="bob", nonce="m2", text="", deleted=True)
    world.hear(seq, "message.deleted", {"messages": [2]}, 0)
    world.hear(seq, "message.deleted", {"messages": []}, 1)
    report = check(world.log, world.database)
    assert [one.detail.split()[0] for one in report.violations] == ["r2"]


def test_a_fact_of_a_stream_that_never_began_is_noticed(world: World) -> None:
    world.log.readers[0].heard.pop(0)
    assert world.broken == {"4"}


def test_being_told_to_read_again_is_noticed_where_nothing_is_gone(world: World) -> None:
    world.log.readers[0].heard.append(Heard(t=9.0, kind="reset", stream=CHANNEL))
    assert world.broken == {"4"}


def test_a_reader_may_begin_anywhere(world: World) -> None:
    world.log.readers[0].heard[:4] = [Heard(t=0.0, kind="start", stream=CHANNEL, seq=3)]
    assert not world.broken


def test_a_node_that_tells_another_history_is_noticed(world: World) -> None:
    messages: list[dict[str, Any]] = [
        {"seq": 1, "author": "ann", "text": "e1", "reactions": [{"emoji": "🌱", "users": ["ann"]}]},
        {"seq": 2, "author": "bob", "text": "m2"},
        {"seq": 5, "author": "ann", "text": "m3"},
    ]
    world.log.told.append(Told("node 1", CHANNEL, messages))
    assert not world.broken
    world.log.told.append(Told("node 2", CHANNEL, messages[:2]))
    assert world.broken == {"4"}


def test_a_node_whose_newest_messages_are_old_is_noticed(world: World) -> None:
    newest = {"seq": 5, "author": "ann", "text": "m3"}
    before = {"seq": 2, "author": "bob", "text": "m2"}
    world.log.told.append(Told("node 1", CHANNEL, [before, newest], newest=2))
    assert not world.broken
    world.log.told.append(Told("node 2", CHANNEL, [before, {**newest, "text": "m"}], newest=2))
    assert world.broken == {"4"}


def test_a_page_that_leaves_out_a_message_is_noticed(world: World) -> None:
    world.op("look", "l2", ("ok", 5), seq=5, page=[1, 2, 5])
    assert not world.broken
    world.op("look", "l3", ("ok", 5), seq=5, page=[1, 5])
    assert world.broken == {"4"}


MESSAGES: list[dict[str, Any]] = [{"seq": seq, "text": str(seq)} for seq in range(11, 21)]


@pytest.mark.parametrize(
    ("shown", "asked", "found"),
    [
        pytest.param({"messages": MESSAGES}, {}, True, id="as it was"),
        pytest.param({"messages": MESSAGES, "head": 29}, {}, False, id="as of before"),
        pytest.param({"messages": [*MESSAGES[:-1], {"seq": 20}]}, {}, False, id="in other words"),
        pytest.param({"messages": MESSAGES[:-1]}, {}, False, id="not there"),
        pytest.param({"messages": MESSAGES}, {"target": 9}, True, id="so many came later"),
        pytest.param({"messages": MESSAGES[1:]}, {"target": 9}, False, id="fewer came later than asked for"),
        pytest.param({"messages": MESSAGES}, {"target": 9, "after": 8}, False, id="passed over"),
    ],
)
def test_a_look_finds_ones_own_message(shown: dict[str, Any], asked: dict[str, int], found: bool) -> None:
    frame = MessageHistory(channel=uuid4(), after=asked.get("after"), limit=10, known=30)
    fields = {"seq": 30, "target": asked.get("target", 20), "text": "20"}
    told = outcome("look", frame, {"head": 30, **shown}, fields)
    assert told["seq"] == (30 if found else 0)
    assert told["page"] == [one["seq"] for one in shown["messages"]]


# 5, 6, 7


def test_a_look_that_misses_ones_own_message_is_noticed(world: World) -> None:
    world.op("look", "l2", ("ok", 0), seq=5)
    assert world.broken == {"5"}


def test_a_later_message_before_an_acknowledged_one_is_noticed(world: World) -> None:
    history = world.log.history
    second = [entry for entry in history if entry.nonce == "m2"]
    assert len(second) == 2
    early = [msgspec.structs.replace(entry, t=-1 + at / 10) for at, entry in enumerate(second)]
    world.log.history = [entry for entry in history if entry.nonce != "m2"] + early
    report = check(world.log, world.database)
    assert world.broken == {"6"}
    assert report.count("reordered") == 1


def test_messages_that_were_written_in_one_go_stand_in_that_order(world: World) -> None:
    for nonce in ("m4", "m5"):
        world.log.history.append(Entry(t=7, client="ann", f="send", channel=CHANNEL, nonce=nonce, type="invoke"))
    for nonce, seq in (("m4", 7), ("m5", 6)):
        world.log.history.append(Entry(t=8, client="ann", f="send", channel=CHANNEL, nonce=nonce, type="ok", seq=seq))
    report = check(world.log, world.database)
    assert "6 order is real time" in report.broken


def test_a_mark_that_goes_back_is_noticed(world: World) -> None:
    world.op("mark", "k2", ("ok", 5), target=5, user="rita")
    world.op("mark", "k3", ("ok", 4), target=4, user="rita")
    assert world.broken == {"7"}


def test_a_mark_of_somebody_else_may_be_lower(world: World) -> None:
    world.op("mark", "k2", ("ok", 5), target=5, user="rita")
    world.op("mark", "k3", ("ok", 4), target=4, user="ron")
    assert not world.broken


def test_a_receipt_that_goes_back_is_noticed(world: World) -> None:
    for read in (3, 2):
        body = {"channel": CHANNEL, "user": "ron", "delivered": 3, "read": read}
        heard = Heard(t=9.0, kind="passing", stream=CHANNEL, ev="message.receipt", body=body)
        world.log.readers[0].heard.append(heard)
    assert world.broken == {"7"}


# 8


def test_a_member_who_is_put_out_and_comes_back_is_fine(world: World) -> None:
    world.kick("ann")
    world.send("m4", user="bob")
    world.add("ann")
    world.send("m5", user="ann")
    assert not world.broken


def test_a_message_behind_its_authors_removal_is_noticed(world: World) -> None:
    world.kick("ann")
    world.send("m4", user="ann")
    assert world.broken == {"8"}


def test_a_message_that_was_begun_after_the_kick_is_noticed_whatever_its_number(world: World) -> None:
    world.op("kick", "kick ann", ("ok", 0), user="ann")
    world.send("m4", user="ann")
    world.kick("ann")
    assert world.broken == {"8"}


def test_what_is_told_to_somebody_who_was_put_out_is_noticed(world: World) -> None:
    at = world.kick("rita")
    world.log.readers[0].heard.append(Heard(t=world.t, kind="end", stream=CHANNEL))
    world.send("m4", tell=False)
    world.tell(at + 1, 1)
    assert not world.broken
    world.tell(at + 1, 0)
    assert "8" in world.broken


def test_who_is_back_may_be_told_what_they_missed(world: World) -> None:
    world.kick("rita")
    world.send("m4", tell=False)
    world.tell(7, 1)
    world.add("rita")
    heard = world.log.readers[0].heard
    world.tell(7, 0)
    heard[-1], heard[-2] = heard[-2], heard[-1]
    assert not world.broken


def test_what_is_shown_to_somebody_who_was_put_out_is_noticed(world: World) -> None:
    at = world.kick("ron")
    world.send("m4")
    world.log.readers[1].heard.pop()
    world.log.readers[1].heard.append(Heard(t=world.t, kind="end", stream=CHANNEL))
    world.op("read", "p1", ("ok", at), user="ron", page=[1, 2, 5])
    world.op("read", "p2", ("fail", 0), user="ron")
    world.op("read", "p3", ("ok", at + 1), user="ann", page=[at + 1])
    assert not world.broken
    world.op("read", "p4", ("ok", at + 1), user="ron")
    assert world.broken == {"8"}


def test_who_is_asked_back_may_be_shown_what_they_missed(world: World) -> None:
    at = world.kick("ron")
    world.send("m4", tell=False)
    world.tell(at + 1, 0)
    world.log.readers[1].heard.append(Heard(t=world.t, kind="end", stream=CHANNEL))
    world.add("ron")
    world.op("read", "p1", ("ok", at + 1), user="ron", page=[5, at + 1])
    world.log.readers[1].heard[-1] = Heard(t=world.t, kind="start", stream=CHANNEL, seq=at + 2)
    assert not world.broken


# 9, 10


def test_a_delivery_that_takes_too_long_is_noticed(world: World) -> None:
    world.send("m4", tell=False)
    world.tell(6, 0)
    world.tell(6, 1, after=2.5)
    assert world.broken == {"9"}
    assert check(world.log, world.database).worst == pytest.approx(2.5, abs=0.01)


def test_a_delivery_counts_from_the_end_of_the_fault_that_hindered_it(world: World) -> None:
    world.send("m4", tell=False)
    world.log.faults.append(Fault("partition", world.t - 1, world.t + 2))
    world.tell(6, 0)
    world.tell(6, 1, after=2.5)
    assert not world.broken
    assert check(world.log, world.database).worst == pytest.approx(0.5, abs=0.01)


def test_a_fault_that_began_too_late_excuses_nothing(world: World) -> None:
    world.send("m4", tell=False)
    world.log.faults.append(Fault("partition", world.t + 6, world.t + 9))
    world.tell(6, 0)
    world.tell(6, 1, after=8)
    assert world.broken == {"9"}
    assert check(world.log, world.database).worst == pytest.approx(6, abs=0.01)


def test_between_faults_a_delivery_may_take_as_long_as_after_one(world: World) -> None:
    world.send("m4", tell=False)
    world.log.faults += [Fault("node kill", world.t + start, world.t + start + 1) for start in (1.5, 4.0)]
    world.tell(6, 0)
    world.tell(6, 1, after=6.8)
    assert not world.broken
    assert check(world.log, world.database).worst == pytest.approx(1.8, abs=0.01)


def test_a_delivery_does_not_wait_for_redis(world: World) -> None:
    world.send("m4", tell=False)
    world.log.faults.append(Fault("redis pause", world.t - 1, world.t + 4, excuses=False))
    world.tell(6, 0)
    world.tell(6, 1, after=2.5)
    assert world.broken == {"9"}


def test_slow_deliveries_with_nothing_broken_are_noticed(world: World) -> None:
    for number in range(60):
        seq = world.send(f"s{number}", tell=False)
        world.tell(seq, after=0.8)
    assert world.broken == {"9"}


def test_deadlocks_are_noticed(world: World) -> None:
    world.deadlocks = 1
    assert world.broken == {"10"}


# Around it


def test_faults_that_overlap_are_one() -> None:
    faults = [Fault("b", 4, 6), Fault("a", 1, 3), Fault("c", 5, 8), Fault("d", 9, 10)]
    assert [(fault.start, fault.end) for fault in merged(faults)] == [(1, 3), (4, 8), (9, 10)]


@pytest.mark.parametrize(("values", "expected"), [([], 0.0), ([3.0], 3.0), ([*range(100)], 95)])
def test_percentiles(values: list[float], expected: float) -> None:
    assert percentile(values, 0.95) == expected


def test_several_runs_are_reported_as_one(world: World) -> None:
    good, bad = check(world.log, world.database), World()
    bad.op("send", "m1", ("ok", 1), text="m1")
    both = together([good, check(bad.log, bad.database)])
    assert both.line().startswith("4 acked · 2 nemeses · 1 lost · 0 duplicated")
    assert not both.good
    assert "which is not there" in str(both)


def test_a_log_can_be_read_again(tmp_path: Path, world: World) -> None:
    recorder = Recorder(tmp_path)
    for entry in world.log.history:
        recorder.note(entry)
    recorder.reader("r1", "rita").heard.extend(world.log.readers[0].heard)
    recorder.close(world.database)
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Entry) for line in lines] == world.log.history
    heard = (tmp_path / "reader-r1.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Heard) for line in heard] == world.log.readers[0].heard
    assert msgspec.json.decode((tmp_path / "database.json").read_bytes(), type=Database) == world.database
