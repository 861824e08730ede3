"""The authorization test that the registry of ops makes: every actor against every op and every id in its frame.

Whoever adds an op adds one `Sample` to samples/<domain>.py: the frame with which somebody succeeds who may, and
what else must be refused to them. The rest follows from the op's rule:

- world.py has the people (people.py) and their channels (channels.py), with a canary in every private column, and
  talk.py their sockets; actors.py the roles that they play, kinds.py the ids that must look as if nothing were there
- matrix.py plays them: first who may succeeds, then everybody else is refused with the right code, changes no row
  (ledger.py), causes no event, learns no byte (marks.py), and cannot tell what is hidden from what is missing
- ledger.py and memory.py set the database and the server's process back to where they were
- mutants.py, queries.py and checks.py take each check out of the server, one at a time, and expect the matrix to
  notice; what is looked at twice must hold without either, and be noticed without both
- endings.py ends logins while their sockets are open

A new kind of id, a new table or a new private column fails with the name of the file where to tell about it.
"""
