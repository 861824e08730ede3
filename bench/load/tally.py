"""What one generator counts while it runs."""

import time
from collections import defaultdict

from bench.load.histogram import BUCKET_NS, Counts
from bench.load.plan import Findings, Progress


class Tally:
    """Counters since the last report, and what went wrong since the start. Histograms go from nanoseconds."""

    def __init__(self) -> None:
        self.now = 0
        self.acked = self.delivered = self.passing = self.answered = self.opened = 0
        self.refused = self.dropped = self.reset = 0
        self.first_problem = ""
        self.ack: Counts = defaultdict(int)
        self.delivery: Counts = defaultdict(int)
        self.request: Counts = defaultdict(int)
        self.resume: Counts = defaultdict(int)

    def progress(self) -> Progress:
        """All that was counted since the last time."""
        found = Progress(
            self.acked,
            self.delivered,
            self.passing,
            self.answered,
            self.opened,
            self.ack,
            self.delivery,
            self.request,
            self.resume,
        )
        self.acked = self.delivered = self.passing = self.answered = self.opened = 0
        self.ack, self.delivery = defaultdict(int), defaultdict(int)
        self.request, self.resume = defaultdict(int), defaultdict(int)
        return found

    def said(self, since: int) -> None:
        """A message was acknowledged."""
        self.acked += 1
        self.ack[(self.now - since) // BUCKET_NS] += 1

    def asked(self, since: int) -> None:
        """Another request was answered."""
        self.request[(self.now - since) // BUCKET_NS] += 1

    def resumed(self, since: int) -> None:
        """A socket has come back, and got all that it had missed."""
        self.resume[(time.monotonic_ns() - since) // BUCKET_NS] += 1

    def refuse(self, reason: str) -> None:
        """The server refused something that it should not."""
        self.refused += 1
        self.first_problem = self.first_problem or reason

    def drop(self, reason: str) -> None:
        """A socket ended by itself."""
        self.dropped += 1
        self.first_problem = self.first_problem or reason

    def findings(self) -> Findings:
        """What went wrong with requests and sockets."""
        return Findings(refused=self.refused, dropped=self.dropped, reset=self.reset, first_problem=self.first_problem)
