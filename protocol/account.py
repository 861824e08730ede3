"""account: one's own account: making it, getting into it, keeping it, leaving with everything.

Whether an account exists is never told to somebody who is not in it: names are public, addresses are not.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from protocol.api_key import ApiKey
from protocol.audit import AuditEntry, ExportedDeed
from protocol.channel import ExportedChannel
from protocol.device import Device
from protocol.draft import Draft
from protocol.file import File
from protocol.frame import (
    Body,
    Code,
    Label,
    Line,
    Nonce,
    Nothing,
    Paragraph,
    Password,
    Request,
    Secret,
    Slug,
    Time,
    Url,
)
from protocol.friend import Friend, PrivacyChoice
from protocol.invite import Invite
from protocol.message import ExportedMessage
from protocol.notification import Notification, Setting
from protocol.poll import ExportedVote
from protocol.presence import PresenceChoice
from protocol.reaction import ExportedReaction
from protocol.report import ExportedReport
from protocol.scheduled import Scheduled
from protocol.space import ExportedSpace
from protocol.thread import ExportedThread
from protocol.user import User

Username = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=32,
        pattern=r"^[^\x00-\x20@]+$(?!\n)",
        description="Letters and digits of any script, and `_ . -`; nobody else has one that looks like it.",
    ),
]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}$(?!\n)")]
NewPassword = Annotated[str, Meta(min_length=10, max_length=256, pattern=r"^[^\x00]*$")]
Locale = Annotated[
    str,
    Meta(
        max_length=35,
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$(?!\n)",
        description="A language tag: `en`, `pt-BR`.",
    ),
]
DeviceName = Annotated[Label, Meta(description="What the list of devices calls this one.")]
MailTicket = Annotated[Secret, Meta(description="From the link in the mail.")]
Theme = Literal["system", "light", "dark", "contrast"]
Interests = Annotated[list[Label], Meta(max_length=30)]
Role = Literal["owner", "admin", "moderator", "member"]


class Location(Body, frozen=True):
    """A point on earth, in degrees; kept to about a hundred metres and never shown to others."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


class Notifications(Body, frozen=True):
    """What you want to be told about, and how."""

    mentions: bool = True
    direct: bool = True
    sounds: bool = True
    push: bool = True
    email_digest: Literal["never", "daily", "weekly"] = "never"


class NewLocation(Location, frozen=True, forbid_unknown_fields=True):
    """A location as a client gives it."""


class NewNotifications(Notifications, frozen=True, forbid_unknown_fields=True):
    """What to be told about, as a client gives it; what is left out is as at the beginning."""


class Account(Body, frozen=True):
    """Your account as you see it."""

    id: UUID
    username: str
    display_name: str
    bio: str
    avatar: str
    email: str | None
    email_verified: bool
    role: Role
    locale: str
    theme: Theme
    notifications: Notifications
    interests: list[str]
    city: str
    location: Location | None
    has_password: bool
    two_factor: bool
    providers: Annotated[list[str], Meta(description="Outside accounts you can log in with.")]
    created_at: Time


class Tokens(Body, frozen=True, tag_field="kind", tag="tokens"):
    """You are logged in on a device: `session.open` takes the access token, `account.refresh` renews both."""

    account: UUID
    device: UUID
    access: str
    access_expires_in: int
    refresh: str
    refresh_expires_in: int


class SecondStep(Body, frozen=True, tag_field="kind", tag="second_step"):
    """The password was right; `account.login_second_step` wants the authenticator's code as well."""

    ticket: str
    expires_in: int


class AccountRegister(Request[Tokens], tag="account.register", frozen=True):
    """Make an account and log this device in. With an address, a mail to confirm it is sent."""

    username: Username
    password: NewPassword
    email: (
        Annotated[Email, Meta(description="Once confirmed, you can log in with it, and replace a forgotten password.")]
        | None
    ) = None
    display_name: Line = ""
    locale: Locale = "en"
    device: DeviceName = "unnamed"


class AccountSendVerification(Request[Nothing], tag="account.send_verification", frozen=True):
    """Send the mail that confirms your address once more."""


class AccountVerifyEmail(Request[Nothing], tag="account.verify_email", frozen=True):
    """Confirm an address with the ticket from the mail."""

    ticket: MailTicket


class AccountLogin(Request[Tokens | SecondStep], tag="account.login", frozen=True):
    """Log this device in with a username or a confirmed address, and a password."""

    login: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=254,
            pattern=r"^[^\x00]*$",
            description="A username, or a confirmed address.",
        ),
    ]
    password: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
    device: DeviceName = "unnamed"


class AccountLoginSecondStep(Request[Tokens], tag="account.login_second_step", frozen=True):
    """Finish a login with the authenticator's code or a recovery code."""

    ticket: Secret
    code: Code


class Provider(Body, frozen=True):
    """An outside service that people may log in with here."""

    name: str
    title: str


class Providers(Body, frozen=True):
    """All of them."""

    providers: list[Provider]


class AccountProviders(Request[Providers], tag="account.providers", frozen=True):
    """Which outside services this server accepts."""


class ExternalStart(Body, frozen=True):
    """Open `url` in a browser; it comes back to your redirect with `code` and `state`."""

    url: str
    state: Annotated[str, Meta(description="What the redirect must bring back: compare it.")]
    ticket: Annotated[str, Meta(description="Keep it where the login was started: it binds the answer to you.")]
    expires_in: int


class AccountStartExternal(Request[ExternalStart], tag="account.start_external", frozen=True):
    """Begin a login with an outside service (OAuth2 or OpenID Connect, with PKCE and state)."""

    provider: Annotated[Slug, Meta(description="The `name` of one of `account.providers`.")]
    redirect: Annotated[Url, Meta(description="The server's page `/external`, or an address that its operator allows.")]


class AccountLoginExternal(Request[Tokens | SecondStep], tag="account.login_external", frozen=True):
    """Finish a login with an outside service; the first time makes an account."""

    ticket: Annotated[Secret, Meta(description="From `account.start_external`.")]
    code: Annotated[Secret, Meta(description="`code` of the redirect.")]
    state: Annotated[Secret, Meta(description="`state` of the redirect.")]
    issuer: Annotated[Url, Meta(description="`iss` of the redirect, when the service sends it.")] | None = None
    device: DeviceName = "unnamed"


class AccountLinkExternal(Request[Nothing], tag="account.link_external", frozen=True):
    """Let an outside account log in to this account from now on."""

    ticket: Annotated[Secret, Meta(description="From `account.start_external`.")]
    code: Annotated[Secret, Meta(description="`code` of the redirect.")]
    state: Annotated[Secret, Meta(description="`state` of the redirect.")]
    issuer: Annotated[Url, Meta(description="`iss` of the redirect, when the service sends it.")] | None = None


class AccountUnlinkExternal(Request[Nothing], tag="account.unlink_external", frozen=True):
    """Stop an outside account from logging in to this account."""

    provider: Annotated[Slug, Meta(description="The `name` of one of `account.providers`.")]
    password: Password


class AccountRefresh(Request[Tokens], tag="account.refresh", frozen=True):
    """Trade a refresh token for new tokens. A token used twice ends its device: it was stolen.

    The same token with the same nonce within a minute is a retry, and gets the same answer.
    """

    refresh: Secret
    nonce: Nonce


class AccountLogout(Request[Nothing], tag="account.logout", frozen=True):
    """End this device's login, on all its sockets."""


class AccountForgotPassword(Request[Nothing], tag="account.forgot_password", frozen=True):
    """Send a mail with a ticket to set a new password, if anybody has this address confirmed."""

    email: Email


class AccountResetPassword(Request[Nothing], tag="account.reset_password", frozen=True):
    """Set a new password with the ticket from the mail; every device is logged out, every API key ends."""

    ticket: MailTicket
    password: NewPassword


class AccountChangePassword(Request[Nothing], tag="account.change_password", frozen=True):
    """Set a new password; every other device is logged out."""

    password: Password
    new_password: NewPassword


class AccountChangeEmail(Request[Nothing], tag="account.change_email", frozen=True):
    """Move to another address; it counts once the mail sent there is answered."""

    password: Password
    email: Email


class AccountGet(Request[Account], tag="account.get", frozen=True):
    """Your account."""


class AccountUpdate(Request[Account], tag="account.update", frozen=True):
    """Change what is given, leave the rest."""

    username: Username | UnsetType = UNSET
    display_name: Line | UnsetType = UNSET
    bio: Paragraph | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    theme: Theme | UnsetType = UNSET
    notifications: NewNotifications | UnsetType = UNSET
    interests: Interests | UnsetType = UNSET
    city: Line | UnsetType = UNSET


class Avatars(Body, frozen=True):
    """The names that `account.set_avatar` takes; each is a picture at `/avatar/NAME.svg`."""

    avatars: list[str]


class AccountAvatars(Request[Avatars], tag="account.avatars", frozen=True):
    """The built-in avatars."""


class AccountSetAvatar(Request[Account], tag="account.set_avatar", frozen=True):
    """Choose one of the built-in avatars, or one that you have uploaded."""

    avatar: Annotated[Slug, Meta(description="One of `account.avatars`, or the id of a file of yours: see `File.url`.")]


class AccountSetLocation(Request[Account], tag="account.set_location", frozen=True):
    """Say where you are, or None to forget it."""

    location: NewLocation | None


class AccountClaim(Request[Account], tag="account.claim", frozen=True):
    """Become the owner of a new server, with the ticket it printed at its first start."""

    ticket: Secret


class AccountExported(Body, frozen=True):
    """Everything this server keeps about you, in parts: put the lists of all parts together."""

    exported_at: Time
    account: Account
    devices: list[Device] = []
    keys: list[ApiKey] = []
    presence: Annotated[PresenceChoice | None, Meta(description="In the first part, like devices and keys.")] = None
    privacy: Annotated[PrivacyChoice | None, Meta(description="In the first part, too.")] = None
    blocked: list[User] = []
    friends: list[Friend] = []
    audit: list[AuditEntry] = []
    deeds: list[ExportedDeed] = []
    channels: list[ExportedChannel] = []
    spaces: list[ExportedSpace] = []
    drafts: list[Draft] = []
    scheduled: list[Scheduled] = []
    invites: list[Invite] = []
    threads: list[ExportedThread] = []
    reports: list[ExportedReport] = []
    reactions: list[ExportedReaction] = []
    votes: list[ExportedVote] = []
    files: Annotated[list[File], Meta(description="What you have uploaded: `file.link` tells where to read each.")] = []
    notifications: list[Notification] = []
    notification_settings: list[Setting] = []
    messages: list[ExportedMessage] = []
    next: Annotated[str | None, Meta(description="`after` for the next part; None when this is the last.")] = None


class AccountExport(Request[AccountExported], tag="account.export", frozen=True):
    """Take everything of yours with you, part by part."""

    after: Annotated[Line, Meta(description="`next` of the part before.")] | None = None


class DeletionReceipt(Body, frozen=True):
    """Proof of what was erased."""

    account: UUID
    deleted_at: Time
    erased: Annotated[dict[str, int], Meta(description="What was kept of you, and how many of each are gone.")]
    following: Annotated[
        dict[str, int],
        Meta(
            description="What goes in the next minutes, and how many of each there are: you are nobody's friend, you "
            "leave your channels, and what you have said and put under messages is taken back."
        ),
    ] = {}


class AccountDelete(Request[DeletionReceipt], tag="account.delete", frozen=True):
    """Erase the account and everything of it, for good."""

    password: Password
    code: Code | None = None
