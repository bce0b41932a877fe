#!/bin/sh
# Assembles the images that examples and tests use out of Debian packages, so that no registry has to be reached, and loads
# them into the running engine (or, when none runs, into its data root). They carry the names that manifests use:
#   docker.io/library/busybox:latest, 1.36       busybox-static
#   docker.io/library/nginx:1.7.9, latest        nginx with its own welcome page, listening on 80
#   docker.io/library/registry:2                 docker-registry, listening on 5000
# The archives (OCI image layouts, the same bytes from the same packages) stay in IMAGES_DIR.
#   images.sh [--no-load]        SKIFF=path of skiff   IMAGES_DIR=build/images   FRESH=1 to assemble anew
set -eu
umask 022
export LC_ALL=C
cd "$(dirname "$0")/.."
dir=${IMAGES_DIR:-${BUILD:-build}/images}
skiff=${SKIFF:-${BUILD:-build}/bin/skiff}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
version=4 # of the recipe below: another one means assembling anew

packages() { # names... -> unpacked into $work/debs/NAME
    missing=
    for p in "$@"; do
        ls "$dir/debs/${p}"_*.deb >/dev/null 2>&1 || missing="$missing $p"
    done
    if [ -n "$missing" ]; then
        mkdir -p "$dir/debs"
        # shellcheck disable=SC2086
        (cd "$dir/debs" && { apt-get -o APT::Sandbox::User=root -qq download $missing >/dev/null 2>&1 ||
            { apt-get -qq update >/dev/null && apt-get -o APT::Sandbox::User=root -qq download $missing >/dev/null; }; }) ||
            { echo "images.sh: cannot download$missing with apt-get" >&2; exit 1; }
    fi
    for p in "$@"; do
        mkdir -p "$work/debs/$p"
        for deb in "$dir/debs/${p}"_*.deb; do dpkg-deb -x "$deb" "$work/debs/$p"; done
    done
}

layer() { # tree -> blob in $layout; sets layer_digest layer_size layer_diff
    find "$1" -depth -exec touch -h -d @0 {} +
    tar --sort=name --numeric-owner --owner=0 --group=0 --format=posix --pax-option=delete=atime,delete=ctime \
        --mtime=@0 -C "$1" -cf "$work/layer.tar" .
    layer_diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    gzip -n -1 <"$work/layer.tar" >"$work/layer.gz"
    layer_digest=$(sha256sum "$work/layer.gz" | cut -d' ' -f1)
    layer_size=$(stat -c %s "$work/layer.gz")
    mv "$work/layer.gz" "$work/blobs/$layer_digest"
    rm "$work/layer.tar"
}

blob() { # file -> digest and size
    blob_digest=$(sha256sum "$1" | cut -d' ' -f1)
    blob_size=$(stat -c %s "$1")
    mv "$1" "$work/blobs/$blob_digest"
}

image() { # archive, "names", config members as JSON, trees...
    archive=$1 names=$2 members=$3
    shift 3
    layers= diffs= blobs=
    for tree in "$@"; do
        layer "$work/$tree"
        layers="$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$layer_digest\",\"size\":$layer_size}"
        diffs="$diffs${diffs:+,}\"sha256:$layer_diff\""
        blobs="$blobs blobs/sha256/$layer_digest"
    done
    arch=$(dpkg --print-architecture)
    [ "$arch" = armhf ] && arch=arm
    printf '{"created":"1970-01-01T00:00:00Z","architecture":"%s","os":"linux","config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$arch" "$members" "$diffs" >"$work/config"
    blob "$work/config"
    config_digest=$blob_digest
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
        "$blob_digest" "$blob_size" "$layers" >"$work/manifest"
    blob "$work/manifest"
    out=$work/layout
    rm -rf "$out"
    mkdir -p "$out/blobs/sha256"
    entries=
    for name in $names; do
        entries="$entries${entries:+,}{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$blob_digest\",\"size\":$blob_size,\"annotations\":{\"io.containerd.image.name\":\"$name\",\"org.opencontainers.image.ref.name\":\"${name##*:}\"}}"
    done
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$entries" >"$out/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$out/oci-layout"
    for b in $blobs blobs/sha256/$config_digest blobs/sha256/$blob_digest; do
        cp "$work/$(echo "$b" | sed s,blobs/sha256/,blobs/,)" "$out/$b"
    done
    find "$out" -exec touch -d @0 {} +
    tar --sort=name --numeric-owner --owner=0 --group=0 -C "$out" -cf "$dir/$archive.part" .
    mv "$dir/$archive.part" "$dir/$archive"
    echo "assembled $(echo "$names" | tr -s ' \n' ' ')"
}

base_tree() { # a small system: busybox under its many names, users, the usual directories
    t=$work/base
    mkdir -p "$t/bin" "$t/sbin" "$t/etc" "$t/root" "$t/tmp" "$t/var/tmp" "$t/var/spool" "$t/var/log" "$t/run" "$t/home" \
        "$t/dev" "$t/proc" "$t/sys" "$t/usr/bin" "$t/usr/sbin" "$t/lib64"
    chmod 1777 "$t/tmp" "$t/var/tmp"
    chmod 700 "$t/root"
    b=$work/debs/busybox-static/bin/busybox
    [ -f "$b" ] || b=$work/debs/busybox-static/usr/bin/busybox
    cp "$b" "$t/bin/busybox"
    for applet in $("$b" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$t/bin/$applet"
    done
    ln -s ../../bin/env "$t/usr/bin/env"
    printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/bin/false www-data:x:33:33:www-data:/var/www:/bin/false \
        nobody:x:65534:65534:nobody:/nonexistent:/bin/false >"$t/etc/passwd"
    printf '%s\n' root:x:0: daemon:x:1: tty:x:5: www-data:x:33: nogroup:x:65534: >"$t/etc/group"
    printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$t/etc/nsswitch.conf"
}

library_tree() { # tree, programs...: the shared libraries they name, out of the unpacked packages
    t=$work/$1
    shift
    queue="$*"
    while [ -n "$queue" ]; do
        next=
        for f in $queue; do
            # what a loader of this machine's architecture would be asked for
            for lib in $(LC_ALL=C objdump -p "$f" 2>/dev/null | sed -n 's/^ *NEEDED *//p') "$(LC_ALL=C readelf -l "$f" 2>/dev/null |
                sed -n 's/.*interpreter: \([^]]*\)].*/\1/p' | sed 's,.*/,,')"; do
                [ -n "$lib" ] || continue
                found=$(find "$work/debs" -name "$lib" \( -type f -o -type l \) | head -1)
                [ -n "$found" ] || { echo "images.sh: $lib is in none of the packages" >&2; exit 1; }
                rel=${found#"$work/debs/"*/}
                [ -e "$t/$rel" ] && continue
                mkdir -p "$t/$(dirname "$rel")"
                cp -L "$found" "$t/$rel"
                next="$next $t/$rel"
            done
        done
        queue=$next
    done
    # the loader's own name, which programs have written into them
    ld=$(cd "$t" && find . -name 'ld-linux*' -type f | head -1)
    case $ld in
    ./lib64/*) ;;
    *x86-64*) mkdir -p "$t/lib64" && ln -sf "..${ld#.}" "$t/lib64/${ld##*/}" ;;
    ./lib/ld-*) ;;
    *) mkdir -p "$t/lib" && ln -sf "..${ld#.}" "$t/lib/${ld##*/}" ;;
    esac
}

nginx_tree() {
    t=$work/nginx
    mkdir -p "$t/usr/sbin" "$t/usr/share/nginx/html" "$t/var/www/html" "$t/var/log/nginx" "$t/var/lib/nginx" "$t/etc"
    cp "$work/debs/nginx/usr/sbin/nginx" "$t/usr/sbin/nginx"
    cp -R "$work/debs/nginx-common/etc/nginx" "$t/etc/nginx"
    rm -rf "$t/etc/nginx/sites-available/default" "$t/etc/nginx/sites-enabled"
    mkdir -p "$t/etc/nginx/sites-enabled" "$t/etc/nginx/conf.d" "$t/etc/nginx/modules-enabled"
    cp "$work/debs/nginx-common/usr/share/nginx/html/index.html" "$t/usr/share/nginx/html/index.html"
    cp "$work/debs/nginx-common/usr/share/nginx/html/index.html" "$t/var/www/html/index.nginx-debian.html"
    cat >"$t/etc/nginx/conf.d/default.conf" <<CONF
server {
    listen 80 default_server;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
CONF
    ln -s /dev/stdout "$t/var/log/nginx/access.log"
    ln -s /dev/stderr "$t/var/log/nginx/error.log"
}

registry_tree() {
    t=$work/registry
    mkdir -p "$t/bin" "$t/etc/docker/registry" "$t/var/lib/registry"
    cp "$work/debs/docker-registry/usr/bin/docker-registry" "$t/bin/registry"
    cat >"$t/etc/docker/registry/config.yml" <<CONF
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  delete:
    enabled: true
http:
  addr: :5000
CONF
}

assemble() {
    work=$(mktemp -d "$dir/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT INT TERM
    mkdir -p "$work/blobs" "$work/debs"
    command -v objdump >/dev/null || { echo "images.sh needs binutils (objdump)" >&2; exit 1; }
    packages busybox-static nginx nginx-common docker-registry libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g libgcc-s1
    base_tree
    nginx_tree
    registry_tree
    library_tree libraries "$work/nginx/usr/sbin/nginx" "$work/registry/bin/registry"
    path='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'
    image busybox.tar "docker.io/library/busybox:latest docker.io/library/busybox:1.36" "$path,\"Cmd\":[\"sh\"]" base
    image nginx.tar "docker.io/library/nginx:1.7.9 docker.io/library/nginx:latest" \
        "$path,\"Entrypoint\":[\"nginx\"],\"Cmd\":[\"-g\",\"daemon off;\"],\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\"" \
        base libraries nginx
    image registry.tar "docker.io/library/registry:2" \
        "$path,\"Entrypoint\":[\"/bin/registry\",\"serve\"],\"Cmd\":[\"/etc/docker/registry/config.yml\"],\"ExposedPorts\":{\"5000/tcp\":{}},\"Volumes\":{\"/var/lib/registry\":{}}" \
        base libraries registry
    echo "$version" >"$dir/version"
}

if [ -n "${FRESH-}" ] || [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ]; then
    assemble
fi
[ "${1-}" = --no-load ] && exit 0
"$skiff" image load "$dir/busybox.tar" "$dir/nginx.tar" "$dir/registry.tar"
