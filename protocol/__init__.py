"""The wire as data: frames, codec, errors and a typed client. Imports nothing else of onesocket.

Rule 1: an op is one `Request` class; its tag is its address (`account.login` is `AccountLogin` in `account.py`).
Rule 2: frames change by addition only: a new field has a default, a removed one stays and is ignored.
"""

VERSION = "1.0"
