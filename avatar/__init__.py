"""The hybrid avatar: a file, a rig, a rasterizer and a builder."""
