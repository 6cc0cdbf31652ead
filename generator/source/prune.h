/* Private to generator/: leaves of a C++ text what one function needs. It knows nothing of attention. */
#ifndef ATTUNE_PRUNE_H
#define ATTUNE_PRUNE_H

#include "generator/base/buffer.h"
#include "runtime/attune.h"

/* Appends the text's declarations that `root`, a function, and those declared extern need, in their order. An
 * identifier needs every declaration of its name. A function is left out as long as nothing names one of its parameter
 * types, an operator as long as its symbol does not occur either. Comments go with the declaration that follows
 * without a blank line. A comment on its own heads what follows: one that begins with "/" "* ----" up to the next
 * comment on its own, any other up to the next that does not begin so, and goes with all of that. #include stays.
 * Fails only for lack of memory. */
attune_status attune_prune(attune_buffer *out, const char *text, const char *root);

#endif
