"""Runs one MongoDB admin command, with nothing but Python's own library.

Usage: mongodb_command.py PORT JSON. Prints the reply as JSON and fails when the server says no.
Setting up a replica set takes three commands; a driver or a shell would be one more thing to install.
"""

import json
import socket
import struct
import sys

TIMEOUT_S = 5
OP_MSG = 2013


def encode(value):
    """A BSON type byte and body, for the few types that our commands use."""
    if isinstance(value, bool):
        return b"\x08", bytes([value])
    if isinstance(value, int):
        return b"\x10", struct.pack("<i", value)
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return b"\x02", struct.pack("<i", len(text)) + text
    if isinstance(value, list):
        return b"\x04", encode_document({str(i): item for i, item in enumerate(value)})
    return b"\x03", encode_document(value)


def encode_document(document):
    body = b""
    for name, value in document.items():
        kind, data = encode(value)
        body += kind + name.encode() + b"\0" + data
    return struct.pack("<i", len(body) + 5) + body + b"\0"


# The sizes of the types whose bytes nobody here reads: object id, date, timestamp.
OPAQUE_SIZES = {0x07: 12, 0x09: 8, 0x11: 8}


def decode_value(kind, data, at):
    """The value at an offset, and the offset after it."""
    if kind == 0x01:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind == 0x02:
        end = at + 4 + struct.unpack_from("<i", data, at)[0]
        return data[at + 4 : end - 1].decode(), end
    if kind in (0x03, 0x04):
        document, end = decode_document(data, at)
        return (list(document.values()) if kind == 0x04 else document), end
    if kind == 0x05:
        return None, at + 5 + struct.unpack_from("<i", data, at)[0]
    if kind == 0x08:
        return data[at] == 1, at + 1
    if kind == 0x0A:
        return None, at
    if kind == 0x10:
        return struct.unpack_from("<i", data, at)[0], at + 4
    if kind == 0x12:
        return struct.unpack_from("<q", data, at)[0], at + 8
    if kind in OPAQUE_SIZES:
        return None, at + OPAQUE_SIZES[kind]
    raise ValueError(f"the reply holds BSON type {kind:#x}, which is not known here")


def decode_document(data, at):
    end = at + struct.unpack_from("<i", data, at)[0]
    at += 4
    document = {}
    while at < end - 1:
        kind = data[at]
        name_end = data.index(b"\0", at + 1)
        name = data[at + 1 : name_end].decode()
        document[name], at = decode_value(kind, data, name_end + 1)
    return document, end


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError("the server closed the connection")
        data += part
    return data


def run(port, command):
    body = struct.pack("<i", 0) + b"\0" + encode_document({**command, "$db": "admin"})
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, OP_MSG) + body)
        length = struct.unpack("<i", read_exactly(connection, 4))[0]
        reply = read_exactly(connection, length - 4)
    # After the length come three header fields, the flags, and the kind of the one section.
    return decode_document(reply, 12 + 4 + 1)[0]


def main():
    try:
        reply = run(int(sys.argv[1]), json.loads(sys.argv[2]))
    except OSError as error:
        sys.exit(f"error: MongoDB on port {sys.argv[1]}: {error}")
    if reply.get("ok") != 1:
        sys.exit(f"error: MongoDB on port {sys.argv[1]}: {reply.get('errmsg')}")
    print(json.dumps(reply))


main()
