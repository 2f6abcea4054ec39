/* The console's files: read once at start, served from memory, found by exact name (R01, R03). */
#include "mdm_admin.h"

#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <zlib.h>
#include <http_log.h>
#include <http_protocol.h>

APLOG_USE_MODULE(mdm_admin);

#define FILES_MAX 200
#define FILE_BYTES_MAX (512 * 1024)

static const struct {
    const char *ending, *type;
} types[] = {{".html", "text/html; charset=utf-8"},     {".js", "text/javascript; charset=utf-8"},
             {".css", "text/css; charset=utf-8"},       {".svg", "image/svg+xml"},
             {".json", "application/json"},             {".yaml", "application/yaml; charset=utf-8"},
             {".png", "image/png"},                     {".woff2", "font/woff2"},
             {".csv", "text/csv; charset=utf-8"}};

static const char *type_of(const char *name)
{
    apr_size_t n = strlen(name), k;
    unsigned i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        k = strlen(types[i].ending);
        if (n > k && strcmp(name + n - k, types[i].ending) == 0)
            return types[i].type;
    }
    return NULL;
}

/* The same bytes by gzip (RFC 1952), once for all requests: these files hold no secrets, so their length tells nothing. */
static void compress_file(apr_pool_t *p, mdm_admin_file_t *f)
{
    z_stream z = {0};
    unsigned char *out;

    if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    z.next_in = (unsigned char *)f->data.data;
    z.avail_in = (uInt)f->data.len;
    z.avail_out = (uInt)deflateBound(&z, z.avail_in);
    z.next_out = out = apr_palloc(p, z.avail_out);
    if (deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < f->data.len)
        f->gzip = (mdm_blob_t){out, z.total_out};
    deflateEnd(&z);
}

static apr_status_t load_file(apr_pool_t *p, const char *path, const char *name, apr_hash_t *to)
{
    mdm_admin_file_t *f = apr_pcalloc(p, sizeof(*f));
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t len = 0;
    char *data;
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, 0, p);

    if (rv != APR_SUCCESS)
        return rv;
    rv = apr_file_info_get(&info, APR_FINFO_SIZE, file);
    if (rv == APR_SUCCESS && info.size > FILE_BYTES_MAX)
        rv = APR_ENOSPC;
    if (rv == APR_SUCCESS) {
        data = apr_palloc(p, (apr_size_t)info.size + 1);
        rv = info.size ? apr_file_read_full(file, data, (apr_size_t)info.size, &len) : APR_SUCCESS;
        data[len] = '\0';
        f->data.data = (const unsigned char *)data;
        f->data.len = len;
        f->name = apr_pstrdup(p, name);
        f->type = type_of(name);
        f->etag = apr_psprintf(p, "\"%.24s\"", mdm_sha256_hex(p, data, len));
        f->gzip_etag = apr_psprintf(p, "\"%.24s-gzip\"", f->etag + 1);
        compress_file(p, f);
    }
    apr_file_close(file);
    if (rv == APR_SUCCESS)
        apr_hash_set(to, f->name, APR_HASH_KEY_STRING, f);
    return rv;
}

static void load_dir(server_rec *s, apr_pool_t *p, const char *dir, const char *prefix, apr_hash_t *to)
{
    apr_dir_t *d;
    apr_finfo_t info;
    apr_status_t rv = apr_dir_open(&d, dir, p);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "MDM0702: MDMAdminFiles: %s can't be read", dir);
        return;
    }
    while (apr_dir_read(&info, APR_FINFO_NAME | APR_FINFO_TYPE, d) == APR_SUCCESS && apr_hash_count(to) < FILES_MAX) {
        const char *name, *path;
        if (info.name[0] == '.')
            continue;
        name = apr_pstrcat(p, prefix, info.name, NULL);
        path = apr_pstrcat(p, dir, "/", info.name, NULL);
        if (info.filetype == APR_DIR && !*prefix) {
            load_dir(s, p, path, apr_pstrcat(p, info.name, "/", NULL), to);
        } else if (info.filetype == APR_REG && type_of(info.name)) {
            rv = load_file(p, path, name, to);
            if (rv != APR_SUCCESS)
                ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "MDM0702: MDMAdminFiles: %s can't be read", path);
        }
    }
    apr_dir_close(d);
}

apr_hash_t *mdm_adm_files_load(server_rec *s, apr_pool_t *p, const char *dir)
{
    apr_hash_t *files = apr_hash_make(p);

    load_dir(s, p, dir, "", files);
    return files;
}

static int takes_gzip(request_rec *r)
{
    const char *accepts = apr_table_get(r->headers_in, "Accept-Encoding");

    return accepts && ap_find_token(r->pool, accepts, "gzip") && !ap_strstr_c(accepts, "gzip;q=0");
}

static int send_file(mdm_web_call_t *call, const char *name)
{
    request_rec *r = call->r;
    /* apr_hash_get() does not write, but says so since 1.8 only. */
    const mdm_admin_file_t *f = apr_hash_get((apr_hash_t *)mdm_adm_req(call)->files, name, APR_HASH_KEY_STRING);
    const char *known = apr_table_get(r->headers_in, "If-None-Match"), *etag;
    const mdm_blob_t *body;

    if (!f)
        return mdm_adm_fail(call, APR_NOTFOUND);
    body = f->gzip.len && takes_gzip(r) ? &f->gzip : &f->data;
    etag = body == &f->gzip ? f->gzip_etag : f->etag;
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache"); /* kept, but asked for each time by ETag */
    apr_table_setn(r->headers_out, "Vary", "Accept-Encoding");
    apr_table_setn(r->headers_out, "ETag", etag);
    if (known && strcmp(known, etag) == 0)
        return mdm_web_empty(r, HTTP_NOT_MODIFIED);
    if (body == &f->gzip)
        apr_table_setn(r->headers_out, "Content-Encoding", "gzip");
    return mdm_web_bytes(r, HTTP_OK, f->type, body->data, body->len);
}

int mdm_adm_index(mdm_web_call_t *call)
{
    return send_file(call, "index.html");
}

int mdm_adm_file(mdm_web_call_t *call)
{
    return send_file(call, call->args[0]);
}

int mdm_adm_page_file(mdm_web_call_t *call)
{
    return send_file(call, apr_pstrcat(call->r->pool, "pages/", call->args[0], NULL));
}

int mdm_adm_help_index(mdm_web_call_t *call)
{
    return send_file(call, "help/index.html");
}

int mdm_adm_help_file(mdm_web_call_t *call)
{
    return send_file(call, apr_pstrcat(call->r->pool, "help/", call->args[0], NULL));
}

/* The log-in page's own files: nothing else may be read without a session. */
int mdm_adm_login_file(mdm_web_call_t *call)
{
    static const char *const open[] = {"app.css", "icon.svg", NULL};
    int i;

    for (i = 0; open[i]; i++) {
        if (strcmp(call->args[0], open[i]) == 0)
            return send_file(call, open[i]);
    }
    return mdm_adm_fail(call, APR_NOTFOUND);
}

int mdm_adm_openapi(mdm_web_call_t *call)
{
    return send_file(call, "openapi.yaml");
}
