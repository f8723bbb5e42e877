/* OpenCLIP's built-in configs that are plain CLIP with a vision transformer: facts of its model_configs, as the
 * model_cfg of an open_clip_config.json. Used by --arch NAME for a checkpoint file without a config. */
#include "models/openclip_configs.h"

#include <string.h>

static const struct {
    const char *name, *json;
} configs[] = {
    {"ViT-B-16-plus-240", "{\"embed_dim\":640,\"vision_cfg\":{\"image_size\":240,\"layers\":12,\"width\":896,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":640,\"heads\":10,\"layers\":12}}"},
    {"ViT-B-16-plus", "{\"embed_dim\":640,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":896,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":640,\"heads\":10,\"layers\":12}}"},
    {"ViT-B-16-quickgelu", "{\"embed_dim\":512,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":768,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-B-16", "{\"embed_dim\":512,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":768,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-B-32-256", "{\"embed_dim\":512,\"vision_cfg\":{\"image_size\":256,\"layers\":12,\"width\":768,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-B-32-plus-256", "{\"embed_dim\":640,\"vision_cfg\":{\"image_size\":256,\"layers\":12,\"width\":896,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":640,\"heads\":10,\"layers\":12}}"},
    {"ViT-B-32-quickgelu", "{\"embed_dim\":512,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":768,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-B-32", "{\"embed_dim\":512,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":768,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-H-14-378-quickgelu", "{\"embed_dim\":1024,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":378,\"layers\":32,\"width\":1280,\"head_width\":80,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
    {"ViT-H-14-378", "{\"embed_dim\":1024,\"vision_cfg\":{\"image_size\":378,\"layers\":32,\"width\":1280,\"head_width\":80,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
    {"ViT-H-14-quickgelu", "{\"embed_dim\":1024,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":224,\"layers\":32,\"width\":1280,\"head_width\":80,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
    {"ViT-H-14", "{\"embed_dim\":1024,\"vision_cfg\":{\"image_size\":224,\"layers\":32,\"width\":1280,\"head_width\":80,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
    {"ViT-H-16", "{\"embed_dim\":1024,\"vision_cfg\":{\"image_size\":224,\"layers\":32,\"width\":1280,\"head_width\":80,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
    {"ViT-L-14-280", "{\"embed_dim\":768,\"vision_cfg\":{\"image_size\":280,\"layers\":24,\"width\":1024,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-14-336-quickgelu", "{\"embed_dim\":768,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":336,\"layers\":24,\"width\":1024,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-14-336", "{\"embed_dim\":768,\"vision_cfg\":{\"image_size\":336,\"layers\":24,\"width\":1024,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-14-quickgelu", "{\"embed_dim\":768,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":224,\"layers\":24,\"width\":1024,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-14", "{\"embed_dim\":768,\"vision_cfg\":{\"image_size\":224,\"layers\":24,\"width\":1024,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-16-320", "{\"embed_dim\":768,\"vision_cfg\":{\"image_size\":320,\"layers\":24,\"width\":1024,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-L-16", "{\"embed_dim\":768,\"vision_cfg\":{\"image_size\":224,\"layers\":24,\"width\":1024,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":768,\"heads\":12,\"layers\":12}}"},
    {"ViT-M-16-alt", "{\"embed_dim\":384,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":512,\"patch_size\":16,\"ls_init_value\":0.0001},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":384,\"heads\":6,\"layers\":12}}"},
    {"ViT-M-16", "{\"embed_dim\":512,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":512,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-M-32-alt", "{\"embed_dim\":384,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":512,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":384,\"heads\":6,\"layers\":12}}"},
    {"ViT-M-32", "{\"embed_dim\":512,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":512,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":512,\"heads\":8,\"layers\":12}}"},
    {"ViT-S-16-alt", "{\"embed_dim\":256,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":384,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":256,\"heads\":4,\"layers\":10}}"},
    {"ViT-S-16", "{\"embed_dim\":384,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":384,\"patch_size\":16},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":384,\"heads\":6,\"layers\":12}}"},
    {"ViT-S-32-alt", "{\"embed_dim\":256,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":384,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":256,\"heads\":4,\"layers\":10}}"},
    {"ViT-S-32", "{\"embed_dim\":384,\"vision_cfg\":{\"image_size\":224,\"layers\":12,\"width\":384,\"patch_size\":32},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":384,\"heads\":6,\"layers\":12}}"},
    {"ViT-bigG-14-quickgelu", "{\"embed_dim\":1280,\"quick_gelu\":true,\"vision_cfg\":{\"image_size\":224,\"layers\":48,\"width\":1664,\"head_width\":104,\"mlp_ratio\":4.9231,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1280,\"heads\":20,\"layers\":32}}"},
    {"ViT-bigG-14", "{\"embed_dim\":1280,\"vision_cfg\":{\"image_size\":224,\"layers\":48,\"width\":1664,\"head_width\":104,\"mlp_ratio\":4.9231,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1280,\"heads\":20,\"layers\":32}}"},
    {"ViT-e-14", "{\"embed_dim\":1280,\"vision_cfg\":{\"image_size\":224,\"layers\":56,\"width\":1792,\"head_width\":112,\"mlp_ratio\":8.5715,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1280,\"heads\":20,\"layers\":36}}"},
    {"ViT-g-14", "{\"embed_dim\":1024,\"vision_cfg\":{\"image_size\":224,\"layers\":40,\"width\":1408,\"head_width\":88,\"mlp_ratio\":4.3637,\"patch_size\":14},\"text_cfg\":{\"context_length\":77,\"vocab_size\":49408,\"width\":1024,\"heads\":16,\"layers\":24}}"},
};

const char *vlm_openclip_config(const char *name)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        if (strcmp(name, configs[i].name) == 0)
            return configs[i].json;
    return NULL;
}

const char *vlm_openclip_config_name(size_t i)
{
    return i < sizeof configs / sizeof *configs ? configs[i].name : NULL;
}
