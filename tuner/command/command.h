/* Private to tuner/: what the verbs share. */
#ifndef ATTUNE_COMMAND_H
#define ATTUNE_COMMAND_H

#include "tuner/tuner.h"

/* What verbs print with --json: README.md has the names and units. null where a number is infinite or none, which JSON
 * cannot say; a time is not above zero, or a count is negative: it was not taken. */
json_t *attune_json_number(double value);
json_t *attune_json_time(double value);
json_t *attune_json_count(int64_t value);
json_t *attune_json_class(const attune_problem *problem); /* its class text */
json_t *attune_json_text(const char *text);               /* '?' for bytes beyond ASCII where it is not UTF-8 */
const char *attune_text_or_null(const char *text);        /* NULL: "" */
/* Takes the value; NULL, what json_pack makes of a fault, is a failure. */
attune_status attune_json_append(json_t *array, json_t *value);
/* Prints the document, with the status and message of a success, and a newline to stdout, and frees it; NULL is a
 * failure. */
attune_status attune_print_json(json_t *document);
/* 0: done, 1: failed, 2: misused, 130: interrupted. */
int attune_exit_code(attune_status status);
/* Parses the flags and answers --help and --like ?. true: go on; false: return *exit_code. */
bool attune_verb_begin(attune_flags *flags, int *exit_code, int argc, char **argv);
/* A flag that the verb cannot do without. */
attune_status attune_require(const char *value, const char *flag, const char *what_for);
/* The device to open: --device, or NULL for the usual one, or "host" where there is none, which stderr is told. */
const char *attune_device_name(const attune_flags *flags);
/* Whether --arch or --like says for what, which need not be present; then it is *device. --sm-count and the like
 * without one of them are misuse, as are two of --arch, --like and a --device that measures. */
attune_status attune_device_modelled(attune_device *device, bool *modelled, const attune_flags *flags);
/* The device of --arch or --like, else that of --device: limits, and "sm_90" or "host". */
attune_status attune_device_of_flags(attune_device *device, char arch[16], const attune_flags *flags);
/* The config of --config, which must fit the problem and the device, or the best of --family by the model, or the
 * default. */
attune_status attune_config_of_flags(attune_config *out, const attune_flags *flags, const attune_problem *problem,
                                     const attune_device *device);
/* The problem of the flags; where there is --config and no problem flag, the smallest one that the config is for. */
attune_status attune_problem_of_config(attune_problem *out, const attune_flags *flags);

#endif
