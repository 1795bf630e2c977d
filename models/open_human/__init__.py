"""The open human: MakeHuman's CC0 body and face units in SMPL-X and FLAME format, and the converter that makes them."""
