/*
 * Compact JWS (RFC 7515) with RS256 and ES256 only, for service-account tokens. The algorithm
 * follows from the key, never from the token's header; "none" and HMAC do not exist here.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#define JWT_BYTES_MAX ((size_t)16 << 10)
/* payload is a JSON object's text. kid is derived from the public key. */
int jwt_sign(struct str private_key_pem, struct str payload_json, struct buf *ret_token,
             struct error **err);
/* Checks the signature and appends the payload's JSON text; times and audience are the caller's.
 * -EACCES when the signature is wrong, -EINVAL when it is not a token. */
int jwt_verify(struct str public_key_pem, struct str token, struct buf *ret_payload,
               struct error **err);
/* Key id for a public key or private key PEM: base64url(sha256(SPKI)). */
int jwt_key_id(struct str key_pem, struct buf *ret, struct error **err);
