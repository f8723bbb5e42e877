/* OpenCLIP's built-in configs by name. */
#ifndef VLM_MODELS_OPENCLIP_CONFIGS_H
#define VLM_MODELS_OPENCLIP_CONFIGS_H

#include <stddef.h>

/* The model_cfg of a built-in config ("ViT-B-32", "ViT-L-14-quickgelu") as JSON; NULL when it is not known. */
const char *vlm_openclip_config(const char *name);
/* Name i; NULL past the end. */
const char *vlm_openclip_config_name(size_t i);

#endif
