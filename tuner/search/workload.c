/* Lists of problems: files, and those that ship inside the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator/base/nearest.h"
#include "generator/source/embedded.h"
#include "tuner/files/file.h"
#include "tuner/tuner.h"

extern const attune_embedded attune_workload_files[]; /* written by the build from tuner/workloads/ */
extern const int attune_workload_count;

enum { LARGEST_FILE = 16 << 20, PROBLEM_DEPTH = 3 };
static const char format_name[] = "attune-workload-1";

/* Jansson keeps no lines, so the text (known to be valid JSON) says where the index-th problem starts: at the index-th
 * brace inside the array inside the object. */
static int line_of_problem(const char *text, size_t size, size_t index) {
  int line = 1, depth = 0;
  bool in_string = false;
  size_t seen = 0;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (c == '\n') line++;
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '}' || c == ']') depth--;
    if (c != '{' && c != '[') continue;
    if (++depth == PROBLEM_DEPTH && c == '{' && seen++ == index) return line;
  }
  return line;
}

static attune_status read_item(attune_workload_item *out, json_t *object, const char *where) {
  const char *name = json_string_value(json_object_get(object, "name"));
  if (!json_is_object(object)) return attune_fail(ATTUNE_BAD_JSON, "%s: a problem is an object {...}", where);
  if (json_object_get(object, "name") && (!name || strlen(name) >= sizeof out->name))
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"name\" must be a text of at most %zu bytes", where,
                       sizeof out->name - 1);
  attune_status status = attune_problem_of_json(&out->problem, &out->given, object, where);
  if (status != ATTUNE_OK) return status;
  char text[ATTUNE_TEXT_MAX];
  status = attune_problem_print(text, &out->problem);
  if (status == ATTUNE_OK) snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, name ? name : text);
  return status;
}

static attune_status check_keys(json_t *root, const char *where) {
  const char *key;
  json_t *value, *format = json_object_get(root, "format");
  if (!json_is_object(root)) return attune_fail(ATTUNE_BAD_JSON, "%s line 1: a workload is an object {...}", where);
  if (!json_is_string(format) || strcmp(json_string_value(format), format_name) != 0)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"format\" must be \"%s\"", where, format_name);
  json_object_foreach(root, key, value) {
    if (strcmp(key, "format") == 0 || strcmp(key, "problems") == 0) continue;
    return attune_fail(ATTUNE_BAD_JSON, "%s: unknown key \"%s\"; a workload has \"format\" and \"problems\"", where,
                       key);
  }
  if (!json_is_array(json_object_get(root, "problems")) || json_array_size(json_object_get(root, "problems")) == 0)
    return attune_fail(ATTUNE_BAD_JSON, "%s: \"problems\" must be an array with at least one problem", where);
  return ATTUNE_OK;
}

attune_status attune_workload_parse(attune_workload_item **items, int *count, const char *text, size_t size,
                                    const char *where) {
  json_error_t error;
  attune_workload_item *read = NULL;
  *items = NULL;
  *count = 0;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error), *problems;
  if (!root)
    return attune_fail(ATTUNE_BAD_JSON, "%s line %d, column %d: %s", where, error.line, error.column, error.text);
  attune_status status = check_keys(root, where);
  if (status != ATTUNE_OK) goto out;
  problems = json_object_get(root, "problems");
  size_t found = json_array_size(problems);
  read = calloc(found, sizeof *read);
  if (!read) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for the %zu problems of %s", found, where);
    goto out;
  }
  for (size_t i = 0; i < found && status == ATTUNE_OK; i++) {
    char place[512];
    snprintf(place, sizeof place, "%.400s line %d, problems[%zu]", where, line_of_problem(text, size, i), i);
    status = read_item(&read[i], json_array_get(problems, i), place);
  }
  if (status == ATTUNE_OK) {
    *items = read;
    *count = (int)found;
    read = NULL;
  }
out:
  free(read);
  json_decref(root);
  return status;
}

/* "tuner/workloads/gpt2.json" is called gpt2. */
static int name_length(const attune_embedded *file, const char **name) {
  *name = strrchr(file->path, '/') + 1;
  return (int)strcspn(*name, ".");
}

void attune_workload_names(const char **out, int most) {
  enum { MOST = 64, LONGEST = 32 };
  static char names[MOST][LONGEST]; /* the same whoever writes them */
  int count = 0;
  for (; count < attune_workload_count && count + 1 < most && count < MOST; count++) {
    const char *name;
    const int length = name_length(&attune_workload_files[count], &name);
    snprintf(names[count], LONGEST, "%.*s", length, name);
    out[count] = names[count];
  }
  out[count] = NULL;
}

static attune_status no_workload(const char *path) {
  const char *names[64];
  char nearest[160], list[512] = "";
  attune_workload_names(names, 64);
  for (int i = 0; names[i] != NULL; i++)
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i > 0 ? ", " : "", names[i]);
  return attune_fail(ATTUNE_BAD_FILE, "%s; nor is it one of the workloads that ship%s: %s", attune_message(),
                     attune_did_you_mean(nearest, path, names, ""), list);
}

attune_status attune_workload_read(attune_workload_item **items, int *count, const char *path_or_name) {
  for (int i = 0; i < attune_workload_count; i++) {
    const char *name, *text = attune_workload_files[i].text;
    size_t length = (size_t)name_length(&attune_workload_files[i], &name);
    if (strlen(path_or_name) == length && strncmp(name, path_or_name, length) == 0)
      return attune_workload_parse(items, count, text, strlen(text), path_or_name);
  }
  char *text;
  size_t size;
  attune_status status = attune_file_read(&text, &size, path_or_name, LARGEST_FILE);
  if (status == ATTUNE_BAD_FILE) return no_workload(path_or_name);
  if (status == ATTUNE_OK) status = attune_workload_parse(items, count, text, size, path_or_name);
  free(text);
  return status;
}
