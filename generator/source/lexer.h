/* Private to generator/: the tokens of C++ source. */
#ifndef ATTUNE_LEXER_H
#define ATTUNE_LEXER_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { ATTUNE_TOKEN_WORD, ATTUNE_TOKEN_NUMBER, ATTUNE_TOKEN_STRING, ATTUNE_TOKEN_SYMBOL } attune_token_kind;

typedef struct {
  const char *start;
  size_t length;
  attune_token_kind kind;
} attune_token;

/* The next token from *at on, past blanks and comments; *at is then behind it. False at `end` (NULL: the text's). */
bool attune_next_token(attune_token *out, const char **at, const char *end);
bool attune_token_is(const attune_token *token, const char *text);
/* Whether it is one of those in a list separated by blanks. */
bool attune_token_in(const attune_token *token, const char *list);
/* Behind the comment that begins at `at`; a line's without the newline. */
const char *attune_skip_comment(const char *at);
/* Letters, digits and '_'. */
bool attune_is_word_character(char c);

#endif
