"""Load and measurements against a running server of this protocol: `python -m bench SCENARIO`, as in docs/bench.md.

Rule 1: load is made by raw sockets that cost little, in processes of their own: what is measured is the server.
Rule 2: every scenario prints a table, writes JSON and a page, and fails (exit code 1) past its limit.
Rule 3: a run that loses, doubles or reorders anything that was acknowledged fails, whatever it measured.
"""
