"""Functions that decide about logs, reports and automod, without one of their checks."""

from server.handlers import automod, report, stats
from server.structure import Structure
from tests.authorization.checks import Text

_SEEING = ("audit.space", "report.list", "report.get")
TEXTS = (
    Text(Structure, "hidden_from", "if not self.allowed(member, id) & access.VIEW", "if False", _SEEING),
    Text(report, "create", "(message is None) == (user is None)", "False", ("report.create",)),
    Text(report, "_message", "message.author == ctx.user", "False", ("report.create",)),
    Text(report, "_person", "is None:\n        raise Missing", "is False:\n        raise Missing", ("report.create",)),
    Text(report, "_close", "before.report.outcome != frame.outcome", "False", ("report.resolve",)),
    Text(stats, "server", "me.role not in _RESPONSIBLE", "False", ("stats.server",)),
    Text(automod, "create", "    check(rule)\n", "", ("automod.create",)),
    Text(automod, "_shown", "if one not in hidden", "", ("automod.list",)),
)
