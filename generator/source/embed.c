/* Build tool: writes C that holds the texts of files, as attune_embedded (embedded.h) in PREFIX_files of PREFIX_count.
 *
 *   embed OUT PREFIX FILE... */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv) {
  enum { OUT = 1, PREFIX, FIRST };
  if (argc <= FIRST) {
    fprintf(stderr, "usage: embed OUT PREFIX FILE...\n");
    return 2;
  }
  FILE *out = fopen(argv[OUT], "wb");
  if (out == NULL) die("cannot create", argv[OUT]);
  fprintf(out,
          "/* Written by generator/source/embed.c. */\n"
          "#include \"generator/source/embedded.h\"\n\n"
          "const attune_embedded %s_files[] = {\n",
          argv[PREFIX]);
  for (int i = FIRST; i < argc; i++) {
    fprintf(out, "    {\"%s\",\n", argv[i]);
    write_text(out, argv[i]);
  }
  fprintf(out, "};\nconst int %s_count = %d;\n", argv[PREFIX], argc - FIRST);
  if (fclose(out) != 0) die("cannot write", argv[OUT]);
  return 0;
}
