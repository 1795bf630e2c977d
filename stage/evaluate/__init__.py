"""How well an avatar does: on real films, on made-up people with exact truth, and by what leaks."""
