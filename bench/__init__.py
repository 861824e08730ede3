"""Load and measurements against a running server of this protocol: `python -m bench SCENARIO`.

Rule 1: the load is made by raw sockets that cost little, so that what is measured is the server.
Rule 2: every scenario prints a table, writes JSON, and fails (exit code 1) past its limit.
"""
