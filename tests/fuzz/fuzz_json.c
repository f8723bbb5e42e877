/* Any bytes as JSON: our reader and jansson's accept the same texts and make the same values of them, but for
 * the differences that ours is there for (integers beyond 64 bits) and the limits that it states.
 * seeds: tests/golden/models/clip-tiny/?*.json tests/golden/models/openclip-tiny/?*.json tests/golden/models/st-clip-tiny/?*.json */
#include "fuzz.h"

#include <string.h>

#include "formats/json_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlm_json_fault fault;
    json_error_t theirs_fault;
    const char *text = size ? (const char *)data : "";
    for (int unique = 0; unique < 2; unique++) {
        json_t *ours = vlm_json_build(text, size, unique, &fault);
        json_t *theirs = json_loadb(text, size, JSON_ALLOW_NUL | (unique ? JSON_REJECT_DUPLICATES : 0), &theirs_fault);
        if (ours && !theirs)
            CHECK(json_error_code(&theirs_fault) == json_error_numeric_overflow);
        if (!ours && theirs && !memchr(text, 0, size)) /* a NUL behind a number: jansson 2.14 does not see it */
            CHECK(strcmp(fault.reason, "nested too deeply") == 0 || strcmp(fault.reason, "a number of too many digits") == 0);
        if (ours && theirs)
            CHECK(json_equal(ours, theirs));
        json_decref(ours);
        json_decref(theirs);
    }
    return 0;
}
