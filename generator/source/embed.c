/* Build tool: writes C that holds files, and for templates the hash of what each family's sources are made from.
 *
 *   embed OUT FOLDER PREFIX SHARED... [--family TEMPLATE SOURCE...]...
 *
 * Every file of FOLDER is held, in the array PREFIX_files of PREFIX_count; others only enter the hashes. */
#include <errno.h>
#include <sha256.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char family_flag[] = "--family";

static void die(const char *what, const char *path) {
  fprintf(stderr, "embed: %s %s: %s\n", what, path, strerror(errno));
  exit(1);
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) die("cannot open", path);
  if (fseek(file, 0, SEEK_END) != 0) die("cannot seek in", path);
  const long end = ftell(file);
  if (end < 0 || fseek(file, 0, SEEK_SET) != 0) die("cannot measure", path);
  *size = (size_t)end;
  char *text = malloc(*size + 1);
  if (text == NULL) die("no memory for", path);
  if (fread(text, 1, *size, file) != *size) die("cannot read", path);
  text[*size] = '\0';
  fclose(file);
  return text;
}

/* Path and size before the bytes, so that bytes cannot move from one file to the next unseen. */
static void add_to_hash(SHA2_CTX *hash, const char *path) {
  size_t size;
  char *text = read_file(path, &size);
  char head[512];
  const int length = snprintf(head, sizeof head, "%s %zu\n", path, size);
  if (length < 0 || (size_t)length >= sizeof head) die("path too long", path);
  SHA256Update(hash, (const uint8_t *)head, (size_t)length);
  SHA256Update(hash, (const uint8_t *)text, size);
  free(text);
}

static void write_text(FILE *out, const char *path) {
  size_t size;
  char *text = read_file(path, &size);
  fputs("     \"", out);
  for (size_t i = 0; i < size; i++) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '\n') {
      fputs(i + 1 < size ? "\\n\"\n     \"" : "\\n", out);
    } else if (c == '"' || c == '\\') {
      fprintf(out, "\\%c", c);
    } else if (c < 32 || c > 126 || c == '?') {
      fprintf(out, "\\%03o", c); /* '?' for the sake of trigraphs */
    } else {
      fputc(c, out);
    }
  }
  fputs("\"},\n", out);
  free(text);
}

static int end_of_group(int argc, char **argv, int first) {
  while (first < argc && strcmp(argv[first], family_flag) != 0)
    first++;
  return first;
}

int main(int argc, char **argv) {
  enum { OUT = 1, FOLDER, PREFIX, FIRST };
  if (argc <= FIRST) {
    fprintf(stderr, "usage: embed OUT FOLDER PREFIX SHARED... [--family TEMPLATE SOURCE...]...\n");
    return 2;
  }
  const char *folder = argv[FOLDER], *prefix = argv[PREFIX];
  FILE *out = fopen(argv[OUT], "wb");
  if (out == NULL) die("cannot create", argv[OUT]);
  fprintf(out,
          "/* Written by generator/source/embed.c from %s. */\n"
          "#include \"generator/source/embedded.h\"\n\n"
          "const attune_embedded %s_files[] = {\n",
          folder, prefix);
  const int shared_end = end_of_group(argc, argv, FIRST);
  int count = 0;
  for (int group = FIRST; group < argc;) {
    const bool is_family = group >= shared_end;
    const int first = group + is_family, end = end_of_group(argc, argv, first);
    char hex[SHA256_DIGEST_STRING_LENGTH] = "";
    if (is_family) {
      SHA2_CTX hash;
      SHA256Init(&hash);
      for (int i = FIRST; i < shared_end; i++)
        add_to_hash(&hash, argv[i]);
      for (int i = first; i < end; i++)
        add_to_hash(&hash, argv[i]);
      SHA256End(&hash, hex);
    }
    for (int i = first; i < end; i++) {
      if (strncmp(argv[i], folder, strlen(folder)) != 0) continue;
      fprintf(out, "    {\"%s\", \"%s\",\n", argv[i], hex);
      write_text(out, argv[i]);
      count++;
    }
    group = end;
  }
  fprintf(out, "};\nconst int %s_count = %d;\n", prefix, count);
  if (fclose(out) != 0) die("cannot write", argv[OUT]);
  return 0;
}
