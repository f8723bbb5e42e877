/* Drawings composed into scenes: what vlm_dataset_open_scenes (data.h) opens, seen by those who measure.
 *
 * A folder holds drawings.tsv, whose first line names the columns: "name" and "file" (a picture with
 * transparency, beside the table) are needed; "concept" (equal for the drawings of one thing; else the name
 * is), "category", "keywords" (separated by commas), "artist", "set", "split" (else "train") and "mirror" (no: its
 * mirror image means something else) may be there.
 *
 * Keys of the config's "data" object, with what they are when left out:
 *   "split": "train"      only the rows of this split
 *   "sets": [...]         only these sets; left out: all
 *   "scale": [0.5, 1]     side of a drawing's box, of the picture's
 *   "rotation": 7         standard deviation, degrees
 *   "aspect": 0.1, "shear": 0.05, "warp": 0.03   standard deviations; the warp is the largest displacement
 *   "mirror": 0.3         share of the drawings that may be mirrored that are
 *   "two_objects": 0.1    share of scenes with two, and a caption such as "a dog left of an apple"
 *   "style": 0            strength of changes of colour, 0..1
 *   "ramp": 0.3           clutter, scales, second objects, style grow over this part of the run,
 *   "ramp_from": 0.15     from this share to their full measure
 *   "captions": "mixed"   or "name": the name alone
 *   "clean": false        the drawing alone, upright, in the middle, at 90 % on white */
#ifndef VLM_TRAIN_SCENES_H
#define VLM_TRAIN_SCENES_H

#include "train/data.h"

/* Item i of a dataset that vlm_dataset_open_scenes opened is a concept; texts are borrowed from it. */
typedef struct vlm_scene_concept {
    const char *key, *name, *category;
    size_t n_drawings;
} vlm_scene_concept;

vlm_scene_concept vlm_scenes_concept(const vlm_dataset *dataset, size_t item);

#endif
