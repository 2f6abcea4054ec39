/* The call context: clock, failures, log lines. */
#include "base/mdm_ctx.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <apr_strings.h>
#include "base/mdm_text.h"

#define LINE_MAX_BYTES 2000

mdm_ctx_t *mdm_ctx_make(apr_pool_t *p, const mdm_env_t *env, const mdm_logsink_t *log,
                        void *log_baton)
{
    mdm_ctx_t *ctx = apr_pcalloc(p, sizeof(*ctx));

    ctx->pool = p;
    ctx->env = env;
    ctx->log = log;
    ctx->log_baton = log_baton;
    ctx->actor = (mdm_actor_t){"system", "", "", "", "", "", ""};
    ctx->fail_field = "";
    ctx->fail_text = "";
    return ctx;
}

mdm_ctx_t *mdm_ctx_sub(const mdm_ctx_t *ctx)
{
    apr_pool_t *p;
    mdm_ctx_t *sub;

    apr_pool_create(&p, ctx->pool);
    sub = apr_pmemdup(p, ctx, sizeof(*ctx));
    sub->pool = p;
    sub->fail_field = "";
    sub->fail_text = "";
    sub->retry_after = 0;
    return sub;
}

apr_int64_t mdm_now_ms(const mdm_ctx_t *ctx)
{
    apr_time_t now;

    if (ctx->env && ctx->env->clock)
        now = ctx->env->clock(ctx->env->clock_baton);
    else
        now = apr_time_now();
    return now / 1000;
}

/* In brackets: under the analyzer the name is a macro, too. */
apr_status_t (mdm_fail)(mdm_ctx_t *ctx, apr_status_t rv, const char *field, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ctx->fail_text = apr_pvsprintf(ctx->pool, fmt, ap);
    va_end(ap);
    ctx->fail_field = field ? apr_pstrdup(ctx->pool, field) : "";
    return rv;
}

int mdm_log_enabled(const mdm_ctx_t *ctx, int level)
{
    return ctx->log && (!ctx->log->enabled || ctx->log->enabled(ctx->log_baton, level));
}

/* Length of the well-formed UTF-8 character at s, 0 if there is none. */
static apr_size_t char_len(const char *s, apr_size_t left)
{
    unsigned char c = (unsigned char)*s;
    apr_size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return n <= left && mdm_utf8_valid(s, n) ? n : 0;
}

/* Copies in to out with control characters and foreign bytes as \xHH, so that no text forges a line. */
static void escape_line(char *out, apr_size_t size, const char *in, apr_size_t len)
{
    apr_size_t used = 0, i = 0;

    while (i < len) {
        unsigned char c = (unsigned char)in[i];
        apr_size_t n = c < 0x20 || c == 0x7f ? 0 : char_len(in + i, len - i);

        /* U+0080..U+009F are control characters as well */
        if (n == 2 && c == 0xc2 && (unsigned char)in[i + 1] < 0xa0)
            n = 0;
        if (used + (n ? n : 4) >= size)
            break;
        if (n) {
            memcpy(out + used, in + i, n);
            used += n;
            i += n;
        } else {
            snprintf(out + used, 5, "\\x%02x", c);
            used += 4;
            i++;
        }
    }
    out[used] = '\0';
}

void mdm_log(const mdm_ctx_t *ctx, int level, const char *id, apr_status_t rv, const char *fmt, ...)
{
    char raw[LINE_MAX_BYTES + 1], line[LINE_MAX_BYTES + 1];
    va_list ap;
    int n;

    if (!mdm_log_enabled(ctx, level))
        return;
    va_start(ap, fmt);
    n = vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    escape_line(line, sizeof(line), raw, strlen(raw));
    ctx->log->write(ctx->log_baton, level, id, rv, line);
}

static int stderr_enabled(void *baton, int level)
{
    return level <= (int)(intptr_t)baton;
}

static void stderr_write(void *baton, int level, const char *id, apr_status_t rv, const char *text)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug", "trace"};
    char buf[128];
    int i = level < MDM_LOG_ERR ? 0 : level > MDM_LOG_TRACE ? 5 : level - MDM_LOG_ERR;

    if (rv == APR_SUCCESS)
        fprintf(stderr, "%s: %s: %s\n", names[i], id ? id : "-", text);
    else
        fprintf(stderr, "%s: %s: %s (%s)\n", names[i], id ? id : "-", text,
                mdm_error_text(rv) ? mdm_error_text(rv) : apr_strerror(rv, buf, sizeof(buf)));
}

const mdm_logsink_t mdm_log_stderr = {stderr_enabled, stderr_write};
