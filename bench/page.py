"""The report as one HTML file that needs nothing else: figures, plots, the table; light and dark; for phones, too.

Rule: every text is escaped, also those that only we write today.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load.histogram import percentiles
from bench.plot import Line, chart
from bench.report import Result, flat

if TYPE_CHECKING:
    from bench.run import Course, Point

_PARTS = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
_HEADLINES = {
    "acked_per_s": "acknowledged a second",
    "delivered_per_s": "deliveries a second",
    "server_us_per_message": "µs of server CPU a message",
    "server_us_per_delivery": "µs of server CPU a delivery",
    "ack_ms.p95": "ms to the acknowledgement, p95",
    "delivery_ms.p95": "ms to the delivery, p95",
    "resume_s": "s until all had resumed",
    "live_p95_ms": "ms delivery meanwhile, p95",
    "mib_per_hour": "MiB an hour of growth",
    "kib_per_socket": "KiB a socket",
    "ratio": "times the bare server's CPU",
}
_STYLE = """
:root{color-scheme:light dark;--paper:#fbfbfa;--card:#fff;--ink:#1c2024;--soft:#5c656e;--rule:#dfe3e6;
--good:#11734b;--bad:#b3261e;--c0:#1f6fb8;--c1:#c05a08;--c2:#148060}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e9ecee;--soft:#a0a9b2;--rule:#343a40;
--good:#5fd39c;--bad:#ff8a80;--c0:#74b3f2;--c1:#f2a45c;--c2:#5fd0ae}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:20px 16px 48px;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:2rem 0 .75rem}
p{margin:.25rem 0}
.soft,small,figcaption small{color:var(--soft);font-weight:400}
.verdict{margin:1rem 0;padding:.6rem .9rem;background:var(--card);border-left:4px solid var(--good)}
.verdict.bad{border-color:var(--bad)}
.tiles,.plots{display:grid;gap:12px}
.tiles{grid-template-columns:repeat(auto-fill,minmax(150px,1fr))}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.7rem .9rem}
.tile b{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.plots{grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.7rem .9rem}
figcaption{font-weight:600;font-size:.95rem}
figcaption div{margin-top:.15rem}
.key{font-weight:400;font-size:.85rem;margin-right:.9rem;color:var(--soft);white-space:nowrap}
.key::before{content:"";display:inline-block;width:.9rem;height:3px;margin-right:.35rem;vertical-align:middle;
background:currentColor;border-radius:2px}
.key.c0::before{background:var(--c0)}.key.c1::before{background:var(--c1)}.key.c2::before{background:var(--c2)}
svg{display:block;width:100%;height:auto;margin-top:.4rem}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}
circle.c0{fill:var(--c0)}circle.c1{fill:var(--c1)}circle.c2{fill:var(--c2)}
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--rule);font-size:.9rem}
td{padding:.3rem .7rem;border-top:1px solid var(--rule);overflow-wrap:anywhere}
td:last-child{text-align:right;font-variant-numeric:tabular-nums}
"""


def page(result: Result, verdict: Sequence[str], failed: bool, course: Course | None) -> str:
    """The whole document."""
    name = escape(f"onesocket bench: {result['scenario']}")
    rows = list(flat(result))
    table = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in rows)
    told = "".join(f"<p>{escape(line)}</p>" for line in verdict)
    plots = _plots(course) if course is not None else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f'<h1>{name}</h1><p class="soft">{escape(_where())}</p>'
        f'<div class="verdict{" bad" if failed else ""}">{told}</div>'
        f'<div class="tiles">{_tiles(dict(rows))}</div>{plots}'
        f"<h2>All figures</h2><table>{table}</table></body></html>\n"
    )


def _tiles(rows: dict[str, str]) -> str:
    nothing = ("unknown", "0")
    known = [(rows[key], text) for key, text in _HEADLINES.items() if rows.get(key, "0") not in nothing]
    return "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>' for value, text in known
    )


def _plots(course: Course) -> str:
    def over(name: str, read: Callable[[Point], float | None]) -> Line:
        return Line(name, [(point.at, read(point)) for point in course.points])

    charts = [
        chart("Acknowledged", "messages a second", [over("acknowledged", lambda one: one.acked)]),
        chart("Delivered", "a second", [over("delivered", lambda one: one.delivered)]),
        chart("Until the acknowledgement", "ms", _halves(over, lambda one: one.ack_ms)),
        chart("Until the delivery", "ms", _halves(over, lambda one: one.delivery_ms)),
        chart(
            "CPU",
            "% of a core",
            [
                over("server", lambda one: one.server),
                over("PostgreSQL", lambda one: one.postgres),
                over("Redis", lambda one: one.redis),
            ],
        ),
        chart("Memory of the server", "MiB", [over("memory", lambda one: one.rss_mib)]),
        chart("Latency by share of messages", "ms", _distribution(course), "% were as fast or faster"),
    ]
    return f'<h2>Plots</h2><div class="plots">{"".join(charts)}</div>'


def _halves(
    over: Callable[[str, Callable[[Point], float | None]], Line], read: Callable[[Point], list[float | None]]
) -> list[Line]:
    return [over("p50", lambda one: read(one)[0]), over("p95", lambda one: read(one)[1])]


def _distribution(course: Course) -> list[Line]:
    totals = course.totals
    return [
        Line(name, list(zip((100 * part for part in _PARTS), percentiles(counts, _PARTS), strict=True)))
        for name, counts in (("acknowledged", totals.ack), ("delivered", totals.delivery))
    ]


def _where() -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{now} · {_processor()} · {os.cpu_count()} cores · Python {platform.python_version()} · {platform.system()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
