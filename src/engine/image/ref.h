/*
 * Image references: [domain/]path[:tag][@digest], in Docker's grammar and with its defaults
 * (docker.io, library/, latest). Pure text; shared by engine and worker.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>

struct image_ref {
    char *domain; /* "docker.io", "host:5000" */
    char *path;   /* "library/nginx" */
    char *tag;    /* NULL when only a digest was given */
    char *digest; /* "sha256:<64 hex>" or NULL */
};
#define IMAGE_REF_MAX 512 /* bytes of a whole reference */
/* -EINVAL with the sentence that Docker's users know. */
int image_ref_parse(struct str text, struct image_ref *ret, struct error **err);
void image_ref_fini(struct image_ref *r);
/* "docker.io/library/nginx"; owned. */
char *image_ref_name(const struct image_ref *r);
/* Name with :tag and @digest as present; owned. */
char *image_ref_text(const struct image_ref *r);
/* As docker prints it: "nginx:1.7.9", "host:5000/a:b" out of a normal form; owned. */
char *image_ref_familiar(const char *normal);
/* "sha256:" and 64 lower-case hex digits? */
bool image_digest_ok(struct str s);
/* 64 lower-case hex digits? */
bool image_hex_ok(struct str s);
