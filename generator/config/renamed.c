/* Words of canonical texts that were others in stores of versions 1 and 2. */
#include <string.h>

#include "generator/generator.h"

/* Parts of a text, between its dots; with digits, a number follows the word. */
static const struct {
  const char *was, *is;
  bool digits;
} renamed[] = {
    {"before", "rescale_before_pv", false},
    {"dynamic", "persistent_dynamic", false},
    {"halves", "half_tiles", false},
    {"list", "block_mask", true},
    {"longest", "lpt", false},
    {"ob", "o_staging_own", false},
    {"ov", "o_staging_v", false},
    {"overlap", "intra_wg_overlap", false},
    {"pack", "pack_gqa", true},
    {"pattern", "mask_expr", false},
    {"persistent", "persistent_static", false},
    {"poly", "exp2_emulation", true},
    {"ps", "p_in_smem", false},
    {"qq", "q_prefetch", false},
    {"qr", "q_in_regs", false},
    {"sections", "l2_sections", false},
    {"tokens", "pingpong_softmax", false},
    {"turns", "pingpong_mma", false},
};

/* How many characters of the part are the word of row i; 0: it is another. */
static size_t matched(const char *part, size_t length, size_t i) {
  const size_t word = strlen(renamed[i].was);
  if (length < word || strncmp(part, renamed[i].was, word) != 0) return 0;
  const size_t digits = strspn(part + word, "0123456789");
  return word + digits == length && (digits > 0) == renamed[i].digits ? word : 0;
}

bool attune_text_renamed(char *out, size_t size, const char *text) {
  const bool ours = strncmp(text, "forward.", strlen("forward.")) == 0;
  size_t written = 0;
  while (*text != '\0') {
    const size_t length = strcspn(text, ".");
    size_t word = 0, row = 0;
    for (; ours && row < sizeof renamed / sizeof *renamed; row++)
      if ((word = matched(text, length, row)) > 0) break;
    const char *is = word > 0 ? renamed[row].is : "";
    const size_t rest = length - word + (text[length] == '.');
    if (written + strlen(is) + rest >= size) return false;
    memcpy(out + written, is, strlen(is));
    memcpy(out + written + strlen(is), text + word, rest);
    written += strlen(is) + rest;
    text += word + rest;
  }
  if (size == 0) return false;
  out[written] = '\0';
  return true;
}
