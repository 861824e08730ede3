"""Ops of an embedder, for tests: each lives where its name says, as an op must."""
