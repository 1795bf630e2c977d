"""A MediaPipe pose task file from its two nets, with the metadata that the landmark net lacks in older packages.

MediaPipe Tasks wants each net to say how pixels are normalized (a ModelMetadata flatbuffer, schema
mediapipe/tasks/metadata/metadata_schema.fbs). FlatBuffers refer forward only, so metadata are added without
touching the net: a new root table and the metadata are put in front, the old bytes follow unchanged and keep their
alignment.
"""

from __future__ import annotations

import io
import struct
import zipfile

import flatbuffers

# Fields of the TFLite root table, tensorflow/compiler/mlir/lite/schema/schema.fbs: Model.
MODEL_FIELDS = 8
VERSION, SUBGRAPHS, BUFFERS, METADATA = 0, 2, 4, 6
SUBGRAPH_TENSORS, SUBGRAPH_OUTPUTS, TENSOR_NAME = 0, 2, 3
ALIGNMENT = 64  # of the old bytes; TFLite itself asks 16 for tensor data

LANDMARKS_NORM = (0.0, 255.0)  # mean, std of 0..255 pixels: the landmark nets want 0..1


def _u32(data: bytes, at: int) -> int:
    return struct.unpack_from("<I", data, at)[0]


def _field(data: bytes, table: int, index: int) -> int | None:
    """Position of a table's field, None where it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * index >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * index)[0]
    return table + offset if offset else None


def _target(data: bytes, table: int, index: int) -> int | None:
    """Position of what a table's field refers to."""
    at = _field(data, table, index)
    return None if at is None else at + _u32(data, at)


def _vector(data: bytes, table: int, index: int) -> list[int]:
    """Positions of the tables that a field's vector refers to."""
    at = _target(data, table, index)
    if at is None:
        return []
    return [p + _u32(data, p) for p in range(at + 4, at + 4 + 4 * _u32(data, at), 4)]


def output_names(net: bytes) -> list[str]:
    """Names of the output tensors of the first graph of a TFLite net."""
    graph = _vector(net, _u32(net, 0), SUBGRAPHS)[0]
    tensors = _vector(net, graph, SUBGRAPH_TENSORS)
    at = _target(net, graph, SUBGRAPH_OUTPUTS)
    if at is None:
        return []
    names = []
    for i in struct.unpack_from(f"<{_u32(net, at)}i", net, at + 4):
        name = _target(net, tensors[i], TENSOR_NAME)
        names.append("" if name is None else net[name + 4 : name + 4 + _u32(net, name)].decode())
    return names


def _image_metadata(name: str, mean: float, std: float, outputs: list[str]) -> bytes:
    """A ModelMetadata flatbuffer: one RGB image in, normalized as (pixel - mean) / std, the named tensors out."""
    b = flatbuffers.Builder(1024)

    def table(slots: int, *offsets: tuple[int, int], byte: tuple[int, int] | None = None) -> int:
        b.StartObject(slots)
        for slot, offset in offsets:
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        if byte:
            b.PrependUint8Slot(*byte, 0)
        return b.EndObject()

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    def floats(value: float) -> int:
        b.StartVector(4, 1, 4)
        b.PrependFloat32(value)
        return b.EndVector()

    normalization = table(2, (0, floats(mean)), (1, floats(std)))  # NormalizationOptions
    process = table(2, (1, normalization), byte=(0, 1))  # ProcessUnit; 1 names NormalizationOptions
    properties = table(2, byte=(0, 1))  # ImageProperties; 1 is RGB
    content = table(3, (1, properties), byte=(0, 2))  # Content; 2 names ImageProperties
    image = table(7, (0, b.CreateString("image")), (3, content), (4, vector([process])))  # TensorMetadata
    results = [table(7, (0, b.CreateString(output))) for output in outputs]
    graph = table(10, (2, vector([image])), (3, vector(results)))  # SubGraphMetadata
    b.Finish(table(8, (0, b.CreateString(name)), (3, vector([graph]))), b"M001")  # ModelMetadata
    return bytes(b.Output())


class _Front:
    """The bytes put in front of a net, written forward, with offsets to each other and into the net."""

    def __init__(self) -> None:
        self.out = bytearray(struct.pack("<I4s", 0, b"TFL3"))
        self.into_net: list[tuple[int, int]] = []  # (where an offset stands, position in the net that it refers to)

    def align(self, to: int = 4) -> int:
        self.out += bytes(-len(self.out) % to)
        return len(self.out)

    def link(self, at: int, to: int) -> None:
        """Write at `at` the offset to `to`."""
        struct.pack_into("<I", self.out, at, to - at)

    def table(self, slots: list[int], size: int) -> int:
        """A table's vtable and its empty fields, `size` bytes in all; slots: offsets of its fields, 0 for absent."""
        vtable = self.align()
        self.out += struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), size, *slots)
        table = self.align()
        self.out += struct.pack("<i", table - vtable) + bytes(size - 4)
        return table

    def vector(self, old: list[int]) -> tuple[int, int]:
        """A vector of these tables of the net and of a new one; -> (its position, that of the new one's offset)."""
        vector = self.align()
        self.out += struct.pack("<I", len(old) + 1) + bytes(4 * (len(old) + 1))
        self.into_net += [(vector + 4 + 4 * k, position) for k, position in enumerate(old)]
        return vector, vector + 4 + 4 * len(old)

    def root(self, net: bytes) -> tuple[int, list[int]]:
        """The net's root table again, its vectors of buffers and metadata left open; -> (its position, its slots)."""
        old = _u32(net, 0)
        fields = [_field(net, old, i) for i in range(MODEL_FIELDS)]
        slots = [4 + 4 * i if at is not None or i == METADATA else 0 for i, at in enumerate(fields)]
        table = self.table(slots, 4 + 4 * MODEL_FIELDS)
        self.link(0, table)
        for i, at in enumerate(fields):
            if at is None or i in (BUFFERS, METADATA):
                continue
            if i == VERSION:  # the one field that is a number
                self.out[table + slots[i] : table + slots[i] + 4] = net[at : at + 4]
            else:
                self.into_net.append((table + slots[i], at + _u32(net, at)))
        return table, slots

    def before(self, net: bytes) -> bytes:
        start = self.align(ALIGNMENT)
        for at, position in self.into_net:
            self.link(at, start + position)
        return bytes(self.out) + net


def with_metadata(net: bytes, name: str, mean: float, std: float) -> bytes:
    """A TFLite net with image metadata in front; the net's own bytes follow unchanged."""
    if net[4:8] != b"TFL3":
        raise ValueError(f"{name} is not a TFLite net")
    old = _u32(net, 0)
    buffers = _vector(net, old, BUFFERS)
    metadata = _image_metadata(name, mean, std, output_names(net))

    front = _Front()
    root, slots = front.root(net)
    new = {}  # field -> where the offset of its vector's new table stands
    for field, tables in ((BUFFERS, buffers), (METADATA, _vector(net, old, METADATA))):
        vector, new[field] = front.vector(tables)
        front.link(root + slots[field], vector)

    entry = front.table([4, 8], 12)  # Metadata: name, buffer
    front.link(new[METADATA], entry)
    struct.pack_into("<I", front.out, entry + 8, len(buffers))  # the new buffer is the last
    front.link(entry + 4, front.align())
    front.out += struct.pack("<I16s", 15, b"TFLITE_METADATA")

    buffer = front.table([4], 8)  # Buffer: data
    front.link(new[BUFFERS], buffer)
    front.out += bytes((12 - len(front.out)) % 16)  # so that the data behind their length stand at a multiple of 16
    front.link(buffer + 4, len(front.out))
    front.out += struct.pack("<I", len(metadata)) + metadata
    return front.before(net)


def bundle(members: dict[str, bytes]) -> bytes:
    """A stored zip whose members begin at multiples of four, as MediaPipe wants to map them; without time stamps."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)  # 1980, so that the bytes never vary
            info.create_system = 3
            gap = -(stream.tell() + 30 + len(name)) % 4  # 30: a local header, to which an extra field adds 4 + gap
            info.extra = struct.pack("<HH", 0, gap) + bytes(gap) if gap else b""
            archive.writestr(info, data)
    return stream.getvalue()


def pose_task(detector: bytes, landmarks: bytes) -> bytes:
    """The two nets of MediaPipe pose -> a task file that `PoseLandmarker` loads. The detector has its metadata."""
    return bundle(
        {
            "pose_detector.tflite": detector,
            "pose_landmarks_detector.tflite": with_metadata(landmarks, "pose_landmarks", *LANDMARKS_NORM),
        }
    )
