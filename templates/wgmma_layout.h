/* Family wgmma: where in shared memory everything lies, how registers are shared out, rings of slots. */
#pragma once
#include "parameters.h"
#include "primitives.h"

constexpr int threads = warps * 32;
constexpr int consumers = tile_m / 64;           // warpgroups that compute
constexpr int depth = (head_dim + 15) / 16 * 16; // of the product Q K
constexpr int k_panels = (head_dim + 63) / 64;   // of Q and K
constexpr int v_panels = (head_dim_v + 63) / 64; // of V and O
#if O_PLACE_OQ
constexpr int q_panels = k_panels > v_panels ? k_panels : v_panels; // O leaves through Q's slot
#else
constexpr int q_panels = k_panels;
#endif
#if Q_PREFETCH
constexpr int q_stages = 2;
#else
constexpr int q_stages = 1;
#endif
// Who tells that a warpgroup has left a slot.
#if PATTERN || LIST_BLOCK
constexpr int speakers = 4; // each warp, which has also read whose tile it was
#else
constexpr int speakers = 1; // a product or a barrier has brought the warps together
#endif
constexpr int row_bytes = 128;
constexpr int q_panel_bytes = tile_m * row_bytes;
constexpr int kv_panel_bytes = tile_n * row_bytes;
constexpr int q_slot_bytes = q_panels * q_panel_bytes;
constexpr int k_slot_bytes = k_panels * kv_panel_bytes;
constexpr int v_slot_bytes = v_panels * kv_panel_bytes;
constexpr int k_offset = q_stages * q_slot_bytes;
constexpr int v_offset = k_offset + stages * k_slot_bytes;
#if P_SHARED
constexpr int p_offset = v_offset + stages * v_slot_bytes; // each warpgroup's 64 rows
constexpr int p_panels = (tile_n + 63) / 64;
constexpr int o_offset = p_offset + p_panels * q_panel_bytes;
#else
constexpr int o_offset = v_offset + stages * v_slot_bytes;
#endif
#if O_PLACE_OB
constexpr int mbarrier_offset = o_offset + v_panels * q_panel_bytes;
#else
constexpr int mbarrier_offset = o_offset;
#endif

#if TILE_M > 64 || BLOCKS > 1
/* Registers of a thread before the exchange, as the compiler shares out an SM's, and after it. A lone consumer alone on
 * its SM has what it needs from the start. */
constexpr int registers_at_entry = 65536 / (threads * blocks) / 8 * 8;
constexpr int block_registers = registers_at_entry * (consumers + 1); // for one thread of each warpgroup
constexpr int consumer_registers = (block_registers - 32) / consumers / 8 * 8;
constexpr int producer_registers = block_registers - consumers * consumer_registers;
#endif

#if ORDER_SECTIONS
constexpr int section_bytes = 16 << 20; // keys and values of the heads that are worked on together, for L2's sake
#endif

#if PATTERN || LIST_BLOCK
constexpr int found_slots = 8; // tiles that the scout may be ahead
#endif

#if PERSISTENT_DYNAMIC
constexpr int dealt_slots = 2; // items that a warp may be ahead of another; even, for mbarriers lie behind
#if PATTERN || LIST_BLOCK
constexpr int told_warps = 4 * consumers + 3; // and producer, scout, porter
constexpr int asking_thread = 32;             // the scout is ahead of all
#else
constexpr int told_warps = 4 * consumers + 2;
constexpr int asking_thread = 0; // the producer
#endif
#endif

/* What L2 is to keep (the descriptors that createpolicy makes): Q and O pass once, K and V serve other blocks too. */
constexpr unsigned long long passes_once = 0x12f0000000000000, read_again = 0x14f0000000000000;

/* The mbarriers, 8 bytes each, and with a pattern 4 bytes for each slot of K: which tile it holds; and for each tile
 * that was found, for each item that was dealt. */
struct mbarriers {
  shared_address q_full, o_full, k_full, k_empty, v_full, v_empty, v_landed;
#if !O_PLACE_OQ
  shared_address q_empty, o_empty;
#endif
#if O_PLACE_OV
  shared_address o_slot; // not a barrier: the slot of V that holds O
#endif
#if PATTERN || LIST_BLOCK
  shared_address found_full, found_empty, found, tiles;
#endif
#if PERSISTENT_DYNAMIC
  shared_address dealt_full, dealt_empty, dealt, asked;
#endif
};

ATTUNE_DEVICE mbarriers mbarriers_at(shared_address first) {
  mbarriers at;
#if PERSISTENT_DYNAMIC
  at.dealt_full = first;
  at.dealt_empty = at.dealt_full + 8 * dealt_slots;
  at.dealt = at.dealt_empty + 8 * dealt_slots;
  at.asked = at.dealt + 4 * dealt_slots;
  at.q_full = at.asked + 8;
#else
  at.q_full = first;
#endif
  at.o_full = at.q_full + 8 * q_stages;
#if O_PLACE_OQ
  at.k_full = at.o_full + 8 * q_stages;
#else
  at.q_empty = at.o_full + 8;
  at.o_empty = at.q_empty + 8 * q_stages;
#if O_PLACE_OV
  at.o_slot = at.o_empty + 8;
  at.k_full = at.o_slot + 16; // what follows stays even
#else
  at.k_full = at.o_empty + 8;
#endif
#endif
  at.k_empty = at.k_full + 8 * stages;
  at.v_full = at.k_empty + 8 * stages;
  at.v_empty = at.v_full + 8 * stages;
  at.v_landed = at.v_empty + 8 * stages; // a ragged V before its tail is cleared
#if PATTERN || LIST_BLOCK
  at.found_full = at.v_landed + 8 * stages;
  at.found_empty = at.found_full + 8 * found_slots;
  at.found = at.found_empty + 8 * found_slots;
  at.tiles = at.found + 4 * found_slots;
#endif
  return at;
}

template <int slots> struct ring { int slot = 0, parity = 0; };

template <int slots> ATTUNE_DEVICE void advance(ring<slots> &r) {
  if (++r.slot == slots) {
    r.slot = 0;
    r.parity ^= 1;
  }
}
