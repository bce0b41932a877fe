#!/usr/bin/env python3
"""Runs one exec or attach session over WebSocket (v5.channel.k8s.io) against a URL the engine gave.
   engine_stream.py URL [--stdin TEXT] [--resize W,H] [--seconds N]
Prints what came on channels 1 and 2, then "status: <JSON of channel 3>"; port forwards are not its business."""
import base64, os, select, socket, struct, sys, time
from urllib.parse import urlparse

args = sys.argv[1:]
url = urlparse(args[0])
option = lambda name: args[args.index(name) + 1] if name in args else None
s = socket.create_connection((url.hostname, url.port), timeout=10)
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n".encode())
data = b""
while b"\r\n\r\n" not in data:
    more = s.recv(65536)
    if not more:
        sys.exit(f"closed: {data!r}")
    data += more
head, data = data.split(b"\r\n\r\n", 1)
if b" 101 " not in head.split(b"\r\n")[0]:
    sys.exit(head.decode() + "\n" + data.decode())


def send(payload):
    mask = os.urandom(4)
    n = len(payload)
    head = bytes([0x82, 0x80 | n]) if n < 126 else struct.pack("!BBH", 0x82, 0x80 | 126, n)
    s.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))


if option("--resize"):
    w, h = option("--resize").split(",")
    send(b"\x04" + ('{"Width":%s,"Height":%s}' % (w, h)).encode())
if option("--stdin") is not None:
    send(b"\x00" + option("--stdin").encode().decode("unicode_escape").encode())
    if "--keep" not in args:
        send(b"\xff\x00")
end = time.time() + float(option("--seconds") or 10)
out = {1: b"", 2: b"", 3: b""}
while time.time() < end:
    while len(data) >= 2:
        n, at = data[1] & 127, 2
        if n == 126:
            n, at = struct.unpack("!H", data[2:4])[0], 4
        elif n == 127:
            n, at = struct.unpack("!Q", data[2:10])[0], 10
        if len(data) < at + n:
            break
        op, body, data = data[0] & 15, data[at:at + n], data[at + n:]
        if op == 8:
            end = 0
        elif op in (1, 2) and body and body[0] in out:
            out[body[0]] += body[1:]
    if end and select.select([s], [], [], 0.1)[0]:
        more = s.recv(65536)
        if not more:
            break
        data += more
sys.stdout.buffer.write(out[1] + out[2])
print("status:", out[3].decode())
