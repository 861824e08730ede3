"""A file for each domain, an entry for each op: SAMPLES = {"get": Sample(lambda world: UserGet(…))}."""
