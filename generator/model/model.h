/* Private to generator/: what the files of this folder share. */
#ifndef ATTUNE_MODEL_H
#define ATTUNE_MODEL_H

#include "generator/generator.h"

/* attune_estimate_with for a resolved problem. */
double attune_estimate_resolved(const attune_config *config, const attune_problem *problem, const attune_device *device,
                                const attune_footprint footprints[ATTUNE_STEPS_MAX], attune_estimate_memo *memo);

/* The typical part of the device's architecture, or of the newest one before it. */
void attune_device_typical(attune_device *out, const attune_device *device);

#endif
