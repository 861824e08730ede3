"""The history checker: real nodes, real faults, and the proof that nothing acknowledged was lost, doubled or reordered.

    python -m tests.faults --messages 10000 --seed 1          all seven nemeses, with progress, and one line at the end
    python -m tests.faults --nemesis "node pause" --seed 7    one of them; the same seed draws the same faults
    python -m tests.faults --messages 10000 --runs 10         a night's work

- proxy: a network that can be broken; store, node, cluster: what is broken
- wire, caller, listener, people, workload: who works meanwhile
- nemesis, scenarios: who breaks things, by lot and by plan
- history, snapshot: what is written down; evidence, model, invariants, checker: how it is judged
- mutants: servers that lack one line of defence, to prove the judge

The records of a run that went wrong stay in the folder that the report names.
"""
