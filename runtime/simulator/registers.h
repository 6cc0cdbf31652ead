/* Registers that a warpgroup's products read and write, thread by thread. A product takes them as they were when
 * fence_registers, and a wgmma_fence after it, last held them: what is written later the compiler may move behind the
 * product's start. */
#ifndef ATTUNE_HOST_REGISTERS_H
#define ATTUNE_HOST_REGISTERS_H

#include <stdbool.h>

/* What one thread holds. */
typedef struct attune_host_holds attune_host_holds;

/* NULL where there is no memory. Release takes NULL. */
attune_host_holds *attune_host_holds_create(void);
void attune_host_holds_release(attune_host_holds *holds);
void attune_host_holds_reset(attune_host_holds *holds);
/* fence_registers: the words as they are now, up to 128 of them; fenced: as if wgmma_fence had followed. wgmma_fence:
 * of all that were held before. */
void attune_host_hold(attune_host_holds *holds, const void *at, int words, bool fenced);
void attune_host_holds_fence(attune_host_holds *holds);
/* NULL where the words are as both have left them; else what is missing. */
const char *attune_host_holds_missing(const attune_host_holds *holds, const void *at, int words);

#endif
