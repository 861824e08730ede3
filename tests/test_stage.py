"""stage: who listens and who speaks."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.stage import StageInvite, StageMute, StageRequest
from protocol.voice import Participant, VoiceChanged, VoiceJoin, VoiceMute, VoiceUpdate
from tests.chat import me
from tests.community import Community, community
from tests.conftest import Person

SOON = 5.0


@pytest.fixture
async def space(ann: Person, bob: Person) -> Community:
    return await community(ann, bob)


@pytest.fixture
async def stage(space: Community, ann: Person, bob: Person) -> UUID:
    """A stage on which ann speaks and bob listens."""
    channel = await space.room("stage", kind="stage")
    for one in (ann, bob):
        await one.call(VoiceJoin(channel=channel))
    return channel


async def sees(person: Person, user: Person, condition: Callable[[Participant], bool]) -> None:
    async with asyncio.timeout(SOON):
        while True:
            people = (await person.wait_for(VoiceChanged, SOON)).people
            if any(one.user == me(user) and condition(one) for one in people):
                return


async def test_who_may_speak_does_and_the_others_listen(ann: Person, bob: Person, stage: UUID) -> None:
    seated = await bob.call(VoiceJoin(channel=stage))
    assert [(one.user, one.speaker) for one in seated.people] == [(me(ann), True), (me(bob), False)]
    with pytest.raises(Conflict):
        await bob.call(VoiceUpdate(channel=stage, speaking=True))


async def test_who_asks_speaks_when_a_moderator_lets_them(ann: Person, bob: Person, stage: UUID) -> None:
    await bob.call(StageRequest(channel=stage))
    await sees(ann, bob, lambda one: one.asking and not one.speaker)
    await ann.call(StageInvite(channel=stage, user=me(bob)))
    await sees(bob, bob, lambda one: one.speaker and not one.asking)
    await ann.call(StageMute(channel=stage, user=me(bob)))
    await sees(bob, bob, lambda one: not one.speaker)


async def test_nobody_speaks_without_having_said_that_they_would(ann: Person, bob: Person, stage: UUID) -> None:
    await ann.call(StageInvite(channel=stage, user=me(bob)))
    await sees(bob, bob, lambda one: one.invited and not one.speaker)
    await bob.call(StageRequest(channel=stage))
    await sees(ann, bob, lambda one: one.speaker and not one.invited)
    await bob.call(StageMute(channel=stage, user=me(bob)))
    await sees(ann, bob, lambda one: not one.speaker)


async def test_an_invitation_and_a_request_can_be_taken_back(ann: Person, bob: Person, stage: UUID) -> None:
    await ann.call(StageInvite(channel=stage, user=me(bob)))
    await bob.call(StageRequest(channel=stage, asking=False))
    await bob.call(StageRequest(channel=stage))
    await sees(ann, bob, lambda one: one.asking and not one.speaker)
    await bob.call(StageRequest(channel=stage, asking=False))
    await sees(ann, bob, lambda one: not one.asking)


async def test_a_moderator_speaks_when_they_ask(space: Community, ann: Person, bob: Person, stage: UUID) -> None:
    await space.role("host", "mute_members", to=bob)
    await bob.call(StageRequest(channel=stage))
    await sees(ann, bob, lambda one: one.speaker)


async def test_only_moderators_let_others_speak_or_listen(ann: Person, bob: Person, stage: UUID) -> None:
    for frame in (StageInvite(channel=stage, user=me(ann)), StageMute(channel=stage, user=me(ann))):
        with pytest.raises(Forbidden):
            await bob.call(frame)


async def test_who_is_silenced_does_not_speak_whoever_invites(ann: Person, bob: Person, stage: UUID) -> None:
    await ann.call(VoiceMute(channel=stage, user=me(bob), muted=True))
    with pytest.raises(Conflict):
        await bob.call(StageRequest(channel=stage))
    with pytest.raises(Conflict):
        await ann.call(StageInvite(channel=stage, user=me(bob)))
    await ann.call(VoiceMute(channel=stage, user=me(bob), muted=False))
    await bob.call(StageRequest(channel=stage))


async def test_only_who_is_there_is_asked_and_only_in_stages(
    space: Community, ann: Person, bob: Person, stage: UUID
) -> None:
    voice = await space.room("voice", kind="voice")
    with pytest.raises(Missing):
        await ann.call(StageInvite(channel=voice, user=me(bob)))
    await ann.call(VoiceJoin(channel=voice))
    with pytest.raises(Invalid):
        await ann.call(StageRequest(channel=voice))
    with pytest.raises(Conflict):
        await ann.call(StageRequest(channel=stage))
