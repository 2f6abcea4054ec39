/* Owns QR codes as pictures (PEN-07): dark on white with the quiet zone around, whatever the theme, since cameras need the contrast. */
#ifndef MDM_QR_H
#define MDM_QR_H

#include "base/mdm_text.h"

#define MDM_QR_MAX 2953   /* bytes that the largest code holds */
#define MDM_QR_MARGIN 4   /* squares of quiet zone on each side */

/* MDM_EINPUT: no text, or more than a code holds. In ctx's pool. */
apr_status_t mdm_qr_svg(mdm_ctx_t *ctx, const char *text, mdm_blob_t *out);
/* One bit for each pixel, 6 to 12 pixels for each square. */
apr_status_t mdm_qr_png(mdm_ctx_t *ctx, const char *text, mdm_blob_t *out);

#endif
