/* What a config asks to be done to a picture: preprocessor_config.json, or open_clip's preprocess_cfg.
 * JSON -> vlm_pixel_contract, and a line that names all of it.
 * Matches the image processors of transformers 5.23. Class defaults fill what the file leaves out, but a null
 * stays one there: a switch that is null is off.
 * and open_clip 3.3's PreprocessCfg.
 * Trap: the same keys under another class name mean other numbers: see `processors`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/json.h"
#include "pipeline/pixels.h"

#define CLIP_MEAN {0.48145466, 0.4578275, 0.40821073}
#define CLIP_STD {0.26862954, 0.26130258, 0.27577711}
#define HALVES {0.5, 0.5, 0.5}

/* ADD AN IMAGE PROCESSOR HERE: its class name without Fast, Pil or FeatureExtractor's ending, the model types
 * that take it when the file names none, and its class's defaults. Sizes are square. */
static const struct processor {
    const char *name, *model_types;
    vlm_filter filter;
    size_t size, crop; /* crop 0: do_center_crop is off unless the file says otherwise */
    bool shortest;     /* `size` is the short side */
    bool number_is_shortest; /* so is a bare number in the file */
    bool to_rgb, pads_square;
    double mean[3], std[3];
} processors[] = {
    {"CLIP", " clip ", VLM_FILTER_BICUBIC, 224, 224, true, true, true, false, CLIP_MEAN, CLIP_STD},
    {"ChineseCLIP", " chinese_clip ", VLM_FILTER_BICUBIC, 224, 224, true, true, true, false, CLIP_MEAN, CLIP_STD},
    {"ViT", " vit clipseg ", VLM_FILTER_BILINEAR, 224, 0, false, false, false, false, HALVES, HALVES},
    {"DeiT", " deit ", VLM_FILTER_BICUBIC, 256, 224, false, false, false, false, HALVES, HALVES},
    {"Blip", " blip blip-2 instructblip ", VLM_FILTER_BICUBIC, 384, 0, false, false, true, false, CLIP_MEAN, CLIP_STD},
    {"Siglip", " siglip ", VLM_FILTER_BICUBIC, 224, 0, false, true, true, false, HALVES, HALVES},
    {"Llava", " llava ", VLM_FILTER_BICUBIC, 224, 224, true, true, true, true, CLIP_MEAN, CLIP_STD},
};
enum { N_PROCESSORS = sizeof processors / sizeof *processors, MAX_SIZE = 1 << 20 };

/* ---- Values -------------------------------------------------------------------------------------------- */

static vlm_status get_side(size_t *side, const json_t *object, const char *key, const char *where, vlm_error *error)
{
    vlm_status status = vlm_json_get_size(side, object, key, 0, where, error);
    if (status == VLM_OK && *side > MAX_SIZE)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: \"%s\" is %zu; at most %d pixels are wanted", where, key, *side, MAX_SIZE);
    return status;
}

/* Three numbers, or one for all channels; NaN for null, which check_numbers refuses where they are used. */
static vlm_status get_triple(double values[3], const json_t *object, const char *key, const char *where, vlm_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (!found)
        return VLM_OK;
    if (json_is_null(found)) {
        values[0] = values[1] = values[2] = NAN;
        return VLM_OK;
    }
    bool list = json_is_array(found);
    for (size_t i = 0; i < 3; i++) {
        const json_t *item = list ? json_array_get(found, i) : found;
        if (!json_is_number(item) || (list && json_array_size(found) != 3))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" must be three numbers, or one", where, key);
        values[i] = json_number_value(item);
    }
    return VLM_OK;
}

typedef struct side_set {
    size_t height, width, shortest, longest, max_height, max_width;
} side_set;

/* A "size": a number, [height, width], or an object with the keys of one of the allowed sets. */
static vlm_status get_sides(side_set *sides, const json_t *config, const char *key, bool number_is_shortest, const char *where, vlm_error *error)
{
    const json_t *found = json_object_get(config, key);
    json_t *pair = NULL;
    vlm_status status = VLM_OK;
    if (json_is_integer(found)) {
        size_t side;
        status = get_side(&side, config, key, where, error);
        if (number_is_shortest)
            sides->shortest = side;
        else
            sides->height = sides->width = side;
    } else if (json_is_array(found) && json_array_size(found) == 2) {
        pair = json_pack("{s:O, s:O}", "height", json_array_get(found, 0), "width", json_array_get(found, 1));
        if (!pair)
            return vlm_fail_memory(error, sizeof *sides, where);
        found = pair;
    } else if (!json_is_object(found)) {
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" must be a number, two numbers or an object", where, key);
    }
    if (json_is_object(found)) {
        const struct {
            const char *key;
            size_t *value;
        } keys[] = {{"height", &sides->height},   {"width", &sides->width},           {"shortest_edge", &sides->shortest},
                    {"longest_edge", &sides->longest}, {"max_height", &sides->max_height}, {"max_width", &sides->max_width}};
        for (size_t i = 0; i < sizeof keys / sizeof *keys && status == VLM_OK; i++)
            status = get_side(keys[i].value, found, keys[i].key, where, error);
    }
    json_decref(pair);
    return status;
}

static vlm_status get_resize(vlm_pixel_contract *contract, const json_t *config, bool number_is_shortest, const char *where, vlm_error *error)
{
    const json_t *found = json_object_get(config, "size");
    if (!found || contract->resize == VLM_RESIZE_NONE)
        return VLM_OK;
    side_set s = {0};
    vlm_status status = get_sides(&s, config, "size", number_is_shortest, where, error);
    if (status != VLM_OK)
        return status;
    contract->shortest = contract->longest = contract->resize_height = contract->resize_width = 0;
    if (s.shortest) {
        contract->resize = VLM_RESIZE_SHORTEST;
        contract->shortest = s.shortest;
        contract->longest = s.longest;
    } else if (s.max_height && s.max_width) {
        contract->resize = VLM_RESIZE_WITHIN;
        contract->resize_height = s.max_height;
        contract->resize_width = s.max_width;
    } else if (s.height && s.width) {
        contract->resize = VLM_RESIZE_EXACT;
        contract->resize_height = s.height;
        contract->resize_width = s.width;
    } else {
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: \"size\" must have height and width, max_height and max_width, or shortest_edge, none of them 0", where);
    }
    return VLM_OK;
}

static vlm_status get_rectangle(size_t *height, size_t *width, const json_t *config, const char *key, const char *where, vlm_error *error)
{
    const json_t *found = json_object_get(config, key);
    if (!found)
        return VLM_OK;
    *height = *width = 0;
    if (json_is_null(found))
        return VLM_OK;
    side_set s = {0};
    vlm_status status = get_sides(&s, config, key, false, where, error);
    if (status == VLM_OK && !(s.height && s.width))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" must have height and width, neither of them 0", where, key);
    *height = s.height;
    *width = s.width;
    return status;
}

static void fix_size(vlm_pixel_contract *contract)
{
    contract->height = contract->width = 0;
    if (contract->pad && contract->pad_height) {
        contract->height = contract->pad_height;
        contract->width = contract->pad_width;
    } else if (contract->crop) {
        contract->height = contract->crop_height;
        contract->width = contract->crop_width;
    } else if (contract->resize == VLM_RESIZE_EXACT) {
        contract->height = contract->resize_height;
        contract->width = contract->resize_width;
    } else if (contract->resize == VLM_RESIZE_SHORTEST && contract->pad_square) {
        contract->height = contract->width = contract->shortest;
    }
}

static vlm_status check_numbers(const vlm_pixel_contract *contract, const char *where, vlm_error *error)
{
    bool finite = !contract->rescale || (isfinite(contract->rescale_factor) && contract->rescale_factor != 0);
    for (int c = 0; c < 3; c++) {
        finite = finite && (!contract->normalize || (isfinite(contract->mean[c]) && isfinite(contract->std[c])));
        if (contract->normalize && (float)contract->std[c] == 0)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"image_std\" has a 0, by which pixels would be divided", where);
        if (contract->pad_square && !(contract->mean[c] >= 0 && contract->mean[c] <= 1))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"image_mean\" is the colour of the padding: 0 to 1 is wanted", where);
    }
    if (!finite)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"rescale_factor\", \"image_mean\" and \"image_std\" must be numbers where they are used, and the factor not 0", where);
    return VLM_OK;
}

/* ---- transformers -------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t n = strlen(end);
    return length >= n && memcmp(text + length - n, end, n) == 0;
}

/* The row of a class name, and whether it is torchvision's: "CLIPImageProcessorFast". */
static const struct processor *find_class(const char *name, bool *fast)
{
    size_t length = strlen(name);
    *fast = ends_with(name, length, "Fast");
    if (*fast)
        length -= strlen("Fast");
    else if (ends_with(name, length, "Pil"))
        length -= strlen("Pil");
    if (ends_with(name, length, "ImageProcessor"))
        length -= strlen("ImageProcessor");
    else if (ends_with(name, length, "FeatureExtractor"))
        length -= strlen("FeatureExtractor");
    else
        return NULL;
    for (size_t i = 0; i < N_PROCESSORS; i++)
        if (strlen(processors[i].name) == length && memcmp(processors[i].name, name, length) == 0)
            return &processors[i];
    return NULL;
}

static const struct processor *find_model_type(const char *type)
{
    char padded[64];
    size_t length = strlen(type);
    if (length == 0 || length + 3 > sizeof padded || strchr(type, ' '))
        return NULL;
    padded[0] = ' ';
    memcpy(padded + 1, type, length);
    memcpy(padded + 1 + length, " ", 2);
    for (size_t i = 0; i < N_PROCESSORS; i++)
        if (strstr(processors[i].model_types, padded))
            return &processors[i];
    return NULL;
}

/* "CLIPProcessor": an old file's only hint. */
static const struct processor *find_processor_class(const char *name)
{
    size_t length = strlen(name);
    if (!ends_with(name, length, "Processor"))
        return NULL;
    length -= strlen("Processor");
    const char *found = name;
    if (length == strlen("Blip2") && memcmp(name, "Blip2", length) == 0)
        length--; /* BLIP-2 takes BLIP's */
    for (size_t i = 0; i < N_PROCESSORS; i++)
        if (strlen(processors[i].name) == length && memcmp(processors[i].name, found, length) == 0)
            return &processors[i];
    return NULL;
}

static vlm_status find_processor(const struct processor **row, bool *fast, const json_t *config, const char *model_type, const char *where, vlm_error *error)
{
    const char *name = NULL, *whole = NULL;
    vlm_status status = vlm_json_get_string(&name, config, "image_processor_type", NULL, where, error);
    if (status == VLM_OK && !name)
        status = vlm_json_get_string(&name, config, "feature_extractor_type", NULL, where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&whole, config, "processor_class", NULL, where, error);
    if (status != VLM_OK)
        return status;
    *fast = false;
    *row = name ? find_class(name, fast) : NULL;
    if (!name && model_type)
        *row = find_model_type(model_type);
    if (!name && !*row && whole)
        *row = find_processor_class(whole);
    if (*row)
        return VLM_OK;
    const char *found = name ? name : model_type ? model_type : whole ? whole : "none";
    return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: image processor \"%s\"; CLIP's, ChineseCLIP's, ViT's, DeiT's, BLIP's, SigLIP's and LLaVA's are known%s", where, found,
                    name ? "" : " (\"image_processor_type\" names it)");
}

static void set_defaults(vlm_pixel_contract *contract, const struct processor *row, bool fast)
{
    *contract = (vlm_pixel_contract){.reference = fast ? VLM_PIXELS_TRANSFORMERS_FAST : VLM_PIXELS_TRANSFORMERS_PIL,
                                     .filter = row->filter,
                                     .resize = row->shortest ? VLM_RESIZE_SHORTEST : VLM_RESIZE_EXACT,
                                     .crop_height = row->crop,
                                     .crop_width = row->crop,
                                     .rescale_factor = 1.0 / 255};
    if (row->shortest)
        contract->shortest = row->size;
    else
        contract->resize_height = contract->resize_width = row->size;
    memcpy(contract->mean, row->mean, sizeof contract->mean);
    memcpy(contract->std, row->std, sizeof contract->std);
}

static vlm_status parse_switches(vlm_pixel_contract *contract, const struct processor *row, const json_t *config, const char *where, vlm_error *error)
{
    bool resize = true, to_rgb = row->to_rgb, pad = false;
    const struct {
        const char *key;
        bool *value, fallback;
    } switches[] = {{"do_resize", &resize, true},
                    {"do_center_crop", &contract->crop, row->crop != 0},
                    {"do_rescale", &contract->rescale, true},
                    {"do_normalize", &contract->normalize, true},
                    {"do_convert_rgb", &to_rgb, row->to_rgb},
                    {"do_pad", &pad, false}};
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < sizeof switches / sizeof *switches && status == VLM_OK; i++) {
        bool fallback = switches[i].fallback && !json_is_null(json_object_get(config, switches[i].key));
        status = vlm_json_get_bool(switches[i].value, config, switches[i].key, fallback, where, error);
    }
    if (!resize)
        contract->resize = VLM_RESIZE_NONE;
    contract->alpha = to_rgb ? VLM_ALPHA_WHITE : VLM_ALPHA_DROP;
    contract->pad_square = pad && row->pads_square;
    contract->pad = pad && !row->pads_square;
    return status;
}

static vlm_status parse_filter(vlm_pixel_contract *contract, const json_t *config, const char *where, vlm_error *error)
{
    size_t filter, fallback = json_is_null(json_object_get(config, "resample")) ? VLM_FILTER_BILINEAR : contract->filter;
    vlm_status status = vlm_json_get_size(&filter, config, "resample", fallback, where, error);
    if (status != VLM_OK)
        return status;
    if (filter > VLM_FILTER_HAMMING)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: \"resample\" is %zu; 0 (nearest) to 5 (Hamming) are Pillow's filters", where, filter);
    contract->filter = (vlm_filter)filter;
    if (contract->reference == VLM_PIXELS_TRANSFORMERS_FAST && contract->resize != VLM_RESIZE_NONE && filter >= VLM_FILTER_BOX)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: \"resample\" is %zu, which torchvision does not have; a class name without Fast asks for Pillow's resize", where,
                        filter);
    return VLM_OK;
}

static vlm_status parse(vlm_pixel_contract *contract, const json_t *config, const char *model_type, const char *where, vlm_error *error)
{
    const struct processor *row;
    bool fast, to_square;
    vlm_status status = find_processor(&row, &fast, config, model_type, where, error);
    if (status != VLM_OK)
        return status;
    set_defaults(contract, row, fast);
    to_square = !row->number_is_shortest && !json_is_null(json_object_get(config, "default_to_square"));
    if ((status = vlm_json_get_bool(&to_square, config, "default_to_square", to_square, where, error)) != VLM_OK ||
        (status = parse_switches(contract, row, config, where, error)) != VLM_OK ||
        (status = get_resize(contract, config, !to_square, where, error)) != VLM_OK || (status = parse_filter(contract, config, where, error)) != VLM_OK ||
        (status = get_rectangle(&contract->crop_height, &contract->crop_width, config, "crop_size", where, error)) != VLM_OK ||
        (status = get_rectangle(&contract->pad_height, &contract->pad_width, config, "pad_size", where, error)) != VLM_OK ||
        (status = vlm_json_get_double(&contract->rescale_factor, config, "rescale_factor", contract->rescale_factor, where, error)) != VLM_OK ||
        (status = get_triple(contract->mean, config, "image_mean", where, error)) != VLM_OK ||
        (status = get_triple(contract->std, config, "image_std", where, error)) != VLM_OK)
        return status;
    if (json_is_null(json_object_get(config, "rescale_factor")))
        contract->rescale_factor = NAN;
    if (contract->crop && !contract->crop_height)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"do_center_crop\" is true and there is no \"crop_size\"", where);
    fix_size(contract);
    return check_numbers(contract, where, error);
}

vlm_status vlm_pixel_contract_parse(vlm_pixel_contract *contract, const json_t *config, const char *where, vlm_error *error)
{
    if (!json_is_object(config))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: an object is wanted", where);
    const json_t *nested = json_object_get(config, "image_processor");
    return parse(contract, json_is_object(nested) ? nested : config, NULL, where, error);
}

/* The nested object of processor_config.json wins, as in the reference; files of that name without one are
 * about something else. */
static vlm_status read_config(json_t **root, const json_t **config, char **path, const char *folder, vlm_error *error)
{
    static const char *const names[] = {"processor_config.json", "preprocessor_config.json"};
    for (int i = 0; i < 2; i++) {
        *path = vlm_join_path(folder, names[i]);
        if (!*path)
            return vlm_fail_memory(error, strlen(folder), folder);
        if (vlm_file_exists(*path)) {
            vlm_status status = vlm_json_read(root, *path, error);
            if (status != VLM_OK)
                return status;
            const json_t *nested = json_object_get(*root, "image_processor");
            *config = json_is_object(nested) ? nested : i == 1 ? *root : NULL;
            if (*config)
                return VLM_OK;
            json_decref(*root);
            *root = NULL;
        }
        free(*path);
        *path = NULL;
    }
    return vlm_fail(error, VLM_ERR_IO, "%s: neither preprocessor_config.json nor processor_config.json with an image_processor; it says what a picture becomes", folder);
}

/* The folder's model_type, for files that do not name their processor. Absent: an empty text. */
static vlm_status read_model_type(char *type, size_t size, const char *folder, vlm_error *error)
{
    *type = 0;
    char *path = vlm_join_path(folder, "config.json");
    if (!path)
        return vlm_fail_memory(error, strlen(folder), folder);
    json_t *root = NULL;
    vlm_status status = vlm_file_exists(path) ? vlm_json_read(&root, path, error) : VLM_OK;
    const char *found = json_string_value(json_object_get(root, "model_type"));
    if (found && strlen(found) < size)
        strcpy(type, found);
    json_decref(root);
    free(path);
    return status;
}

vlm_status vlm_pixel_contract_read(vlm_pixel_contract *contract, const char *folder, vlm_error *error)
{
    json_t *root = NULL;
    const json_t *config = NULL;
    char *path = NULL, type[64] = "";
    vlm_status status = read_config(&root, &config, &path, folder, error);
    if (status == VLM_OK && !json_object_get(config, "image_processor_type") && !json_object_get(config, "feature_extractor_type"))
        status = read_model_type(type, sizeof type, folder, error);
    if (status == VLM_OK)
        status = parse(contract, config, *type ? type : NULL, path, error);
    json_decref(root);
    free(path);
    return status;
}

/* ---- open_clip ----------------------------------------------------------------------------------------- */

static vlm_status parse_openclip_resize(vlm_pixel_contract *contract, const json_t *cfg, size_t height, size_t width, const char *where, vlm_error *error)
{
    const char *interpolation, *mode;
    vlm_status status = vlm_json_get_string(&interpolation, cfg, "interpolation", "bicubic", where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&mode, cfg, "resize_mode", "shortest", where, error);
    if (status != VLM_OK)
        return status;
    if (strcmp(interpolation, "bilinear") == 0)
        contract->filter = VLM_FILTER_BILINEAR;
    else if (strcmp(interpolation, "bicubic") != 0 && strcmp(interpolation, "random") != 0)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: \"interpolation\" is \"%s\"; bicubic, bilinear or random is wanted", where, interpolation);
    contract->crop = strcmp(mode, "squash") != 0;
    contract->crop_height = contract->resize_height = height;
    contract->crop_width = contract->resize_width = width;
    if (strcmp(mode, "squash") == 0) {
        contract->resize = VLM_RESIZE_EXACT;
    } else if (strcmp(mode, "longest") == 0) {
        contract->resize = VLM_RESIZE_KEEP_LONG;
    } else if (strcmp(mode, "shortest") != 0) {
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: \"resize_mode\" is \"%s\"; shortest, longest or squash is wanted", where, mode);
    } else if (height == width) {
        contract->resize = VLM_RESIZE_SHORTEST;
        contract->shortest = height;
    } else {
        contract->resize = VLM_RESIZE_KEEP_SHORT;
        contract->filter = VLM_FILTER_BICUBIC; /* open_clip forgets to pass the interpolation on here */
    }
    return VLM_OK;
}

vlm_status vlm_pixel_contract_openclip(vlm_pixel_contract *contract, const json_t *preprocess_cfg, size_t image_height, size_t image_width, const char *where, vlm_error *error)
{
    *contract = (vlm_pixel_contract){.reference = VLM_PIXELS_OPENCLIP,
                                     .alpha = VLM_ALPHA_DROP,
                                     .filter = VLM_FILTER_BICUBIC,
                                     .rescale = true,
                                     .rescale_factor = 1.0 / 255,
                                     .normalize = true,
                                     .mean = CLIP_MEAN,
                                     .std = CLIP_STD};
    if (image_height == 0 || image_width == 0 || image_height > MAX_SIZE || image_width > MAX_SIZE)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: an image size of %zu x %zu; 1 to %d is wanted", where, image_height, image_width, MAX_SIZE);
    size_t fill;
    const char *mode;
    vlm_status status = parse_openclip_resize(contract, preprocess_cfg, image_height, image_width, where, error);
    if (status != VLM_OK || (status = vlm_json_get_string(&mode, preprocess_cfg, "mode", "RGB", where, error)) != VLM_OK ||
        (status = vlm_json_get_size(&fill, preprocess_cfg, "fill_color", 0, where, error)) != VLM_OK ||
        (status = get_triple(contract->mean, preprocess_cfg, "mean", where, error)) != VLM_OK ||
        (status = get_triple(contract->std, preprocess_cfg, "std", where, error)) != VLM_OK)
        return status;
    if (strcmp(mode, "RGB") != 0 || fill > 255)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: mode \"%s\" with fill_color %zu; RGB and 0 to 255 are wanted", where, mode, fill);
    /* Only the padding of "longest" takes the colour; the crop of the other modes pads with 0. */
    contract->crop_fill = contract->resize == VLM_RESIZE_KEEP_LONG ? (int)fill : 0;
    fix_size(contract);
    return check_numbers(contract, where, error);
}

/* ---- The line ------------------------------------------------------------------------------------------ */

/* The shortest decimal that reads back as the same double. */
static void put_number(vlm_text *text, double x)
{
    char digits[32];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, x);
        if (strtod(digits, NULL) == x)
            break;
    }
    vlm_text_puts(text, digits);
}

static void put_triple(vlm_text *text, const char *name, const double x[3])
{
    vlm_text_puts(text, name);
    for (int c = 0; c < 3; c++) {
        vlm_text_puts(text, c ? "," : "");
        put_number(text, x[c]);
    }
}

static void put_resize(vlm_text *text, const vlm_pixel_contract *c)
{
    static const char *const filters[] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};
    if (c->resize != VLM_RESIZE_NONE)
        vlm_text_printf(text, " %s", filters[c->filter]);
    switch (c->resize) {
    case VLM_RESIZE_NONE: break;
    case VLM_RESIZE_EXACT: vlm_text_printf(text, " size=%zux%zu", c->resize_height, c->resize_width); break;
    case VLM_RESIZE_SHORTEST: vlm_text_printf(text, " shortest=%zu", c->shortest); break;
    case VLM_RESIZE_WITHIN: vlm_text_printf(text, " within=%zux%zu", c->resize_height, c->resize_width); break;
    case VLM_RESIZE_KEEP_SHORT: vlm_text_printf(text, " cover=%zux%zu", c->resize_height, c->resize_width); break;
    case VLM_RESIZE_KEEP_LONG: vlm_text_printf(text, " fit=%zux%zu", c->resize_height, c->resize_width); break;
    }
    if (c->resize == VLM_RESIZE_SHORTEST && c->longest)
        vlm_text_printf(text, " longest=%zu", c->longest);
}

bool vlm_pixel_contract_describe(char *line, size_t size, const vlm_pixel_contract *c)
{
    static const char *const references[] = {"transformers-5.23 pillow-13.0", "transformers-5.23 torchvision-0.29", "open_clip-3.3 pillow-13.0"};
    vlm_text text = {0};
    vlm_text_puts(&text, references[c->reference]);
    if (c->pad_square)
        vlm_text_puts(&text, " square=mean");
    put_resize(&text, c);
    if (c->crop)
        vlm_text_printf(&text, " crop=%zux%zu", c->crop_height, c->crop_width);
    if (c->crop_fill)
        vlm_text_printf(&text, " fill=%d", c->crop_fill);
    if (c->rescale) {
        vlm_text_puts(&text, " rescale=");
        if (c->rescale_factor == 1.0 / 255)
            vlm_text_puts(&text, "1/255");
        else
            put_number(&text, c->rescale_factor);
    }
    if (c->normalize) {
        put_triple(&text, " mean=", c->mean);
        put_triple(&text, " std=", c->std);
    }
    if (c->pad && c->pad_height)
        vlm_text_printf(&text, " pad=%zux%zu", c->pad_height, c->pad_width);
    vlm_text_printf(&text, " exif=applied alpha=%s", c->alpha == VLM_ALPHA_WHITE ? "white" : "dropped");
    if (size) {
        size_t n = text.failed || !text.data ? 0 : text.length < size - 1 ? text.length : size - 1;
        if (n)
            memcpy(line, text.data, n);
        line[n] = 0;
    }
    bool whole = !text.failed;
    vlm_text_free(&text);
    return whole;
}
