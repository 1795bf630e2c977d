"""A photo becomes an avatar, one file a stage."""
