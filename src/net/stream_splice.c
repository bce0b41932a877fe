#include "net/stream.h"
#include "base/mem.h"
#include <stdlib.h>

struct splice {
    struct stream *side[2];
    bool eof[2];
    splice_done_fn on_done;
    void *arg;
};

static int side_of(const struct splice *sp, const struct stream *s)
{
    return sp->side[1] == s;
}

static void splice_end(struct splice *sp, const struct error *err)
{
    splice_done_fn done = sp->on_done;

    stream_close(sp->side[0]);
    stream_close(sp->side[1]);
    if (done)
        done(sp, err, sp->arg);
    free(sp);
}

static size_t on_data(struct stream *s, struct str data, void *arg)
{
    struct splice *sp = arg;
    struct stream *other = sp->side[!side_of(sp, s)];

    stream_write_str(other, data);
    if (stream_write_pending(other) > STREAM_HIGH)
        stream_pause(s);
    return data.n;
}

static void on_drain(struct stream *s, void *arg)
{
    struct splice *sp = arg;

    stream_resume(sp->side[!side_of(sp, s)]);
}

static void on_eof(struct stream *s, void *arg)
{
    struct splice *sp = arg;
    int i = side_of(sp, s);

    sp->eof[i] = true;
    if (sp->eof[!i])
        splice_end(sp, NULL);
    else
        stream_shutdown_write(sp->side[!i]);
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    (void)s;
    splice_end(arg, err);
}

struct splice *stream_splice(struct stream *a, struct stream *b, splice_done_fn on_done, void *arg)
{
    static const struct stream_events ev = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};
    struct splice *sp = xcalloc(1, sizeof *sp);

    sp->side[0] = a;
    sp->side[1] = b;
    sp->on_done = on_done;
    sp->arg = arg;
    stream_set_events(a, &ev, sp);
    stream_set_events(b, &ev, sp);
    stream_resume(a);
    stream_resume(b);
    return sp;
}

void splice_cancel(struct splice *sp)
{
    if (!sp)
        return;
    stream_free(sp->side[0]);
    stream_free(sp->side[1]);
    free(sp);
}
