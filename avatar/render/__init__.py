"""Drawing a posed avatar: one compositing rule, several backends."""
