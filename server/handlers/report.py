"""report: telling moderators, and what they do about it."""

from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.message import Message
from protocol.report import (
    Report,
    ReportCreate,
    ReportDetail,
    ReportGet,
    ReportList,
    ReportResolve,
    Reports,
)
from protocol.user import User
from server.access import in_channel, message_in, reportable
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space import ruling
from server.space_access import in_space, report_in
from server.structure import Resident
from storage import report as reports
from storage import user as users
from storage.pool import Transaction
from storage.report import Closing, Eyes, Reported
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel("history") & message_in() & reportable() & in_space(), limit="10/m")
async def create(
    ctx: Context,
    frame: ReportCreate,
    channel: Standing | None,
    message: Message | None,
    user: User | None,
    space: Resident | None,
) -> Nothing:
    """A message as it stands there now, or a person as they look now."""
    if (message is None) == (user is None) or (channel is None) != (message is None) or (message and space):
        raise Invalid("say either which message, by `channel` and `seq`, or which `user`")
    if channel is not None and message is not None:
        what = await _message(ctx, channel, message)
    elif user is not None:
        what = await _person(ctx, user, space)
    async with ctx.db.transaction() as tx:
        await reports.create(tx, ctx.user, what, frame.category, frame.text.strip())
    return Nothing()


async def _message(ctx: Context, channel: Standing, message: Message) -> Reported:
    if message.author == ctx.user:
        raise Invalid("these are your own words: take them back", field="seq")
    author = await users.get(ctx.db, message.author)
    if author is None:
        raise Missing
    return Reported(channel.space, author, channel.id, message)


async def _person(ctx: Context, user: User, space: Resident | None) -> Reported:
    if space is None:
        return Reported(None, user)
    if await ctx.app.structures.resident(ctx.db, space.id, user.id) is None:
        raise Missing
    return Reported(space.id, user)


@op(access=LOGGED_IN & in_space("manage_reports"), limit="120/m")
async def list_(ctx: Context, frame: ReportList, space: Resident | None) -> Reports:
    """Open or closed, the oldest first."""
    eyes = space.eyes if space is not None else await reports.moderating(ctx.db, ctx.user)
    if eyes is None:
        raise Forbidden("only who runs or moderates the server may see this")
    return await reports.page(ctx.db, eyes, frame.open, frame.after, frame.limit)


@op(access=LOGGED_IN & in_space("manage_reports") & report_in())
async def get(ctx: Context, frame: ReportGet, space: Resident | None, report: ReportDetail) -> ReportDetail:
    """As the rule found it."""
    return report


@op(access=LOGGED_IN & in_space("manage_reports") & report_in(), limit="120/m")
async def resolve(ctx: Context, frame: ReportResolve, space: Resident | None, report: ReportDetail) -> Report:
    """Once, by whoever is first."""
    if space is None:
        async with ctx.db.transaction() as tx:
            return (await _close(tx, await reports.moderating(tx, ctx.user, held=True), frame))[0]
    async with ruling(ctx, space.id, "manage_reports") as rule:
        closed, new = await _close(rule.tx, rule.me.eyes, frame)
        if new:
            after = Closing(outcome=closed.outcome, report=closed.id)
            await rule.note("report.resolve", closed.account, Closing(), after, closed.note, closed.channel)
    return closed


async def _close(tx: Transaction, eyes: Eyes | None, frame: ReportResolve) -> tuple[Report, bool]:
    """A closed report, and whether it was open until now."""
    if eyes is None:
        raise Missing
    closed = await reports.close(tx, eyes, frame.report, frame.outcome, frame.note.strip())
    if closed is not None:
        return closed, True
    before = await reports.get(tx, eyes, frame.report)
    if before is None:
        raise Missing
    if before.report.outcome != frame.outcome:
        raise Conflict("somebody has closed it otherwise")
    return before.report, False
