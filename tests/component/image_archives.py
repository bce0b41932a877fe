#!/usr/bin/env python3
"""Writes the docker-archives that image_test.sh loads: image_archives.py DIRECTORY"""
import gzip, hashlib, io, json, os, sys, tarfile

out = sys.argv[1]
os.makedirs(out)


def layer(*entries):
    b = io.BytesIO()
    t = tarfile.open(fileobj=b, mode="w", format=tarfile.PAX_FORMAT)
    for name, data, mode, uid in entries:
        i = tarfile.TarInfo(name)
        i.mode, i.uid = mode, uid
        if data is None:
            i.type = tarfile.DIRTYPE
            t.addfile(i)
        else:
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    t.close()
    return b.getvalue()


def f(name, data=b"x", mode=0o644, uid=0):
    return (name, data, mode, uid)


def d(name, mode=0o755, uid=0):
    return (name, None, mode, uid)


def archive(file, name, layers, diffs=None, leave_out=(), cut=0):
    diffs = diffs or ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]
    members = {"l%d/layer.tar" % i: l for i, l in enumerate(layers)}
    members["config.json"] = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
    members["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["l%d/layer.tar" % i for i in range(len(layers))]}]).encode()
    b = io.BytesIO()
    t = tarfile.open(fileobj=b, mode="w")
    for n, data in members.items():
        if n not in leave_out:
            i = tarfile.TarInfo(n)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    t.close()
    data = b.getvalue()
    if cut:
        data = data[:cut]
    if file.endswith(".gz"):
        data = gzip.compress(data)
    open(os.path.join(out, file), "wb").write(data)


archive("many.tar.gz", "many:latest", [layer(d("layers"), f("layers/%d" % i)) for i in range(130)])
archive("whiteout.tar", "whiteout:latest", [
    layer(f("gone"), d("dir"), f("dir/old"), d("sticky", 0o1777, 42)),
    layer(f(".wh.gone", b""), d("dir"), f("dir/.wh..wh..opq", b""), f("dir/new"), f("sticky/file")),
])
archive("climb.tar", "climb:latest", [layer(f("../../../../../../../../skiff-image-escaped"))])
archive("mismatch.tar", "mismatch:latest", [layer(f("a"))], diffs=["sha256:" + "1" * 64])
archive("cut.tar", "cut:latest", [layer(f("a", b"y" * 50000))], cut=20000)
archive("missing.tar", "missing:latest", [layer(f("a"))], leave_out=("l0/layer.tar",))
t = tarfile.open(os.path.join(out, "other.tar"), "w")
i = tarfile.TarInfo("README")
t.addfile(i)
t.close()
