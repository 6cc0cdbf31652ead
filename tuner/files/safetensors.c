/* Files of tensors: eight bytes of header length, a JSON header, the tensors' bytes. A file is checked whole before
 * anything of it is used, since headers lie: every tensor must lie inside the file, have the size that its shape and
 * dtype say, and the tensors must cover the data without gap or overlap, as the format asks. */
#include <stdlib.h>
#include <string.h>

#include "generator/base/status.h"
#include "tuner/files/file.h"
#include "tuner/tuner.h"

enum { LENGTH_BYTES = 8 };

struct attune_safetensors {
  unsigned char *owned; /* NULL: the bytes are the caller's */
  attune_tensor *tensors;
  size_t count;
};

static size_t size_of_dtype(const char *dtype) {
  static const struct {
    const char *name;
    size_t size;
  } known[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
               {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, dtype) == 0) return known[i].size;
  return 0;
}

/* ---- reading ---- */

typedef struct {
  size_t begin, end;
  const char *name;
} extent;

static attune_status read_shape(attune_tensor *tensor, size_t *size, const char *name, json_t *shape) {
  if (!json_is_array(shape)) return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\" has no array \"shape\"", name);
  const size_t rank = json_array_size(shape), capacity = sizeof tensor->shape / sizeof *tensor->shape;
  if (rank > capacity)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\" has %zu dimensions, at most %zu can be read", name, rank,
                       capacity);
  size_t elements = 1;
  tensor->rank = (int)rank;
  for (size_t i = 0; i < rank; i++) {
    json_t *side = json_array_get(shape, i);
    const json_int_t length = json_integer_value(side);
    if (!json_is_integer(side) || length < 0)
      return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\": dimension %zu of its shape is not a length", name, i);
    if (__builtin_mul_overflow(elements, (size_t)length, &elements))
      return attune_fail(ATTUNE_BAD_FILE,
                         "tensor \"%.60s\": the product of its shape overflows at dimension %zu (%lld)", name, i,
                         (long long)length);
    tensor->shape[i] = length;
  }
  if (__builtin_mul_overflow(elements, size_of_dtype(tensor->dtype), size))
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\": its size in bytes overflows", name);
  return ATTUNE_OK;
}

static attune_status read_offset(size_t *out, const char *name, json_t *offsets, size_t index, size_t data_size) {
  json_t *offset = json_array_get(offsets, index);
  const json_int_t value = json_integer_value(offset);
  if (!json_is_integer(offset) || value < 0)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\": \"data_offsets\" is not two byte offsets", name);
  if ((unsigned long long)value > data_size)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\" says its bytes reach to %lld, the file has %zu bytes of data",
                       name, (long long)value, data_size);
  *out = (size_t)value;
  return ATTUNE_OK;
}

static attune_status read_tensor(attune_tensor *tensor, extent *place, const char *name, json_t *entry,
                                 const unsigned char *data, size_t data_size) {
  const char *dtype = json_string_value(json_object_get(entry, "dtype"));
  if (dtype == NULL) return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\" has no \"dtype\"", name);
  if (size_of_dtype(dtype) == 0)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\" has the unknown dtype \"%.20s\"", name, dtype);
  if (strlen(name) >= sizeof tensor->name)
    return attune_fail(ATTUNE_BAD_FILE, "tensor name \"%.20s...\" has %zu bytes, at most %zu can be read", name,
                       strlen(name), sizeof tensor->name - 1);
  strcpy(tensor->name, name);
  strcpy(tensor->dtype, dtype);
  attune_status status = read_shape(tensor, &tensor->size, name, json_object_get(entry, "shape"));
  if (status != ATTUNE_OK) return status;

  json_t *offsets = json_object_get(entry, "data_offsets");
  if (json_array_size(offsets) != 2)
    return attune_fail(ATTUNE_BAD_FILE, "tensor \"%.60s\": \"data_offsets\" is not two byte offsets", name);
  if ((status = read_offset(&place->begin, name, offsets, 0, data_size)) != ATTUNE_OK) return status;
  if ((status = read_offset(&place->end, name, offsets, 1, data_size)) != ATTUNE_OK) return status;
  if (place->end < place->begin || place->end - place->begin != tensor->size)
    return attune_fail(ATTUNE_BAD_FILE,
                       "tensor \"%.60s\": its shape and dtype need %zu bytes, its offsets %zu to %zu say otherwise",
                       name, tensor->size, place->begin, place->end);
  place->name = tensor->name;
  tensor->data = data + place->begin;
  return ATTUNE_OK;
}

static int by_begin(const void *a, const void *b) {
  const extent *left = a, *right = b;
  if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
  return left->end < right->end ? -1 : left->end > right->end;
}

/* Sorted by begin, each tensor starts where the one before ended, and the last ends with the file. */
static attune_status check_cover(extent *places, size_t count, size_t data_size) {
  size_t reached = 0;
  qsort(places, count, sizeof *places, by_begin);
  for (size_t i = 0; i < count; i++) {
    if (places[i].begin != reached)
      return attune_fail(
          ATTUNE_BAD_FILE, "tensor \"%s\" starts at byte %zu of the data, %s at %zu", places[i].name, places[i].begin,
          places[i].begin < reached ? "inside another one that ends" : "after a gap that begins", reached);
    reached = places[i].end;
  }
  if (reached != data_size)
    return attune_fail(ATTUNE_BAD_FILE, "the file has %zu bytes of data, its tensors cover %zu", data_size, reached);
  return ATTUNE_OK;
}

static attune_status read_tensors(attune_safetensors *file, json_t *header, const unsigned char *data,
                                  size_t data_size) {
  attune_status status = ATTUNE_OK;
  const size_t capacity = json_object_size(header) + 1;
  extent *places = calloc(capacity, sizeof *places);
  file->tensors = calloc(capacity, sizeof *file->tensors);
  if (places == NULL || file->tensors == NULL) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a header of %zu tensors", capacity - 1);
    goto out;
  }
  const char *name;
  json_t *entry;
  json_object_foreach(header, name, entry) {
    if (strcmp(name, "__metadata__") == 0) continue;
    status = read_tensor(&file->tensors[file->count], &places[file->count], name, entry, data, data_size);
    if (status != ATTUNE_OK) goto out;
    file->count++;
  }
  status = check_cover(places, file->count, data_size);
out:
  free(places);
  return status;
}

attune_status attune_safetensors_parse(attune_safetensors **out, const void *bytes, size_t size) {
  *out = NULL;
  const unsigned char *start = bytes;
  if (size < LENGTH_BYTES)
    return attune_fail(ATTUNE_BAD_FILE,
                       "a safetensors file begins with 8 bytes of header length, this one has %zu bytes", size);
  uint64_t length = 0;
  for (int i = LENGTH_BYTES - 1; i >= 0; i--)
    length = length << 8 | start[i];
  if (length > size - LENGTH_BYTES)
    return attune_fail(ATTUNE_BAD_FILE,
                       "the header says it has %llu bytes, the file has %zu after the length; it is truncated or no "
                       "safetensors file",
                       (unsigned long long)length, size - LENGTH_BYTES);
  const char *text = (const char *)start + LENGTH_BYTES;
  json_error_t error;
  attune_status status = ATTUNE_OK;
  attune_safetensors *file = calloc(1, sizeof *file);
  json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  if (file == NULL) {
    status = attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a safetensors header");
    goto out;
  }
  if (!json_is_object(header)) {
    status = attune_fail(ATTUNE_BAD_FILE, "the header is not a JSON object: %s",
                         header == NULL ? error.text : "it is another kind of value");
    goto out;
  }
  status = read_tensors(file, header, start + LENGTH_BYTES + length, size - LENGTH_BYTES - (size_t)length);
out:
  json_decref(header);
  if (status != ATTUNE_OK) {
    attune_safetensors_close(file);
    return status;
  }
  *out = file;
  return ATTUNE_OK;
}

/* The same failure, with the path in front of the message. */
static attune_status name_file(attune_status status, const char *path) {
  return status == ATTUNE_OK ? status : attune_fail(status, "%s: %s", path, attune_message());
}

attune_status attune_safetensors_read(attune_safetensors **out, const char *path) {
  char *bytes;
  size_t size;
  *out = NULL;
  attune_status status = attune_file_read(&bytes, &size, path, SIZE_MAX / 4);
  if (status != ATTUNE_OK) return status;
  status = attune_safetensors_parse(out, bytes, size);
  if (status != ATTUNE_OK) {
    free(bytes);
    return name_file(status, path);
  }
  (*out)->owned = (unsigned char *)bytes;
  return ATTUNE_OK;
}

const attune_tensor *attune_safetensors_find(const attune_safetensors *file, const char *name) {
  for (size_t i = 0; i < file->count; i++)
    if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
  return NULL;
}

const attune_tensor *attune_safetensors_at(const attune_safetensors *file, int index) {
  return (size_t)index < file->count ? &file->tensors[index] : NULL;
}

void attune_safetensors_close(attune_safetensors *file) {
  if (file == NULL) return;
  free(file->owned);
  free(file->tensors);
  free(file);
}

/* ---- writing ---- */

/* The header's text, padded with spaces so that the data starts on a multiple of 8 bytes; malloc'ed, NULL without
 * memory. */
static char *header_text(const attune_tensor *tensors, const int *order, int count) {
  char *text = NULL, *padded = NULL;
  json_t *header = json_object();
  size_t offset = 0;
  for (int i = 0; i < count; i++) {
    const attune_tensor *tensor = &tensors[order[i]];
    json_t *shape = json_array();
    for (int side = 0; side < tensor->rank; side++)
      json_array_append_new(shape, json_integer(tensor->shape[side]));
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", tensor->dtype, "shape", shape, "data_offsets",
                              (json_int_t)offset, (json_int_t)(offset + tensor->size));
    if (json_object_set_new(header, tensor->name, entry) != 0) goto out;
    offset += tensor->size;
  }
  text = json_dumps(header, JSON_COMPACT);
  if (text == NULL) goto out;
  const size_t length = strlen(text), width = (length + 7) / 8 * 8;
  padded = malloc(width + 1);
  if (padded != NULL) snprintf(padded, width + 1, "%-*s", (int)width, text);
out:
  free(text);
  json_decref(header);
  return padded;
}

/* The widest elements come first, so that every tensor is aligned to its elements. */
static void order_by_width(int *order, const attune_tensor *tensors, int count) {
  int placed = 0;
  for (size_t width = 8; width > 0; width /= 2)
    for (int i = 0; i < count; i++)
      if (size_of_dtype(tensors[i].dtype) == width) order[placed++] = i;
}

static attune_status write_tensors(const attune_file *file, const attune_tensor *tensors, int count) {
  attune_status status = ATTUNE_OK;
  unsigned char length[LENGTH_BYTES];
  int order[count > 0 ? count : 1];
  order_by_width(order, tensors, count);
  char *header = header_text(tensors, order, count);
  if (header == NULL) return attune_fail(ATTUNE_OUT_OF_MEMORY, "no memory for a safetensors header");
  for (int i = 0; i < LENGTH_BYTES; i++)
    length[i] = (unsigned char)(strlen(header) >> (8 * i));
  status = attune_file_append(file, length, sizeof length);
  if (status == ATTUNE_OK) status = attune_file_append(file, header, strlen(header));
  for (int i = 0; i < count && status == ATTUNE_OK; i++)
    status = attune_file_append(file, tensors[order[i]].data, tensors[order[i]].size);
  free(header);
  return status;
}

attune_status attune_safetensors_write(const char *path, const attune_tensor *tensors, int count) {
  attune_file file;
  for (int i = 0; i < count; i++)
    if (size_of_dtype(tensors[i].dtype) == 0)
      return attune_fail(ATTUNE_BAD_ARGUMENT, "tensor \"%s\" has the unknown dtype \"%s\"", tensors[i].name,
                         tensors[i].dtype);
  const attune_status status = attune_file_create(&file, path);
  return status != ATTUNE_OK ? status : attune_file_finish(&file, path, write_tensors(&file, tensors, count));
}
