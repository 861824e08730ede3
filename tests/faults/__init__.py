"""History checker: real nodes, real faults, and the proof that nothing acknowledged was lost, doubled or reordered."""
