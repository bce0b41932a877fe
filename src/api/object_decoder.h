/*
 * The event side of decoding, private to src/api: fed with yajl's events for one object, builds the
 * struct. The drivers (one document, a list, a watch) own the parser. After false, err is set.
 */
#pragma once
#include "api/object_rules.h"

enum frame_kind { FRAME_OBJECT, FRAME_MAP, FRAME_LIST };
struct object_frame {
    enum frame_kind kind;
    const ProtobufCMessageDescriptor *desc; /* of msg; in a map: of the entries */
    void *msg;                              /* in a map or list: the owner of field */
    const ProtobufCFieldDescriptor *field;  /* NULL: the value that follows is skipped */
    const ProtobufCFieldDescriptor *via;    /* inlined message that field stands in */
    void *entry;                            /* in a map: the entry whose value comes next */
    uint64_t seen;                          /* object: fields met, to find a key that comes twice */
    uint64_t seen_via;
};
struct object_decoder {
    struct arena *arena;
    const ProtobufCMessageDescriptor *root;
    unsigned flags;
    void *out; /* the message; whole when done */
    bool done;
    struct object_frame frames[OBJECT_DEPTH_MAX];
    unsigned n;
    unsigned skip; /* depth inside a value that is not wanted */
    struct buf raw;
    unsigned raw_depth; /* depth inside a value that is kept as text */
    bool raw_comma;
    void *raw_msg;
    struct error *err;
};
void object_decoder_init(struct object_decoder *d, const ProtobufCMessageDescriptor *root,
                         unsigned flags, struct arena *a);
void object_decoder_restart(struct object_decoder *d); /* for the next object of the same root */
void object_decoder_fini(struct object_decoder *d);

bool object_decoder_map_open(struct object_decoder *d);
bool object_decoder_list_open(struct object_decoder *d);
bool object_decoder_close(struct object_decoder *d, char bracket);
bool object_decoder_key(struct object_decoder *d, struct str k);
bool object_decoder_string(struct object_decoder *d, struct str v);
bool object_decoder_number(struct object_decoder *d, struct str v);
bool object_decoder_bool(struct object_decoder *d, bool v);
bool object_decoder_null(struct object_decoder *d);
/* Valid UTF-8 without NUL; yajl lets overlong forms through. */
bool object_text_ok(struct str s);
/* Turns yajl's complaint or the decoder's into *err; returns its code. */
struct yajl_handle_t;
int object_parse_error(struct yajl_handle_t *h, struct object_decoder *d, struct str text,
                       struct error **err);
