"""How well an avatar does, measured on real films."""
