/* Private to tuner/: tables and paragraphs that fit the terminal. */
#ifndef ATTUNE_COLUMNS_H
#define ATTUNE_COLUMNS_H

#include <stdbool.h>
#include <stdio.h>

enum { ATTUNE_COLUMNS_MAX = 12 };

typedef struct {
  const char *title;
  int width; /* negative: flush left */
  int drop;  /* where the terminal is too narrow, the columns with the largest numbers are left out; 0: never */
} attune_column;

/* A table of which each row is printed as it comes. */
typedef struct {
  FILE *to;
  const attune_column *columns;
  int count;
  bool dropped[ATTUNE_COLUMNS_MAX];
} attune_columns;

/* Columns of standard output where it is a terminal, else a number that nothing reaches. */
int attune_terminal_width(void);
/* Chooses the columns for that width, and prints their titles. */
void attune_columns_begin(attune_columns *out, FILE *to, const attune_column *columns, int count, int width);
/* Prints a row. A first cell that is wider than its column has a line to itself. */
void attune_columns_row(const attune_columns *table, const char *const *cells);
/* One paragraph in lines up to column `end`, from the indent on; the first of them begins at column `at`. */
void attune_fill(FILE *to, const char *text, size_t length, int indent, int at, int end);

#endif
