/* Registers that a warpgroup's products read and write, thread by thread. A product takes them as they were when
 * fence_registers, and a wgmma_fence after it, last held them: what is written later the compiler may move behind the
 * product's start. */
#ifndef ATTUNE_SIMULATOR_REGISTERS_H
#define ATTUNE_SIMULATOR_REGISTERS_H

#include <stdbool.h>

/* What one thread holds. */
typedef struct attune_simulator_holds attune_simulator_holds;

/* NULL where there is no memory. Release takes NULL. */
attune_simulator_holds *attune_simulator_holds_create(void);
void attune_simulator_holds_release(attune_simulator_holds *holds);
void attune_simulator_holds_reset(attune_simulator_holds *holds);
/* fence_registers: the words as they are now, up to 128 of them; fenced: as if wgmma_fence had followed. wgmma_fence:
 * of all that were held before. */
void attune_simulator_hold(attune_simulator_holds *holds, const void *at, int words, bool fenced);
void attune_simulator_holds_fence(attune_simulator_holds *holds);
/* NULL where the words are as both have left them; else what is missing. */
const char *attune_simulator_holds_missing(const attune_simulator_holds *holds, const void *at, int words);

#endif
