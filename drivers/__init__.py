"""What moves an avatar: each driver emits Motion."""
