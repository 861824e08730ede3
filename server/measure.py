"""What /metrics shows: this process at this moment, and its siblings as they last told it."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from protocol import VERSION
from server.metric import Family, family, histogram, render

if TYPE_CHECKING:
    from server.app import Server

_EVERY, _KEEP = 5, 15
_Families = list[Family]


class Measures:
    """The numbers of one process, shared with the other ones of this server by way of Redis."""

    def __init__(self, server: Server) -> None:
        self._server, self._started = server, time.time()
        self._others: list[_Families] = []

    async def run(self) -> None:
        """Tell the siblings, and hear of them."""
        if not self._server.siblings:
            return
        prefix = f"metrics:{self._server.host_id}:"
        decode = msgspec.json.Decoder(_Families).decode
        while True:
            mine = prefix + self._server.node
            await self._server.bus.keep(mine, msgspec.json.encode(list(self._families())), _KEEP)
            kept = await self._server.bus.kept(prefix)
            self._others = [decode(value) for key, value in kept.items() if key != mine]
            await asyncio.sleep(_EVERY)

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return render(self._families(), *self._others)

    def _families(self) -> Iterator[Family]:
        worker = {"worker": self._server.worker}
        for one in (*self._plain(), *self._files()):
            for at, row in enumerate(one.rows):
                one.rows[at] = _labelled(row, worker)
            yield one

    def _plain(self) -> Iterator[Family]:
        server = self._server
        gateway, pool, ops = server.gateway, server.pool, server.router.ops.values()
        yield family("onesocket_info", "gauge", "Version of the protocol.", [({"protocol": VERSION}, 1)])
        yield family("onesocket_up_seconds", "gauge", "Since the start.", [({}, time.time() - self._started)])
        yield family("onesocket_sockets", "gauge", "Open sockets.", [({}, len(gateway.sockets))])
        yield family("onesocket_sessions", "gauge", "Logged-in sockets.", [({}, server.hub.logged_in)])
        closes = [({"code": str(code)}, count) for code, count in sorted(gateway.closes.items())]
        yield family("onesocket_closes_total", "counter", "Closed sockets by close code.", closes)
        metrics = [one.metric for one in ops] + [server.router.unreadable]
        outcomes = [sample for one in metrics for sample in one.outcomes()]
        yield family("onesocket_requests_total", "counter", "Requests by op and result.", outcomes)
        latencies = [({"op": one.name}, one.latency) for one in metrics]
        yield histogram("onesocket_request_seconds", "Time from frame to reply.", latencies)
        yield family("onesocket_requests_in_flight", "gauge", "Being worked on.", [({}, server.router.in_flight)])
        yield histogram("onesocket_loop_lag_seconds", "How late the event loop is.", [({}, gateway.lag)])
        size, idle = pool.size
        states = [({"state": "idle"}, idle), ({"state": "busy"}, size - idle)]
        yield family("onesocket_pool_connections", "gauge", "Database connections.", states)
        yield family("onesocket_pool_waiting", "gauge", "Waiting for a connection.", [({}, pool.waiting)])
        yield family("onesocket_pool_wait_seconds_total", "counter", "Waited for connections.", [({}, pool.waited)])
        yield family("onesocket_queries_total", "counter", "Database queries.", [({}, pool.queries)])
        journal, streams = server.posting.journal, server.streams
        yield family("onesocket_journal_batches_total", "counter", "Transactions of messages.", [({}, journal.batches)])
        yield family("onesocket_journal_messages_total", "counter", "Messages in them.", [({}, journal.rows)])
        yield family("onesocket_journal_held_total", "counter", "Messages held up by others.", [({}, journal.held)])
        yield family("onesocket_journal_waiting", "gauge", "Messages not stored yet.", [({}, journal.waiting)])
        yield family("onesocket_streams", "gauge", "Streams that are followed.", [({}, len(streams))])
        yield family("onesocket_facts_total", "counter", "Facts that were delivered.", [({}, streams.delivered)])
        yield family("onesocket_facts_fetched_total", "counter", "Of them read anew.", [({}, streams.fetched)])
        tail = server.tail
        yield family("onesocket_tail_waiting", "gauge", "Channels behind which there is work.", [({}, len(tail))])
        yield family("onesocket_tail_facts_total", "counter", "Facts worked on behind them.", [({}, tail.facts)])
        yield family("onesocket_tail_left_out_total", "counter", "Of them failed at.", [({}, tail.left_out)])
        yield family("onesocket_tail_lag_seconds", "gauge", "Age of the oldest of the last ones.", [({}, tail.lag)])
        yield family("onesocket_other_nodes", "gauge", "Processes beside this one.", [({}, server.bus.others)])
        yield family("onesocket_passwords_waiting", "gauge", "Being hashed.", [({}, server.passwords.waiting)])
        parts = [({"part": part}, int(state == "ok")) for part, state in server.health.parts.items()]
        yield family("onesocket_healthy", "gauge", "Database, redis and disk.", parts)
        yield family("process_resident_memory_bytes", "gauge", "Resident memory.", [({}, _resident())])
        yield family("process_cpu_seconds_total", "counter", "CPU time.", [({}, time.process_time())])

    def _files(self) -> Iterator[Family]:
        uploads, downloads = self._server.files.uploads, self._server.downloads
        yield family("onesocket_uploads", "gauge", "Files on their way in.", [({}, len(uploads))])
        yield family("onesocket_upload_bytes_total", "counter", "Bytes of files that came in.", [({}, uploads.bytes)])
        yield family("onesocket_downloads", "gauge", "Files on their way out.", [({}, downloads.count)])
        yield family("onesocket_files_asked_for_total", "counter", "Asked for in all.", [({}, downloads.asked)])


def _labelled(row: str, labels: dict[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    name, _, rest = row.rpartition(" ")
    return f"{name[:-1]},{inner}}} {rest}" if name.endswith("}") else f"{name}{{{inner}}} {rest}"


def _resident() -> int:
    """Bytes of memory in use now (on Linux; elsewhere the most so far)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
