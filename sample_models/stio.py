"""Reads and writes safetensors files with numpy alone, bfloat16 included."""
import json
import struct

import numpy as np

NAMES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8}


def to_bf16(x):
    """Rounds f32 to bfloat16 (nearest, ties to even); returns the bit patterns as u16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    """The f32 values of bfloat16 bit patterns."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def save(path, tensors, metadata=None):
    """Writes {name: array}; u16 arrays are taken as bfloat16 bit patterns."""
    header, offset, blobs = {}, 0, []
    if metadata:
        header["__metadata__"] = metadata
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        dtype = "BF16" if array.dtype == np.uint16 else next(k for k, v in NAMES.items() if array.dtype == v)
        blobs.append(array.tobytes())
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    """Reads {name: array}; bfloat16 comes back as f32."""
    with open(path, "rb") as f:
        raw = f.read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        data = raw[8 + n + a : 8 + n + b]
        kind = np.uint16 if t["dtype"] == "BF16" else NAMES[t["dtype"]]
        array = np.frombuffer(data, kind).reshape(t["shape"])
        out[name] = from_bf16(array) if t["dtype"] == "BF16" else array
    return out
