/* How long history and messages are kept (DEV-16). */
#include "mdm_admin.h"

#include "domain/mdm_retention.h"

int mdm_adm_retention(mdm_web_call_t *call)
{
    return mdm_adm_look(call, mdm_retention_json);
}

int mdm_adm_retention_save(mdm_web_call_t *call)
{
    return mdm_adm_set(call, mdm_retention_edit, mdm_retention_json);
}
