/* JSON configs on jansson: hostile text in, typed values or a named error out. */
#include "formats/json.h"

#include "base/fail.h"
#include "base/file.h"
#include "formats/json_parse.h"

vlm_status vlm_json_parse(json_t **root, const char *text, size_t length, const char *name, vlm_error *error)
{
    vlm_json_fault fault;
    *root = vlm_json_build(text, length, false, &fault);
    if (!*root && !fault.reason)
        return vlm_fail_memory(error, length, name);
    if (!*root)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: not valid JSON at line %zu, column %zu: %s", name, fault.line, fault.column, fault.reason);
    return VLM_OK;
}

vlm_status vlm_json_read(json_t **root, const char *path, vlm_error *error)
{
    *root = NULL;
    vlm_mapping file;
    vlm_status status = vlm_map_file(&file, path, error);
    if (status != VLM_OK)
        return status;
    if (file.size > (size_t)512 << 20)
        status = vlm_fail(error, VLM_ERR_LIMIT, "%s: %zu bytes of JSON; at most 512 MiB are read", path, file.size);
    else
        status = vlm_json_parse(root, file.size ? (const char *)file.data : "", file.size, path, error);
    vlm_unmap(&file);
    return status;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer", "a real number", "true", "false", "null"};
    return names[json_typeof(value)];
}

vlm_status vlm_json_get_size(size_t *value, const json_t *object, const char *key, size_t fallback, const char *where, vlm_error *error)
{
    *value = fallback;
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return VLM_OK;
    if (!json_is_integer(found))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is %s; an integer is wanted", where, key, type_name(found));
    json_int_t number = json_integer_value(found);
    if (number < 0 || number > 0x7fffffff)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is %lld; 0 to 2147483647 is wanted", where, key, (long long)number);
    *value = (size_t)number;
    return VLM_OK;
}

vlm_status vlm_json_get_double(double *value, const json_t *object, const char *key, double fallback, const char *where, vlm_error *error)
{
    *value = fallback;
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return VLM_OK;
    if (!json_is_number(found))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is %s; a number is wanted", where, key, type_name(found));
    *value = json_number_value(found);
    return VLM_OK;
}

vlm_status vlm_json_get_bool(bool *value, const json_t *object, const char *key, bool fallback, const char *where, vlm_error *error)
{
    *value = fallback;
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return VLM_OK;
    if (!json_is_boolean(found))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is %s; true or false is wanted", where, key, type_name(found));
    *value = json_is_true(found);
    return VLM_OK;
}

vlm_status vlm_json_get_string(const char **value, const json_t *object, const char *key, const char *fallback, const char *where, vlm_error *error)
{
    *value = fallback;
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return VLM_OK;
    if (!json_is_string(found))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is %s; a string is wanted", where, key, type_name(found));
    *value = json_string_value(found);
    return VLM_OK;
}
