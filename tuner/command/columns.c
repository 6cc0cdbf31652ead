/* Tables and paragraphs that fit the terminal. */
#include "tuner/command/columns.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int attune_terminal_width(void) {
  struct winsize size;
  if (!isatty(STDOUT_FILENO)) return INT_MAX;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static int width_of(const attune_columns *table) {
  int width = -1;
  for (int i = 0; i < table->count; i++)
    if (!table->dropped[i]) width += 1 + abs(table->columns[i].width);
  return width;
}

static void print_cells(const attune_columns *table, const char *const *cells, int first) {
  int blanks = 0; /* that are owed: none ends a line */
  for (int i = 0; i < table->count; i++) {
    if (table->dropped[i]) continue;
    const char *cell = i < first ? "" : cells[i];
    const int width = table->columns[i].width, length = (int)strlen(cell);
    const int pad = length < abs(width) ? abs(width) - length : 0;
    if (length > 0) {
      fprintf(table->to, "%*s%s", blanks + (width > 0 ? pad : 0), "", cell);
      blanks = 1 + (width > 0 ? 0 : pad);
    } else {
      blanks += 1 + pad;
    }
  }
  fputc('\n', table->to);
}

void attune_columns_begin(attune_columns *out, FILE *to, const attune_column *columns, int count, int width) {
  const char *titles[ATTUNE_COLUMNS_MAX];
  *out = (attune_columns){.to = to, .columns = columns, .count = count};
  while (width_of(out) > width) {
    int last = -1;
    for (int i = 0; i < count; i++)
      if (!out->dropped[i] && columns[i].drop > 0 && (last < 0 || columns[i].drop > columns[last].drop)) last = i;
    if (last < 0) break;
    out->dropped[last] = true;
  }
  for (int i = 0; i < count; i++)
    titles[i] = columns[i].title;
  print_cells(out, titles, 0);
}

void attune_columns_row(const attune_columns *table, const char *const *cells) {
  const bool alone = (int)strlen(cells[0]) > abs(table->columns[0].width);
  if (alone) fprintf(table->to, "%s\n", cells[0]);
  print_cells(table, cells, alone ? 1 : 0);
}

void attune_fill(FILE *to, const char *text, size_t length, int indent, int at, int end) {
  const char *stop = text + length;
  for (bool first = true; text < stop; first = false) {
    const char *blank = memchr(text, ' ', (size_t)(stop - text));
    const int word = (int)((blank != NULL ? blank : stop) - text);
    if (!first && at + 1 + word > end) {
      fprintf(to, "\n%*s", indent, "");
      at = indent;
    } else if (!first) {
      fputc(' ', to);
      at++;
    }
    fprintf(to, "%.*s", word, text);
    at += word;
    text += blank != NULL ? word + 1 : word;
  }
  fputc('\n', to);
}
