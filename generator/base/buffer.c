#include "generator/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void attune_buffer_add(attune_buffer *buffer, const char *text, size_t length) {
  if (buffer->failed) return;
  if (length >= buffer->capacity - buffer->length) {
    const size_t capacity = (buffer->length + length + 1) * 2;
    char *grown = realloc(buffer->text, capacity);
    if (grown == NULL) {
      buffer->failed = true;
      return;
    }
    buffer->text = grown;
    buffer->capacity = capacity;
  }
  memcpy(buffer->text + buffer->length, text, length);
  buffer->length += length;
  buffer->text[buffer->length] = '\0';
}

void attune_buffer_add_text(attune_buffer *buffer, const char *text) {
  attune_buffer_add(buffer, text, strlen(text));
}

void attune_buffer_print(attune_buffer *buffer, const char *format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof line) {
    buffer->failed = true;
    return;
  }
  attune_buffer_add(buffer, line, (size_t)length);
}

void attune_buffer_free(attune_buffer *buffer) {
  free(buffer->text);
  *buffer = (attune_buffer){0};
}
