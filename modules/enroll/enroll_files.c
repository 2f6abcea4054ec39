/* The pages' files: a table of names, read at start. Nothing of a request ever becomes a path (R06). */
#include "enroll.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>

APLOG_USE_MODULE(mdm_enroll);

#define FILE_MAX (512 * 1024)

static const struct {
    const char *name, *type;
} table[] = {
    {"portal.css", "text/css; charset=utf-8"},        {"app.js", "text/javascript; charset=utf-8"},
    {"link.js", "text/javascript; charset=utf-8"},    {"common.js", "text/javascript; charset=utf-8"},
    {"en.json", "application/json"},                  {"de.json", "application/json"},
    {"icon.svg", "image/svg+xml"},                    {"mail.js", "text/javascript; charset=utf-8"},
    {"prove.js", "text/javascript; charset=utf-8"},   {"android.js", "text/javascript; charset=utf-8"},
};
#define NFILES ((int)(sizeof(table) / sizeof(table[0])))

static const char *const lang_files[] = {"en.json", "de.json"};
static const char *const lang_names[] = {"en", "de"};

static apr_status_t file_read(apr_pool_t *p, const char *path, const char **data, apr_size_t *len)
{
    apr_file_t *f;
    apr_finfo_t info;
    char *buf;
    apr_status_t rv = apr_file_open(&f, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, f);
    if (rv == APR_SUCCESS && (info.filetype != APR_REG || info.size > FILE_MAX)) {
        rv = APR_EGENERAL;
    }
    if (rv == APR_SUCCESS) {
        buf = apr_pcalloc(p, (apr_size_t)info.size + 1);
        rv = apr_file_read_full(f, buf, (apr_size_t)info.size, len);
        rv = rv == APR_EOF && info.size == 0 ? APR_SUCCESS : rv;
        *data = buf;
    }
    apr_file_close(f);
    return rv;
}

static apr_status_t drop_json(void *j)
{
    json_decref(j);
    return APR_SUCCESS;
}

static apr_status_t texts_load(server_rec *s, apr_pool_t *p, enroll_files_t *files)
{
    json_error_t err;
    int lang, i;

    for (lang = LANG_EN; lang <= LANG_DE; ++lang) {
        for (i = 0; strcmp(files->list[i].name, lang_files[lang]); ++i) {
        }
        if (!(files->texts[lang] = json_loadb(files->list[i].data, files->list[i].len, JSON_REJECT_DUPLICATES, &err))) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "MDM0604: %s is not a catalogue: line %d: %s", lang_files[lang],
                         err.line, err.text);
            return APR_EGENERAL;
        }
        apr_pool_cleanup_register(p, files->texts[lang], drop_json, apr_pool_cleanup_null);
    }
    return APR_SUCCESS;
}

const enroll_files_t *enroll_files_load(server_rec *s, apr_pool_t *p, const char *dir)
{
    enroll_files_t *files = apr_pcalloc(p, sizeof(*files));
    enroll_file_t *list = apr_pcalloc(p, NFILES * sizeof(*list));
    const char *all = "";
    int i;

    for (i = 0; i < NFILES; ++i) {
        const char *path = apr_pstrcat(p, dir, "/", table[i].name, NULL), *hash;
        apr_status_t rv = file_read(p, path, &list[i].data, &list[i].len);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "MDM0603: the portal's file %s can't be read", path);
            return NULL;
        }
        list[i].name = table[i].name;
        list[i].type = table[i].type;
        hash = mdm_sha256_hex(p, list[i].data, list[i].len);
        list[i].etag = apr_psprintf(p, "\"%.32s\"", hash);
        all = apr_pstrcat(p, all, hash, NULL);
    }
    files->list = list;
    files->n = NFILES;
    files->version = apr_pstrndup(p, mdm_sha256_hex(p, all, strlen(all)), 12);
    return texts_load(s, p, files) == APR_SUCCESS ? files : NULL;
}

int enroll_files_answer(mdm_web_call_t *call, const char *name)
{
    const enroll_conf_t *conf = call->data;
    request_rec *r = call->r;
    int i;

    for (i = 0; conf->files && i < conf->files->n; ++i) {
        const enroll_file_t *f = &conf->files->list[i];
        const char *have;

        if (strcmp(f->name, name)) {
            continue;
        }
        /* An address with the version of all files never changes its meaning. */
        apr_table_setn(r->headers_out, "Cache-Control",
                       r->args && strstr(r->args, conf->files->version) ? "public, max-age=31536000, immutable" : "no-cache");
        apr_table_setn(r->headers_out, "ETag", f->etag);
        have = apr_table_get(r->headers_in, "If-None-Match");
        if (have && ap_find_etag_strong(r->pool, have, f->etag)) {
            return mdm_web_empty(r, HTTP_NOT_MODIFIED);
        }
        return mdm_web_bytes(r, HTTP_OK, f->type, f->data, f->len);
    }
    return mdm_web_problem(r, call->ctx, APR_NOTFOUND);
}

enroll_lang_e enroll_lang(request_rec *r)
{
    const char *s = apr_table_get(r->headers_in, "Accept-Language");

    /* Browsers list languages by preference: the first that we have. */
    while (s && *s) {
        s += strspn(s, " ,\t");
        if (!strncasecmp(s, "de", 2)) {
            return LANG_DE;
        }
        if (!strncasecmp(s, "en", 2)) {
            return LANG_EN;
        }
        s = ap_strchr_c(s, ',');
    }
    return LANG_EN;
}

const char *enroll_lang_name(enroll_lang_e lang)
{
    return lang_names[lang];
}

const char *enroll_text(const enroll_conf_t *conf, enroll_lang_e lang, const char *key)
{
    const char *text = conf->files ? json_string_value(json_object_get(conf->files->texts[lang], key)) : NULL;

    return text ? text : key;
}
