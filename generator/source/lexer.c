/* The tokens of C++ source, as far as finding names in it needs them. */
#include "generator/source/lexer.h"

#include <string.h>

/* Of ASCII alone, unlike isdigit and isalnum, which ask the locale. */
static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool attune_is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

const char *attune_skip_comment(const char *at) {
  if (at[1] == '/') return at + strcspn(at, "\n");
  const char *end = strstr(at + 2, "*/");
  return end != NULL ? end + 2 : at + strlen(at);
}

static size_t length_of_string(const char *at) {
  const char *c = at + 1;
  while (*c != '\0' && *c != *at)
    c += c[0] == '\\' && c[1] != '\0' ? 2 : 1;
  return (size_t)(c - at) + (*c != '\0');
}

static size_t length_of_symbol(const char *at) {
  const bool doubled = at[1] == at[0], assigns = at[1] == '=';
  switch (at[0]) {
  case '<':
  case '>':
    return doubled ? 2 + (at[2] == '=') : 1 + (size_t)assigns;
  case '&':
  case '|':
  case '+':
    return doubled || assigns ? 2 : 1;
  case '-':
    return doubled || assigns || at[1] == '>' ? 2 : 1;
  case '=':
  case '!':
  case '*':
  case '/':
  case '%':
  case '^':
    return assigns ? 2 : 1;
  case ':':
    return doubled ? 2 : 1;
  case '.':
    return doubled && at[2] == '.' ? 3 : 1;
  default:
    return 1;
  }
}

bool attune_next_token(attune_token *out, const char **at, const char *end) {
  const char *c = *at;
  for (;;) {
    while (*c == ' ' || *c == '\t' || *c == '\n')
      c++;
    if (c[0] != '/' || (c[1] != '/' && c[1] != '*')) break;
    c = attune_skip_comment(c);
  }
  *at = c;
  if (*c == '\0' || (end != NULL && c >= end)) return false;
  out->start = c;
  if (attune_is_word_character(*c)) {
    out->kind = is_digit(*c) ? ATTUNE_TOKEN_NUMBER : ATTUNE_TOKEN_WORD;
    while (attune_is_word_character(*c) || (out->kind == ATTUNE_TOKEN_NUMBER && *c == '.'))
      c++;
    out->length = (size_t)(c - out->start);
  } else if (*c == '"' || *c == '\'') {
    out->kind = ATTUNE_TOKEN_STRING;
    out->length = length_of_string(c);
  } else {
    out->kind = ATTUNE_TOKEN_SYMBOL;
    out->length = length_of_symbol(c);
  }
  *at = out->start + out->length;
  return true;
}

bool attune_token_is(const attune_token *token, const char *text) {
  return strncmp(token->start, text, token->length) == 0 && text[token->length] == '\0';
}

bool attune_token_in(const attune_token *token, const char *list) {
  for (const char *word = list; *word != '\0';) {
    size_t length = 0; /* that the word and the token share */
    while (length < token->length && word[length] == token->start[length])
      length++;
    if (length == token->length && (word[length] == ' ' || word[length] == '\0')) return true;
    word += length;
    while (*word != '\0' && *word++ != ' ') {
    }
  }
  return false;
}
