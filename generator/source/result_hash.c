/* What a measured time depends on beside the device: the source without comments and blank space, the launch and the
 * tensor maps. Editing a comment or a cost model changes nothing here. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/buffer.h"
#include "generator/base/hash.h"
#include "generator/base/status.h"
#include "generator/generator.h"

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

/* The end of the comment that begins at text; text where none does. */
static const char *after_comment(const char *text) {
  if (strncmp(text, "//", 2) == 0) return text + strcspn(text, "\n");
  if (strncmp(text, "/*", 2) != 0) return text;
  const char *end = strstr(text + 2, "*/");
  return end != NULL ? end + 2 : text + strlen(text);
}

/* The end of the literal that begins at text; text where none does. A ' after a digit separates digits. */
static const char *after_literal(const char *text, char before) {
  const char quote = *text;
  if (quote != '"' && (quote != '\'' || is_word(before))) return text;
  const char *end = text + 1;
  while (*end != '\0' && *end != quote)
    end += end[0] == '\\' && end[1] != '\0' ? 2 : 1;
  return *end == quote ? end + 1 : end;
}

/* Source as tokens see it, at its own place: a blank stays between two words only; directives end with their line. */
static void strip(char *source) {
  char *out = source, last = '\n';
  const char *in = source;
  bool directive = false, blank = false, line = false;
  while (*in != '\0') {
    const char *end = after_comment(in);
    if (end > in || isspace((unsigned char)*in)) {
      blank = true;
      line |= end == in && *in == '\n';
      in = end > in ? end : in + 1;
      continue;
    }
    if (line && (directive || *in == '#') && last != '\n') *out++ = last = '\n';
    if (line) directive = false;
    if (*in == '#' && last == '\n') directive = true;
    if (blank && ((is_word(last) && is_word(*in)) || directive) && last != '\n') *out++ = ' ';
    blank = line = false;
    end = after_literal(in, last);
    if (end == in) end = in + 1;
    memmove(out, in, (size_t)(end - in));
    out += end - in;
    last = out[-1];
    in = end;
  }
  *out = '\0';
}

static void print_launch(attune_buffer *out, const attune_step *step) {
  const attune_launch *launch = &step->launch;
  attune_buffer_print(out, "\nlaunch grid %d threads %d shared %d tiles %d cluster %d resident %d%s", launch->grid,
                      launch->threads, launch->shared_bytes, launch->tiles_m, launch->cluster, launch->resident,
                      launch->programmatic ? " programmatic" : "");
  for (int i = 0; i < step->map_count; i++) {
    const attune_tensor_map_box *box = &step->maps[i];
    const attune_tensor_map_format *format = &box->format;
    attune_buffer_print(out, "\nmap %s type %d interleave %d swizzle %d promotion %d fill %d",
                        attune_tensor_table[box->tensor].name, format->type, format->interleave, format->swizzle,
                        format->promotion, format->fill);
    attune_buffer_print(out, " size %lld %lld %lld %lld stride %lld %lld %lld columns %d rows %d inner %d",
                        (long long)box->size[0], (long long)box->size[1], (long long)box->size[2],
                        (long long)box->size[3], (long long)box->stride[0], (long long)box->stride[1],
                        (long long)box->stride[2], box->columns, box->rows, box->inner);
  }
}

static attune_status print_step(attune_buffer *out, const attune_step *step, const attune_problem *problem,
                                attune_target target) {
  char *source = NULL;
  const attune_status status = attune_emit(&source, &step->config, problem, target);
  if (status != ATTUNE_OK) return status;
  strip(source);
  attune_buffer_add_text(out, source);
  free(source);
  print_launch(out, step);
  return ATTUNE_OK;
}

attune_status attune_result_hash(char out[65], const attune_config *config, const attune_problem *problem,
                                 const char *arch) {
  if (out == NULL || config == NULL || problem == NULL || arch == NULL) {
    return attune_fail(ATTUNE_BAD_ARGUMENT, "result hash: null pointer");
  }
  const attune_target target = strcmp(arch, "host") == 0 ? ATTUNE_TARGET_SIMULATOR : ATTUNE_TARGET_CUDA;
  attune_problem contiguous = *problem;
  attune_problem_drop_strides(&contiguous);
  contiguous.bias = (attune_strides){0};
  attune_status status = attune_problem_resolve(&contiguous, &contiguous);
  if (status != ATTUNE_OK) return status;
  attune_steps *steps = malloc(sizeof *steps);
  if (steps == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a result hash");
  attune_buffer text = {0};
  status = attune_steps_of(steps, config, &contiguous);
  for (int i = 0; status == ATTUNE_OK && i < steps->count; i++)
    status = print_step(&text, &steps->steps[i], &contiguous, target);
  for (int i = 0; status == ATTUNE_OK && i < steps->segment_count; i++)
    attune_buffer_print(&text, "\nworkspace %lld%s", (long long)steps->segments[i].bytes,
                        steps->segments[i].cleared ? " cleared" : "");
  if (status == ATTUNE_OK && text.failed) status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a result hash");
  if (status == ATTUNE_OK) attune_sha256(out, text.text, text.length);
  attune_buffer_free(&text);
  free(steps);
  return status;
}
