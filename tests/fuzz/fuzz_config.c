/* Any bytes as a model's config, beside real weights: config.json and open_clip_config.json either fit the
 * checkpoint or are refused before anything of their size is allocated; preprocessor_config.json either says
 * what a picture becomes or is refused.
 * seeds: tests/golden/models/?*-tiny/?*config.json tests/golden/models/clip-tiny-gelu-bin/?*config.json tests/golden/models/st-multilingual-tiny/0_Transformer/config.json */
#include "fuzz.h"

#include <string.h>

#include "formats/checkpoint.h"
#include "formats/json.h"
#include "models/network.h"
#include "pipeline/pixels.h"
#include "vlm/vlm.h"

#define MODELS VLM_SOURCE_FOLDER "/tests/golden/models/"

/* The weights that a config of this type is tried on; opened once. */
static const vlm_checkpoint *weights_for(const char *type)
{
    static const struct {
        const char *type, *folder;
    } models[] = {{"vit", MODELS "vit-tiny"}, {"siglip", MODELS "siglip-tiny"}, {"openclip", MODELS "openclip-tiny"},
                  {"distilbert", MODELS "st-multilingual-tiny/0_Transformer"}, {"", MODELS "clip-tiny"}};
    enum { N_MODELS = sizeof models / sizeof *models };
    static vlm_checkpoint *opened[N_MODELS];
    size_t i = 0;
    while (i + 1 < N_MODELS && strcmp(type, models[i].type) != 0)
        i++;
    vlm_error error = {0};
    if (!opened[i] && vlm_checkpoint_open(&opened[i], models[i].folder, &error) != VLM_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    return opened[i];
}

static void build_network(const json_t *config)
{
    vlm_network *network = NULL;
    vlm_error error = {0};
    vlm_network_options options = {.parts = VLM_PART_VISION | VLM_PART_TEXT};
    const json_t *model_cfg = json_object_get(config, "model_cfg");
    const char *type = json_string_value(json_object_get(config, "model_type"));
    vlm_status status = model_cfg ? vlm_network_create_openclip(&network, model_cfg, false, weights_for("openclip"), &options, "config", &error)
                                  : vlm_network_create(&network, config, weights_for(type ? type : ""), &options, "config", &error);
    CHECK((status == VLM_OK) == (network != NULL) && (status == VLM_OK) == !error.message[0]);
    vlm_network_free(network);
}

static void read_pixel_contract(const json_t *config)
{
    vlm_pixel_contract contract;
    vlm_error error = {0};
    char line[512];
    if (vlm_pixel_contract_parse(&contract, config, "config", &error) == VLM_OK)
        CHECK(vlm_pixel_contract_describe(line, sizeof line, &contract) && line[0]);
    const json_t *preprocess = json_object_get(config, "preprocess_cfg");
    if (preprocess && vlm_pixel_contract_openclip(&contract, preprocess, 32, 32, "config", &error) == VLM_OK)
        CHECK(vlm_pixel_contract_describe(line, sizeof line, &contract) && line[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config;
    if (vlm_json_parse(&config, size ? (const char *)data : "", size, "config", NULL) != VLM_OK)
        return 0;
    build_network(config);
    read_pixel_contract(config);
    json_decref(config);
    return 0;
}
