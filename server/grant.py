"""What this process knows of who may do what in which channel.

Rule: nothing here is the last word: reads trust it only while the channel's stream is followed and as new as it is,
writes are stored only under the access version that was decided under.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.automod import Automod
from protocol.error import Forbidden, Missing, Refusal
from protocol.message import Message
from protocol.permission import bits
from server import summons
from server.automod import Case, refusal
from server.consequence import finding, refused
from server.emblem import sent
from storage.entry import Entry, stored_before
from storage.pool import Pool, Transaction
from storage.standing import Footing, Standing

if TYPE_CHECKING:
    from server.automod import Judge
    from server.consequence import Consequences
    from server.stream import Streams
    from server.structure import Structures

_MOST = 200_000
_POLLS, _FILES = bits(["start_polls"]), bits(["attach"])


class Verdict(Struct, frozen=True, eq=False):
    """The rules that a message breaks, and whether it is refused for that."""

    case: Case
    hits: Sequence[Automod]
    refusal: Refusal | None


class Grants:
    """Standings of accounts in channels, as they were last read."""

    def __init__(
        self, pool: Pool, structures: Structures, streams: Streams, judge: Judge, consequences: Consequences
    ) -> None:
        self._pool, self._structures, self._streams = pool, structures, streams
        self._judging, self._consequences = judge, consequences
        self._standings: dict[UUID, dict[UUID, Standing]] = {}
        self._count = 0
        self.settle: Callable[[Collection[tuple[UUID, UUID]]], Awaitable[None]]  # for channels and who writes there

    def last(self, channel: UUID, account: UUID) -> Standing | None:
        """How the account stood there when somebody looked."""
        accounts = self._standings.get(channel)
        return accounts.get(account) if accounts is not None else None

    def known(self, channel: UUID, account: UUID) -> Standing | None:
        """How the account stands there, as new as what this process delivers."""
        standing = self.last(channel, account)
        if standing is None:
            return None
        stream = self._streams.get(channel)
        return standing if stream is not None and stream.access == standing.access else None

    def keep(self, account: UUID, standing: Standing) -> None:
        """Remember what was read."""
        if self._count >= _MOST:
            self._standings.clear()
            self._count = 0
        accounts = self._standings.setdefault(standing.id, {})
        self._count += account not in accounts
        accounts[account] = standing

    def forget(self, channel: UUID) -> None:
        """Something has changed there."""
        self._count -= len(self._standings.pop(channel, ()))

    async def decide(self, entries: Sequence[Entry]) -> None:
        """Set the access version of each entry, or end it."""
        pairs = list({(entry.channel, entry.author) for entry in entries})
        found = await self._structures.footings(self._pool, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        standings = {pair: one and one[1] for pair, one in zip(pairs, found, strict=True)}
        for (_, account), standing in standings.items():
            if standing is not None:
                self.keep(account, standing)
        unseen = await self._mentioning_others(entries, standings)
        refusals: dict[Entry, Refusal] = {entry: Missing(field="mentions") for entry in unseen}
        judged = []
        for entry in entries:
            standing = standings[entry.channel, entry.author]
            if entry in unseen:
                continue
            reason = _refusal(entry, standing) or self._unfit(entry, standing)
            if standing is None or reason is not None:
                refusals[entry] = reason or Missing()
                continue
            entry.let(standing.access, standing.lifetime, standing.slow)
            if standing.rules:
                judged.append(entry)
        footings = {pair: one[0] for pair, one in zip(pairs, found, strict=True) if one is not None}
        verdicts = await self._judge(judged, footings, standings) if judged else {}
        refusals |= {entry: one.refusal for entry, one in verdicts.items() if one.refusal is not None}
        await self._settle([entry for entry in entries if entry not in refusals], standings)
        if refusals:
            await self._end(refusals, verdicts)

    def _unfit(self, entry: Entry, standing: Standing | None) -> Refusal | None:
        """Why what is of the space in a message cannot be sent there; its sticker is looked up."""
        more = entry.more
        if more is None or standing is None or not (more.summons or more.sticker):
            return None
        structure = self._structures.known(standing.space)
        if more.sticker is not None and more.forwarded is None:
            found = sent(structure, more.sticker.id)
            if found is None:
                return Missing(field="sticker")
            entry.more = more = replace(more, sticker=found)
        return summons.refusal(structure, standing, more.mention_roles, more.mention_everyone)

    async def _end(self, refusals: Mapping[Entry, Refusal], verdicts: Mapping[Entry, Verdict]) -> None:
        before = await stored_before(self._pool, [(entry.author, entry.nonce) for entry in refusals])
        new = [entry for entry, one in zip(refusals, before, strict=True) if one is None and entry in verdicts]
        found = [refused(verdicts[entry].case, verdicts[entry].hits) for entry in new]
        await self._consequences.follow(self._pool, found)
        for (entry, reason), one in zip(refusals.items(), before, strict=True):
            entry.ended(one, reason)

    async def _judge(
        self,
        entries: Sequence[Entry],
        footings: Mapping[tuple[UUID, UUID], Footing],
        standings: Mapping[tuple[UUID, UUID], Standing | None],
    ) -> dict[Entry, Verdict]:
        """Those in which something was found."""
        cases = []
        for entry in entries:
            key = entry.channel, entry.author
            standing = standings[key]
            assert standing is not None
            mentions = summons.weight(entry.more) if entry.more is not None else 0
            cases.append(self._case(footings[key], standing, _words(entry), mentions, str(entry.nonce)))
        found = await self._judging.judge(self._pool, cases)
        verdicts = {
            entry: Verdict(case, hits, refusal(hits))
            for entry, case, hits in zip(entries, cases, found, strict=True)
            if hits
        }
        through = [(entry, one) for entry, one in verdicts.items() if one.refusal is None]
        await self._consequences.let(
            self._pool, [(entry, finding(one.case, one.hits, nonce=entry.nonce)) for entry, one in through]
        )
        return verdicts

    def _case(self, footing: Footing, standing: Standing, text: str, mentions: int, name: str | None) -> Case:
        assert standing.space is not None
        places = self._structures.places(footing)
        return Case(
            standing.space, standing.rules, footing.account, footing.id, places, footing.roles, text, mentions, name
        )

    async def check_words(self, tx: Transaction, channel: Standing, account: UUID, words: Message) -> None:
        """That what is said otherwise than by sending it breaks no rule; the stream is held. It is counted nowhere."""
        if not channel.rules:
            return
        found = (await self._structures.footings(tx, [channel.id], [account]))[0]
        if found is None:
            raise Missing
        case = self._case(found[0], channel, words.text, summons.weight(words), None)
        [hits] = await self._judging.judge(tx, [case])
        reason = refusal(hits)
        if reason is not None:  # the transaction comes to nothing, what follows does not
            await self._consequences.follow(self._pool, [refused(case, hits, words.seq)])
            raise reason
        await self._consequences.follow_with(tx, finding(case, hits, words))

    async def _settle(self, entries: Sequence[Entry], standings: Mapping[tuple[UUID, UUID], Standing | None]) -> None:
        """What is to be done before somebody writes there first."""
        pairs = {
            pair: one
            for entry in entries
            if (one := standings[pair := (entry.channel, entry.author)]) is not None
            if one.writes and not one.settled and not entry.again
        }
        if pairs:
            await self.settle(pairs.keys())
            for (_, account), one in pairs.items():
                self.keep(account, replace(one, settled=True))

    async def _mentioning_others(
        self, entries: Sequence[Entry], standings: Mapping[tuple[UUID, UUID], Standing | None]
    ) -> set[Entry]:
        """Those that mention somebody in a space who does not see the channel."""
        pairs = [
            (entry, account)
            for entry in entries
            if (one := standings[entry.channel, entry.author]) is not None and one.writes and one.space is not None
            for account in (entry.more.mentions if entry.more is not None else ())
        ]
        if not pairs:
            return set()
        found = await self._structures.look(
            self._pool, [entry.channel for entry, _ in pairs], [account for _, account in pairs]
        )
        return {entry for (entry, _), one in zip(pairs, found, strict=True) if one is None}


def _words(entry: Entry) -> str:
    """All that it says."""
    more = entry.more
    if more is None or not (more.poll or more.files):
        return entry.text
    options = more.poll.options if more.poll is not None else []
    return "\n".join([entry.text, *(one.text for one in options), *(one.name for one in more.files)])


def _refusal(entry: Entry, standing: Standing | None) -> Refusal | None:
    if standing is None or entry.again:
        return Missing()
    more = entry.more
    polls = more is None or more.poll is None or standing.allowed & _POLLS
    files = more is None or not more.files or standing.allowed & _FILES
    return None if standing.writes and polls and files else Forbidden("you cannot write here")
