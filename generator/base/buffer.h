/* Private: a text that grows. After a failed allocation it stays failed and takes nothing more, so that only the end is
 * checked. */
#ifndef ATTUNE_BUFFER_H
#define ATTUNE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct attune_buffer {
  char *text; /* NUL-terminated once something was added; owned */
  size_t length, capacity;
  bool failed;
} attune_buffer;

void attune_buffer_add(attune_buffer *buffer, const char *text, size_t length);
void attune_buffer_add_text(attune_buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void attune_buffer_print(attune_buffer *buffer, const char *format, ...);
void attune_buffer_free(attune_buffer *buffer);

#endif
