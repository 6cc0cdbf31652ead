/* Files that the build put into the program (embed.c): here the templates. */
#ifndef ATTUNE_EMBEDDED_H
#define ATTUNE_EMBEDDED_H

typedef struct {
  const char *path; /* "templates/forward/mma.cu" */
  const char *hash; /* of a family's template: SHA-256, in hex, of everything its sources are made from; else "" */
  const char *text;
} attune_embedded;
extern const attune_embedded attune_embedded_files[];
extern const int attune_embedded_count;

#endif
