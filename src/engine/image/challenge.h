/* What a registry answers with 401: WWW-Authenticate. Pure text. */
#pragma once
#include "base/str.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };
struct challenge {
    enum challenge_scheme scheme;
    char *realm, *service, *scope; /* NULL when absent */
};
/* Reads one header, which may hold several challenges; Bearer wins over Basic, the first of a kind
 * over later ones. What is not understood is skipped. Keeps what is in c already when nothing
 * better comes. */
void challenge_parse(struct str header, struct challenge *c);
void challenge_fini(struct challenge *c);
