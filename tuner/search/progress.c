/* How far the search is: a bar on a terminal, else a plain line every few seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tuner/search/search.h"

enum { BAR_WIDTH = 20, TEXT_SIZE = 512, LEFT_SIZE = 96 };
static const double bar_every = 0.1, line_every = 5;

void attune_print_seconds(char out[24], double seconds) {
  if (!(seconds > 0))
    snprintf(out, 24, "-");
  else if (seconds < 1e-3)
    snprintf(out, 24, "%.2f us", seconds * 1e6);
  else if (seconds < 1)
    snprintf(out, 24, "%.3f ms", seconds * 1e3);
  else if (seconds < 100)
    snprintf(out, 24, "%.2f s", seconds);
  else if (seconds < 1e8)
    snprintf(out, 24, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
  else
    snprintf(out, 24, "%.1e s", seconds);
}

void attune_progress_open(attune_progress *progress, const char *label, bool quiet) {
  const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
  struct winsize size;
  *progress = (attune_progress){.to = quiet ? NULL : stderr, .label = label, .width = 80, .drawn = -line_every};
  progress->terminal = isatty(STDERR_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
  progress->color = progress->terminal && !(no_color && *no_color);
  if (progress->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    progress->width = size.ws_col;
}

/* What is left, by the pace so far and by the limit; none where nothing tells, or all is tried. */
static void print_left(char out[LEFT_SIZE], const attune_progress *progress, int done, int total, double elapsed,
                       double limit) {
  char left[24];
  const int fresh = done - progress->known;
  const double eta = fresh > 0 && done < total ? elapsed / fresh * (total - done) : 0;
  out[0] = '\0';
  if (limit > 0 && elapsed >= limit) {
    attune_print_seconds(left, elapsed - limit);
    snprintf(out, LEFT_SIZE, ", %s over the budget for the least that is done", left);
  } else if (limit > 0 && (eta > limit - elapsed || fresh == 0)) {
    attune_print_seconds(left, limit - elapsed > 1 ? limit - elapsed : 1);
    snprintf(out, LEFT_SIZE, ", at most %s left", left);
  } else if (eta > 0) {
    attune_print_seconds(left, eta > 1 ? eta : 1);
    snprintf(out, LEFT_SIZE, ", about %s left", left);
  }
}

/* share: of what is done, or of the time that may pass. */
static void draw_bar(const attune_progress *progress, const char *text, double share) {
  int filled = (int)(BAR_WIDTH * share);
  if (filled > BAR_WIDTH) filled = BAR_WIDTH;
  int columns = progress->width - BAR_WIDTH - 4;
  char bar[BAR_WIDTH + 1];
  memset(bar, '-', BAR_WIDTH);
  memset(bar, '#', (size_t)filled);
  bar[BAR_WIDTH] = '\0';
  fprintf(progress->to, "\r[%s%s%s] %.*s\033[K", progress->color ? "\033[32m" : "", bar,
          progress->color ? "\033[0m" : "", columns > 0 ? columns : 0, text);
}

void attune_progress_draw(attune_progress *progress, const char *doing, int done, int total, double best,
                          double elapsed, double limit) {
  char text[TEXT_SIZE], count[32] = "", fastest[24], left[LEFT_SIZE];
  if (!progress->to || elapsed - progress->drawn < (progress->terminal ? bar_every : line_every)) return;
  progress->drawn = elapsed;
  attune_print_seconds(fastest, best);
  print_left(left, progress, done, total, elapsed, limit);
  if (done < total) snprintf(count, sizeof count, "%d/%d ", done, total);
  snprintf(text, sizeof text, "%s%s, best %s%s, %s", count, doing, fastest, left, progress->label);
  double share = total > 0 ? (double)done / total : 0;
  if (limit > 0 && elapsed / limit > share) share = elapsed / limit;
  if (progress->terminal)
    draw_bar(progress, text, share);
  else
    fprintf(progress->to, "%s\n", text);
  fflush(progress->to);
}

void attune_progress_close(attune_progress *progress) {
  if (progress->to && progress->terminal) {
    fprintf(progress->to, "\r\033[K");
    fflush(progress->to);
  }
}
