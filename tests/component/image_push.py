#!/usr/bin/env python3
"""Pushes the image of an OCI archive to a plain registry: image_push.py ARCHIVE HOST:PORT REPOSITORY TAG"""
import json, sys, tarfile, urllib.request

archive, host, repo, tag = sys.argv[1:5]
tar = tarfile.open(archive)


def read(name):
    return tar.extractfile("./" + name).read()


def blob(digest):
    return read("blobs/sha256/" + digest.split(":")[1])


def request(method, url, data, headers={}):
    return urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=headers))


manifest = blob(json.loads(read("index.json"))["manifests"][0]["digest"])
parsed = json.loads(manifest)
for item in [parsed["config"]] + parsed["layers"]:
    where = request("POST", f"http://{host}/v2/{repo}/blobs/uploads/", b"").headers["Location"]
    where += ("&" if "?" in where else "?") + "digest=" + item["digest"]
    request("PUT", where, blob(item["digest"]), {"Content-Type": "application/octet-stream"})
request("PUT", f"http://{host}/v2/{repo}/manifests/{tag}", manifest, {"Content-Type": parsed["mediaType"]})
