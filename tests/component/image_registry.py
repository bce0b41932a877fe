#!/usr/bin/env python3
"""A small registry that misbehaves on demand, for image_test.sh.

usage: image_registry.py OCI-ARCHIVE PORT-FILE LOG-FILE [ADDRESS CERTIFICATE KEY]    (with TLS)
Serves the archive's image as any repository; the repository's name says what goes wrong:
  plain      nothing                       cut        each answer breaks off after a third of what is left
  norange    breaks off and ignores Range  wrongrange breaks off and answers another range than asked for
  badblob    one byte of a layer differs   long       more bytes than announced
  short      fewer bytes, for ever         token      bearer sign-in (anonymous)
  basic      basic sign-in user:secret     index      an index with several platforms
  otherarch  an index without ours         stall      says nothing after the first bytes
  badmanifest another digest than the header announces        denied     401 whatever is sent
  five       500 twice, then fine          junk       a manifest that is no JSON
"""
import base64, collections, hashlib, http.server, json, os, platform, ssl, sys, tarfile, time

archive, port_file, log_file = sys.argv[1:4]
address, certificate, key = sys.argv[4:7] if len(sys.argv) > 4 else ("127.0.0.1", None, None)
tar = tarfile.open(archive)
blobs = {m.name.split("/")[-1]: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile() and "blobs/" in m.name}
manifest_hex = json.load(tar.extractfile("./index.json"))["manifests"][0]["digest"].split(":")[1]
layers = [l["digest"].split(":")[1] for l in json.loads(blobs[manifest_hex])["layers"]]
arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
fails = collections.Counter()
log = open(log_file, "a", buffering=1)


def index(ours):
    other = {"digest": "sha256:" + "0" * 64, "size": 3, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    entries = [dict(other, platform={"os": "windows", "architecture": arch}), dict(other, platform={"os": "linux", "architecture": "mips"})]
    if ours:
        entries.append({"digest": "sha256:" + manifest_hex, "size": len(blobs[manifest_hex]), "platform": {"os": "linux", "architecture": arch},
                        "mediaType": "application/vnd.oci.image.manifest.v1+json"})
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def answer(self, status, body=b"", headers={}, length=None):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, code):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode(), {"Content-Type": "application/json"})

    def challenge(self, value):
        self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}', {"WWW-Authenticate": value})

    def signed_in(self, kind):
        got = self.headers.get("Authorization", "")
        host = "127.0.0.1:%d" % self.server.server_port
        if kind == "token" and got != "Bearer good":
            self.challenge('Bearer realm="http://%s/token",service="it",scope="repository:token:pull"' % host)
        elif kind == "basic" and got != "Basic " + base64.b64encode(b"user:secret").decode():
            self.challenge('Basic realm="it"')
        elif kind == "denied":
            self.challenge('Bearer realm="http://%s/token",service="it"' % host)
        else:
            return True
        return False

    def do_GET(self):
        path, _, query = self.path.partition("?")
        log.write("%s %s %s\n" % (path, self.headers.get("Range", "-"), self.headers.get("Authorization", "-")))
        if path == "/token":
            return self.answer(200, b'{"token":"good"}')
        parts = path.strip("/").split("/")
        if len(parts) < 4 or parts[0] != "v2":
            return self.error(404, "NAME_UNKNOWN")
        kind, what, name = parts[-3], parts[-2], parts[-1]
        if not self.signed_in(kind):
            return
        if what == "manifests":
            return self.manifest(kind, name)
        return self.blob(kind, name.split(":")[-1])

    def manifest(self, kind, name):
        body = blobs[manifest_hex]
        if name == "missing":
            return self.error(404, "MANIFEST_UNKNOWN")
        if not name.startswith("sha256:") and kind in ("index", "otherarch"):
            body = index(kind == "index")
        if kind == "junk":
            body = b"[" * 100000
        digest = hashlib.sha256(body).hexdigest()
        if kind == "badmanifest":
            body = body + b" "
        self.answer(200, body, {"Docker-Content-Digest": "sha256:" + digest, "Content-Type": "application/json"})

    def blob(self, kind, name):
        body = blobs.get(name)
        if body is None:
            return self.error(404, "BLOB_UNKNOWN")
        if name not in layers or kind in ("plain", "token", "basic", "index"):
            return self.answer(200, body)
        fails[kind, name] += 1
        if kind == "five":
            return self.error(500, "UNKNOWN") if fails[kind, name] < 3 else self.answer(200, body)
        if kind == "badblob":
            return self.answer(200, body[:-20] + bytes([body[-20] ^ 1]) + body[-19:])
        if kind == "long":
            return self.answer(200, body + b"x" * 5000)
        start = 0
        if "Range" in self.headers and kind != "norange":
            start = int(self.headers["Range"].split("=")[1].split("-")[0])
        rest = body[start:]
        piece = rest if len(rest) < 3000 or (kind == "norange" and fails[kind, name] > 2) else rest[: len(rest) // 3]
        if kind == "short":
            piece = body[start:2000]
        if kind == "wrongrange" and start:
            start += 1
        status = 206 if start else 200
        headers = {"Content-Range": "bytes %d-%d/%d" % (start, len(body) - 1, len(body))} if start else {}
        self.answer(status, piece[:1000] if kind == "stall" else piece, headers, len(rest))
        if kind == "stall":
            time.sleep(3600)
        self.close_connection = True


server = http.server.ThreadingHTTPServer((address, 0), Handler)
server.daemon_threads = True
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + ".part", "w") as f:
    f.write(str(server.server_port))
os.rename(port_file + ".part", port_file)
server.serve_forever()
