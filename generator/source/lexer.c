/* The tokens of C++ source, as far as finding names in it needs them. */
#include "generator/source/lexer.h"

#include <ctype.h>
#include <string.h>

bool attune_is_word_character(char c) {
  return isalnum((unsigned char)c) || c == '_';
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
  static const char *const longer[] = {"<<=", ">>=", "...", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "->",
                                       "++",  "--",  "+=",  "-=", "*=", "/=", "%=", "&=", "|=", "^=", "::"};
  for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
    if (strncmp(at, longer[i], strlen(longer[i])) == 0) return strlen(longer[i]);
  return 1;
}

bool attune_next_token(attune_token *out, const char **at, const char *end) {
  const char *c = *at;
  for (;;) {
    c += strspn(c, " \t\n");
    if (c[0] != '/' || (c[1] != '/' && c[1] != '*')) break;
    c = attune_skip_comment(c);
  }
  *at = c;
  if (*c == '\0' || (end != NULL && c >= end)) return false;
  out->start = c;
  if (attune_is_word_character(*c)) {
    out->kind = isdigit((unsigned char)*c) ? ATTUNE_TOKEN_NUMBER : ATTUNE_TOKEN_WORD;
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
  return strlen(text) == token->length && strncmp(token->start, text, token->length) == 0;
}

bool attune_token_in(const attune_token *token, const char *list) {
  while (*list != '\0') {
    const size_t length = strcspn(list, " ");
    if (length == token->length && strncmp(token->start, list, length) == 0) return true;
    list += length + (list[length] == ' ');
  }
  return false;
}
