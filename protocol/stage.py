"""stage: who speaks in a stage channel. The others listen, until they are let to speak."""

from protocol.frame import ChannelId, Nothing, Request, UserId


class StageRequest(Request[Nothing], tag="stage.request", frozen=True):
    """Ask to speak, or no longer. Who was invited speaks at once, as does who may silence others."""

    channel: ChannelId
    asking: bool = True


class StageInvite(Request[Nothing], tag="stage.invite", frozen=True):
    """Let somebody speak: who asked for it does at once, others are asked; with `mute_members`."""

    channel: ChannelId
    user: UserId


class StageMute(Request[Nothing], tag="stage.mute", frozen=True):
    """Have somebody listen again, or not speak though they ask; with `mute_members`, or yourself."""

    channel: ChannelId
    user: UserId
