"""Drop inputs of an ONNX graph, or add an output, by editing its protobuf bytes; no `onnx` package is needed.

Some converters list a graph's inner tensors as its inputs too. Runtimes then demand values for them.
Wire format: protobuf.dev/programming-guides/encoding; field numbers: onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

MODEL_GRAPH = 7  # ModelProto.graph
GRAPH_INPUT, GRAPH_OUTPUT = 11, 12  # GraphProto.input, output
VALUE_INFO_NAME, VALUE_INFO_TYPE = 1, 2  # ValueInfoProto.name, type
TENSOR_TYPE, ELEMENT_TYPE, FLOAT = 1, 1, 1  # TypeProto.tensor_type, its elem_type, DataType.FLOAT
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(field number, the field's bytes with its tag, the payload of a length-delimited one or nothing)."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        payload = b""
        if tag & 7 == LENGTH_DELIMITED:
            length, at = _varint(message, at)
            payload = message[at : at + length]
            at += length
        elif tag & 7 == VARINT:
            _, at = _varint(message, at)
        elif tag & 7 in (FIXED32, FIXED64):
            at += 4 if tag & 7 == FIXED32 else 8
        else:
            raise ValueError(f"protobuf wire type {tag & 7} is not used by ONNX")
        if at > len(message):
            raise ValueError("the file ends too early")
        yield tag >> 3, message[start:at], payload


def keep_inputs(model: bytes, names: set[str]) -> bytes:
    """The ONNX file with no graph inputs but these; ValueError if the bytes are no protobuf message."""

    def kept(value_info: bytes) -> bool:
        return any(n == VALUE_INFO_NAME and payload.decode() in names for n, _, payload in _fields(value_info))

    out = bytearray()
    try:
        for number, raw, graph in _fields(model):
            if number != MODEL_GRAPH:
                out += raw
                continue
            inner = b"".join(whole for n, whole, payload in _fields(graph) if n != GRAPH_INPUT or kept(payload))
            out += _encode_varint(MODEL_GRAPH << 3 | LENGTH_DELIMITED) + _encode_varint(len(inner)) + inner
    except IndexError:
        raise ValueError("the file ends too early") from None
    return bytes(out)


def with_output(model: bytes, name: str) -> bytes:
    """The ONNX file with the inner float tensor `name` as one more output.

    A message that is there twice is merged by every reader of protobuf, so a graph of that one output is appended.
    """

    def field(number: int, payload: bytes) -> bytes:
        return _encode_varint(number << 3 | LENGTH_DELIMITED) + _encode_varint(len(payload)) + payload

    kind = field(TENSOR_TYPE, bytes([ELEMENT_TYPE << 3 | VARINT, FLOAT]))
    value_info = field(VALUE_INFO_NAME, name.encode()) + field(VALUE_INFO_TYPE, kind)
    return model + field(MODEL_GRAPH, field(GRAPH_OUTPUT, value_info))
