/* Finding a shared library that may be absent. */
#ifndef ATTUNE_LIBRARY_H
#define ATTUNE_LIBRARY_H

#include <stddef.h>

/* Opens the first of the NULL-terminated names that dlopen accepts; a name with '*' is a pattern of paths, newest last
 * in the alphabet first. If the environment variable is set to a path, only that is tried. Returns NULL where none
 * opens; tried then says what was tried and why the last of each kind failed. */
void *attune_library_open(const char *variable, const char *const *names, char *tried, size_t tried_size);

#endif
