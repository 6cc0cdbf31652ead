/* Files that the build put into the program (embed.c): here the templates. */
#ifndef ATTUNE_EMBEDDED_H
#define ATTUNE_EMBEDDED_H

typedef struct {
  const char *path; /* "templates/forward/mma.cu" */
  const char *text;
} attune_embedded;
extern const attune_embedded attune_embedded_files[];
extern const int attune_embedded_count;

#endif
