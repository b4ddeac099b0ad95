"""The 40 sources: one frozen record each, and the few readers they share."""
