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
SUBGRAPHS, BUFFERS, METADATA = 2, 4, 6
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


def with_metadata(net: bytes, name: str, mean: float, std: float) -> bytes:
    """A TFLite net with image metadata in front; the net's own bytes follow unchanged."""
    if net[4:8] != b"TFL3":
        raise ValueError(f"{name} is not a TFLite net")
    root = _u32(net, 0)
    metadata = _image_metadata(name, mean, std, output_names(net))
    buffers, entries = _vector(net, root, BUFFERS), _vector(net, root, METADATA)
    out = bytearray()
    links: list[tuple[int, int]] = []  # (where an offset stands, position in `net` that it refers to)

    def align(to: int) -> int:
        out.extend(bytes(-len(out) % to))
        return len(out)

    def link(at: int, to: int) -> None:  # an offset to something in front
        struct.pack_into("<I", out, at, to - at)

    # Root table: its vtable at 8, then eight slots of four bytes; absent fields have no slot in the vtable.
    out += struct.pack("<I4s", 0, b"TFL3")
    present = [i for i in range(MODEL_FIELDS) if i == METADATA or _field(net, root, i) is not None]
    slots = [4 + 4 * i if i in present else 0 for i in range(MODEL_FIELDS)]
    out += struct.pack(f"<HH{MODEL_FIELDS}H", 4 + 2 * MODEL_FIELDS, 4 + 4 * MODEL_FIELDS, *slots)
    table = align(4)
    out += struct.pack("<i", table - 8) + bytes(4 * MODEL_FIELDS)
    link(0, table)
    for i in present:
        at = _field(net, root, i)
        if at is None or i in (BUFFERS, METADATA):
            continue
        if i == 0:  # version: the one field that is a number
            out[table + slots[i] : table + slots[i] + 4] = net[at : at + 4]
        else:
            links.append((table + slots[i], at + _u32(net, at)))

    new_vectors = []
    for i, old in ((BUFFERS, buffers), (METADATA, entries)):
        vector = align(4)
        out += struct.pack("<I", len(old) + 1) + bytes(4 * (len(old) + 1))
        link(table + slots[i], vector)
        links += [(vector + 4 + 4 * k, position) for k, position in enumerate(old)]
        new_vectors.append(vector + 4 + 4 * len(old))

    out += struct.pack("<HHHH", 8, 12, 4, 8)  # vtable of Metadata: name, buffer
    entry = len(out)
    out += struct.pack("<iII", 8, 0, len(buffers))
    link(new_vectors[1], entry)
    link(entry + 4, align(4))
    out += struct.pack("<I16s", 15, b"TFLITE_METADATA")

    vtable = align(4)
    out += struct.pack("<HHH", 6, 8, 4)  # of Buffer: data
    buffer = align(4)
    out += struct.pack("<iI", buffer - vtable, 0)
    link(new_vectors[0], buffer)
    out += bytes((12 - len(out)) % 16)  # so that the data behind their length stand at a multiple of 16
    link(buffer + 4, len(out))
    out += struct.pack("<I", len(metadata)) + metadata

    start = align(ALIGNMENT)
    for at, position in links:
        link(at, start + position)
    return bytes(out) + net


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
