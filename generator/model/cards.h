/* Private to model/: figures of cards that are sold, for the model where no such card is at hand. */
#ifndef ATTUNE_CARDS_H
#define ATTUNE_CARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *keys; /* what --like takes, without blanks and dashes; separated by blanks, the usual one first */
  const char *name; /* what the driver's name begins with */
  int32_t arch, sm_count, clock_mhz, l2_megabytes, memory_gigabytes, bandwidth_gigabytes;
  int32_t matrix_rate; /* operations of an SM and clock: 16-bit products summed in float, dense */
} attune_card;

/* By its place in the table; NULL beyond. */
const attune_card *attune_card_at(int number);
/* NULL where there is none. As people write it: "a10", "RTX-4090", "NVIDIA L40S". */
const attune_card *attune_card_of_text(const char *text);
/* By its usual key, exactly as in the table: for what is asked once a config. */
const attune_card *attune_card_of_key(const char *key);
/* By the driver's name: the longest name that it begins with. */
const attune_card *attune_card_of_name(const char *name);
/* The usual keys, with blanks between. */
void attune_card_list(char *out, size_t size);
/* attune_did_you_mean of the usual keys. */
const char *attune_card_suggestion(char out[160], const char *text);

#endif
