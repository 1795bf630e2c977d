"""Speech audio -> visemes -> face."""
