"""The server put together: every part is made here, once, and handed what it needs.

async with Server(Config(port=0)) as server:
    print(server.url)
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Self

from protocol import VERSION
from protocol.codec import encode
from protocol.error import Refusal
from protocol.session import Description, Limits, SessionGoingAway, SessionHello
from server import call, expiry, follower, login, owner, poll, retention
from server.attempt import Attempts
from server.automod import Judge
from server.call import Calls
from server.carrier import Carrier
from server.config import VITAL_CONNECTIONS, Config, ConfigError
from server.consequence import Consequences
from server.context import Context
from server.download import Downloads
from server.due import Dues
from server.erasure import Erasures
from server.external import External
from server.fetch import Fetcher
from server.file import Files, store
from server.fresh import Fresh
from server.gateway import Gateway
from server.grant import Grants
from server.grave import Graves
from server.handlers import collect
from server.health import Health
from server.http import Site
from server.hub import Hub
from server.letter import Letters
from server.limit import Limiter
from server.mail import Mailer, Outbox
from server.measure import Measures
from server.media import processor
from server.media_plane import MediaPlane, Mesh
from server.notification import Notices
from server.outline import Outlines
from server.password import Passwords
from server.posting import Posting
from server.presence import Whereabouts
from server.preview import Previews
from server.purge import Purges
from server.reach import Reach
from server.revocation import Revocations
from server.room import Rooms
from server.router import Router
from server.ruin import Ruins
from server.schedule import Schedule
from server.search import Search
from server.secret import Keyring, secret_file
from server.stream import Streams
from server.structure import Structures
from server.summons import Summonses
from server.tail import Tail
from server.thread import Threads
from server.wire import Socket
from storage import audit, deed, device, instance, report, space, stats, stream
from storage import ticket as tickets
from storage.bus import Bus
from storage.embedded import Embedded
from storage.ids import new_id
from storage.migrate import migrate
from storage.pool import Pool
from storage.window import Windows

log = logging.getLogger("onesocket.server")
mail_log = logging.getLogger("onesocket.mail")
_PRUNE_EVERY = 3600
_PATIENT = 5.0
_AUDIT_DAYS = 365
_FACT_DAYS = 30
_GRACE = 1.0
_ENTER_AT_ONCE = 4


class Server:
    """One process of onesocket: start it, use it, stop it.

    `ops` adds an embedder's own handlers, `plane` another media plane than the mesh.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        ops: Sequence[Callable[..., Any]] = (),
        public: Iterable[str] = (),
        worker: str = "0",
        siblings: bool = False,
        plane: MediaPlane | None = None,
    ) -> None:
        self.config = config or Config()
        self._plane = plane or Mesh(self.config.mesh)
        self.worker, self.siblings = worker, siblings
        self.host_id, self.node = platform.node(), f"{platform.node()}-{worker}"
        self.router = Router([*collect(), *ops], public)
        self.hub, self.limiter = Hub(), Limiter(self.config.throttle)
        self.port = 0
        self.entrance = asyncio.Semaphore(_ENTER_AT_ONCE)  # a crowd that comes back must not hold up those who are in
        self.embedded: Embedded | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._later: set[asyncio.Task[None]] = set()
        self._descriptions: dict[str | None, Description] = {}

    # Life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start what is missing, bring the database up to date, and open the port."""
        try:
            await self._start()
        except BaseException:
            await self._stop_parts()
            raise

    async def _start(self) -> None:
        config = self.config
        database_url, redis_url = await self._storage()
        self.keys = Keyring([config.secret, *config.previous_secrets] if config.secret else self._secrets())
        await migrate(database_url)
        self.pool = Pool(
            database_url,
            size=config.pool_size,
            acquire_timeout=config.acquire_timeout,
            query_timeout=config.query_timeout,
        )
        # For what everybody waits for: whatever requests do, it is not kept from the database.
        self.vital = Pool(
            database_url, size=VITAL_CONNECTIONS, acquire_timeout=_PATIENT, query_timeout=config.query_timeout
        )
        await self.pool.start()
        await self.vital.start()
        await instance.claim(self.pool, self.keys.current.id, self.keys.ids)
        self.bus = Bus(redis_url)
        try:
            self._make_parts()
        except ValueError as error:
            raise ConfigError(str(error)) from None
        await self.bus.start()
        await self.bus.beat(self.node)
        await self.health.look()
        self.gateway = Gateway(config, self.site, self._converse)
        self.port = await self.gateway.listen(encode(self._hello()))
        self._tasks = [asyncio.create_task(self._kept_alive(job), name=job.__qualname__) for job in self._jobs()]

    async def _storage(self) -> tuple[str, str]:
        config = self.config
        if config.database_url and config.redis_url:
            return config.database_url, config.redis_url
        self.embedded = Embedded(config.folder, postgres=not config.database_url, redis=not config.redis_url)
        await self.embedded.start()
        return config.database_url or self.embedded.database_url, config.redis_url or self.embedded.redis_url

    def _secrets(self) -> list[str]:
        return secret_file(self.config.folder / "secret.key")

    def _make_parts(self) -> None:
        config = self.config
        self.passwords = Passwords(
            memory_kib=config.password_memory_kib,
            rounds=config.password_rounds,
            threads=config.password_threads,
            queue=config.password_queue,
        )
        self.attempts = Attempts(self.bus, config.throttle)
        self.revocations = Revocations(self.pool, self.bus, self.hub)
        self.carrier = Carrier(self.bus, new_id().bytes)
        self.structures = Structures()
        self.reach = Reach(self.structures)
        self.streams = Streams(self.pool, self.vital, self.carrier, self.reach)
        self.outlines = Outlines(self.vital, self.structures, self.streams)
        self.presence = Whereabouts(self.pool, self.bus, self.carrier)
        self.rooms = Rooms(self, self._plane, self.config.grace)
        self.calls = Calls(self, self.config.ring)
        self.consequences = Consequences(self)
        judge = Judge(Windows(self.bus))
        self.grants = Grants(self.vital, self.structures, self.streams, judge, self.consequences)
        fresh = Fresh()
        self.posting = Posting(self.pool, self.grants, self.streams, self.consequences, fresh)
        self.erasures, self.graves, self.schedule = Erasures(self), Graves(self), Schedule(self)
        self.ruins, self.purges, self.threads = Ruins(self), Purges(self), Threads(self)
        self.grants.settle = self.threads.settle
        self.dues = Dues(
            self,
            {
                "poll": poll.fall_due,
                "disappearing": expiry.fall_due,
                "retention": retention.fall_due,
                "call": call.fall_due,
            },
        )
        self.files = Files(self, store(config))
        self.search = Search(self.pool)
        self.tail = Tail(self.pool, self.streams, fresh, [self.search.index, stats.count, Notices(self), follower.note])
        self.summonses = Summonses(self)
        self.external = External(config.providers, allow_http=True)
        self.media = processor.configured(config, self.worker)
        self.previews = Previews(self.bus, Fetcher(config.link_allow), enabled=config.link_previews)
        self.letters = Letters(self.pool, self.keys, lambda: self.public_url)
        mailer, letters = Mailer(config.smtp_url or None, config.mail_from, log=mail_log), self.letters
        self.outbox = Outbox(mailer, letters.claim, letters.done, letters.retry, log=mail_log)
        self.letters.wake = self.outbox.wake
        self.health = Health(self.pool, self.bus, config.folder, config.disk_free_mib)
        self.measures = Measures(self)
        self.downloads = Downloads(self.pool, self.files.store, self.keys, config.file_downloads, config.file_threads)
        self.site = Site(self.health.report, self.measures.page, config.metrics_token, files=self.downloads.take)

    def _jobs(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What goes on in the background as long as the server runs."""
        return (
            self.health.run,
            self.revocations.run,
            self.outbox.run,
            self.measures.run,
            self.streams.run,
            self.outlines.run,
            self.presence.run,
            self.rooms.run,
            self.erasures.run,
            self.graves.run,
            self.ruins.run,
            self.purges.run,
            self.schedule.run,
            self.dues.run,
            self.threads.run,
            self.consequences.run,
            self.tail.run,
            self.summonses.run,
            self.search.run,
            self.files.run,
            self.files.uploads.run,
            self._beat,
            self._prune,
            self._reseal,
        )

    async def stop(self, reason: str = "restart") -> None:
        """Finish what is in flight, say goodbye, and stop everything that was started here."""
        log.info("draining %d sockets", len(self.gateway.sockets))
        self.health.draining = True
        await self.gateway.stop_listening()
        self._say_goodbye(reason)
        await self._finish()
        await self.posting.journal.stop()
        await self.router.stop()
        await self.gateway.close(4503, "the server restarts: come back in a moment")
        await self._stop_parts()

    def _say_goodbye(self, reason: str) -> None:
        for socket in list(self.gateway.sockets):
            if socket.conversation is not None:
                event = SessionGoingAway(reason=reason, reconnect_after=self.gateway.farewell())  # type: ignore[arg-type]
                socket.send(encode(event))

    async def _finish(self) -> None:
        """Wait for requests in flight, and give clients a moment to leave by themselves."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() - started < self.config.drain:
            leaving = self.gateway.sockets and loop.time() - started < _GRACE
            if not self.router.in_flight and not leaving:
                return
            await asyncio.sleep(0.02)

    async def _stop_parts(self) -> None:
        pending = set(self._tasks)
        while pending:  # once is not enough: a client library may take a cancellation for a timeout of its own
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.5)
        await asyncio.gather(*self._later, return_exceptions=True)
        if hasattr(self, "streams"):
            await self.files.stop()
            self.downloads.stop()
            await self.streams.stop()
            await self.presence.stop()
            await self.bus.leave(self.node)
        for part in ("external", "previews", "media", "bus", "vital", "pool", "embedded"):
            one = getattr(self, part, None)
            if one is not None:
                await (one.close() if part in ("external", "previews") else one.stop())
        if hasattr(self, "passwords"):
            self.passwords.stop()

    async def _kept_alive(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A background job that goes on after a failure."""
        while True:
            try:
                return await job()
            except Exception:
                log.exception("%s failed, going on", job.__qualname__)
                await asyncio.sleep(1)

    async def _beat(self) -> None:
        """Tell the other processes that this one lives, and learn whether there are any."""
        while True:
            await self.bus.beat(self.node)
            await asyncio.sleep(1)

    async def _prune(self) -> None:
        """Forget what has expired."""
        while True:
            await asyncio.sleep(_PRUNE_EVERY)
            await tickets.prune(self.pool)
            await device.prune(self.pool)
            await audit.prune(self.pool, _AUDIT_DAYS)
            await deed.prune(self.pool, _AUDIT_DAYS)
            await report.prune(self.pool, _AUDIT_DAYS)
            await stats.prune(self.pool)
            await stream.prune(self.pool, _FACT_DAYS)
            await space.prune(self.pool)

    async def _reseal(self) -> None:
        """After a rotation: once this is done, nothing stored needs an older secret but the tokens in use."""
        await login.reseal(self.pool, self.keys)

    # What the parts are told

    def _converse(self, socket: Socket) -> Context:
        return Context(self, socket)

    def _hello(self) -> SessionHello:
        config = self.config
        return SessionHello(
            protocol=VERSION,
            server="onesocket",
            node=self.node,
            heartbeat=config.heartbeat,
            login_within=int(config.login_timeout),
            limits=Limits(
                frame_bytes=config.frame_bytes,
                frame_bytes_before_login=config.frame_bytes_before_login,
                frames_per_second=config.frames_per_second,
                frames_in_burst=config.frames_in_burst,
                requests_in_flight=config.requests_in_flight,
            ),
        )

    @property
    def url(self) -> str:
        """Where the socket is."""
        if self.config.unix_socket is not None:
            return f"unix:{self.config.unix_socket}"
        scheme = "wss" if self.config.tls_certificate else "ws"
        return f"{scheme}://{_reachable(self.config.host)}:{self.port}"

    @property
    def public_url(self) -> str:
        """Where people reach the server's pages."""
        return (self.config.public_url or self.url.replace("ws", "http", 1)).rstrip("/")

    async def owner_link(self) -> str | None:
        """A link that makes its opener the owner; None when there is an owner."""
        return await owner.link(self.pool, self.public_url)

    def later(self, job: Coroutine[Any, Any, None]) -> None:
        """Do something after the reply, so that its time tells nothing; it is done before the server stops."""
        task = asyncio.create_task(self._logged(job))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _logged(self, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except Refusal as refusal:
            log.warning("%s was not done: %s", getattr(job, "__qualname__", "a job"), refusal)

    async def description(self, domain: str | None) -> Description:
        """This server's protocol, made when it is first asked for: that takes a while, so not on the loop."""
        from server import document

        if domain not in self._descriptions:
            ops = list(self.router.ops.values())
            self._descriptions[domain] = await asyncio.to_thread(document.description, ops, domain)
        return self._descriptions[domain]


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
