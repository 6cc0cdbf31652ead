/* Forward attention on Hopper (sm_90a): wgmma, tiles by the tensor copy engine, one warpgroup that loads for one to
 * three that compute.
 *
 * Roles. The first warpgroup gives its registers away; its first warp, the producer, fills K and V; with a pattern or
 * lists its second one, the scout, walks ahead and finds the tiles that are left; its third one, the porter, brings Q
 * and takes O away. Every other warpgroup owns 64 of the block's tile_m query rows and sees every key, in tiles of
 * tile_n from the last visible one to the first, so that the ragged and the diagonal tiles come first. A block goes
 * through as many items (tile, head, batch) as the grid leaves it: in fixed rounds; or those that the first warpgroup's
 * fourth warp, the dealer, takes from a counter that all blocks share, so that with items of unequal length nobody
 * waits for the longest.
 *
 * Rings. Q, K and V pass through slots of shared memory; each slot has two mbarriers. full: its bytes have arrived.
 * empty: those who read it have left. For Q's slot that is o_full: its readers leave O there, and the porter loads the
 * next Q once O is out. A ring's parity flips when it wraps, so that a wait names the passage it means; who waits must
 * have seen it before those it waits with let the next one pass.
 *
 * Halves. Of a tile on the edge of a bound a warpgroup's 64 rows may see one half at most: it takes that by itself.
 *
 * Overlap (FlashAttention-3, arXiv 2407.08608, algorithm 2). The product Q K(i) is started before P V(i - 1), and the
 * softmax of the one runs while the matrix units work on the other. Turns (ibid., section 3.1): a warpgroup starts its
 * products only when the one before it has started its own, so that one computes exponentials while another multiplies.
 * Tokens: it begins its softmax only when the one before it has ended its own.
 *
 * Clusters. Two blocks take neighbouring tiles of queries, which see the same keys: each loads half of the rows of
 * every tile of K and V, for both. A slot is filled again when the consumers of both have left it; its full barriers
 * count the bytes of both halves. No block starts before its neighbour's barriers are there, nor leaves before its
 * neighbour is done with its own.
 *
 * Tiles lie in panels of 64 columns (128 bytes a row, 128-byte swizzle), padded with zeros by the copy engine. Layouts
 * of fragments and descriptors: PTX ISA, "Asynchronous warpgroup level matrix instructions". */
#include "arguments.h"
#include "mask.h"
#include "parameters.h"
#include "primitives.h"

constexpr int threads = warps * 32;
constexpr int consumers = tile_m / 64;                              // warpgroups that compute
constexpr int depth = (head_dim + 15) / 16 * 16;                    // of the product Q K
constexpr int k_panels = (head_dim + 63) / 64;                      // of Q and K
constexpr int v_panels = (head_dim_v + 63) / 64;                    // of V and O
constexpr int q_panels = k_panels > v_panels ? k_panels : v_panels; // O leaves through Q's slot
#if Q_PREFETCH
constexpr int q_stages = 2;
#else
constexpr int q_stages = 1;
#endif
#if PATTERN || LIST_BLOCK || HALVES
// Of a warpgroup: each warp tells that it has left a slot, and has read whose tile it was. A tile of which a warpgroup
// sees nothing brings its warps together in no product, so that one of them may not speak for all.
constexpr int speakers = 4;
#else
constexpr int speakers = 1;
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
constexpr int mbarrier_offset = p_offset + p_panels * q_panel_bytes;
#else
constexpr int mbarrier_offset = v_offset + stages * v_slot_bytes;
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
  at.k_full = at.o_full + 8 * q_stages;
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

/* A tile of queries, and which tiles of keys it sees. */
struct work : row_tile {
  int item;
  int place; // head of the whole batch
};

ATTUNE_DEVICE void find_usual(int &place, int &tile, const attune_arguments &problem, int index) {
#if ORDER_SECTIONS
  const int key_bytes = 2 * (head_dim + head_dim_v), heads = problem.heads_q * problem.batch;
  const int section = maximum(1, section_bytes / key_bytes / problem.seqlen_k) * problem.group;
  const int before = index / (section * problem.tiles_m) * section; // heads of the sections before
  const int inside = index - before * problem.tiles_m, across = minimum(section, heads - before);
  place = before + inside % across;
  tile = inside / across;
#elif ORDER_HEADS || ORDER_LONGEST
  tile = divide(index, problem.by_heads);
  place = index - tile * problem.heads_q * problem.batch;
#else
  place = divide(index, problem.by_tiles_m);
  tile = index - place * problem.tiles_m;
#endif
#if ORDER_REVERSED || ORDER_LONGEST || ORDER_SECTIONS
  tile = problem.tiles_m - 1 - tile;
#endif
}

/* What an item is, of a cluster its tiles together; false: there is nothing in it. */
ATTUNE_DEVICE bool find_work(work &w, const attune_arguments &problem, int item) {
  int tile;
  w.item = item;
#if LIST_BLOCK
  if (problem.list_order) {
    if (!find_ordered(w.place, tile, problem, item)) return false;
  } else
#endif
    find_usual(w.place, tile, problem, item);
  w.batch = divide(w.place, problem.by_heads_q);
  w.head = w.place - w.batch * problem.heads_q;
#if CLUSTER > 1
  // The blocks see the same keys; one whose tile has no rows goes along, since the others wait for what it loads.
  if (!find_keys(w, problem, tile * cluster)) return false;
  w.row_begin += block_index() % cluster * tile_m;
  return true;
#else
  return find_keys(w, problem, tile);
#endif
}

ATTUNE_DEVICE unsigned count_items(const attune_arguments &problem) {
  return (unsigned)(problem.tiles_m * problem.heads_q * problem.batch);
}

#if PERSISTENT_DYNAMIC
/* The dealer: one thread. A block's first item is its own, the others come from the counter; -1 ends them. What a block
 * holds no other can take, so that an item is taken when the warp that is ahead of all asks for it, and not before.
 * Items that have no rows (of the short sequences of a batch) are passed over here, ahead of those who compute. */
ATTUNE_DEVICE void deal_items(const attune_arguments &problem, const mbarriers &at) {
  ring<dealt_slots> dealt;
  int asked_parity = 0;
  bool more = true;
  work w;
  auto take = [&]() { return (unsigned)grid_size() + count_up(problem.counter); };
  for (bool first = true; more; first = false) {
    if (!first) {
      mbarrier_wait(at.asked, asked_parity);
      asked_parity ^= 1;
    }
    mbarrier_wait(at.dealt_empty + 8 * dealt.slot, dealt.parity ^ 1);
    unsigned item = first ? (unsigned)block_index() : take();
    while (item < count_items(problem) && !find_work(w, problem, (int)item))
      item = take();
    more = item < count_items(problem);
    store_shared_32(at.dealt + 4 * dealt.slot, more ? item : (unsigned)-1);
    mbarrier_arrive(at.dealt_full + 8 * dealt.slot);
    advance(dealt);
  }
}

/* The block's next item; false: there is none, and none may be asked for any more. round: how many the warp has had.
 * Every warp but the dealer's hears of every item; all its lanes take part. */
ATTUNE_DEVICE bool next_item(int &item, unsigned &round, const attune_arguments &, const mbarriers &at) {
  const unsigned slot = round % dealt_slots, parity = round / dealt_slots % 2;
  item = 0;
  if (thread_index() % 32 == 0) {
    if (thread_index() == asking_thread && round > 0) mbarrier_arrive(at.asked);
    mbarrier_wait(at.dealt_full + 8 * slot, (int)parity);
    item = load_shared_int(at.dealt + 4 * slot);
    mbarrier_arrive(at.dealt_empty + 8 * slot);
  }
  item = warp_uniform(item);
  round++;
  return item >= 0;
}
#else
/* A block's items, or a cluster's: one of every round of the grid, back and forth, so that with items that become
 * shorter none gets the longest of every round. */
ATTUNE_DEVICE unsigned item_of_round(unsigned round) { // unsigned: up to twice a grid of 2^31 - 1
  const unsigned grid = (unsigned)(grid_size() / cluster), block = (unsigned)(block_index() / cluster);
  return round * grid + (round % 2 == 0 ? block : grid - 1 - block);
}

/* The block's next item. */
ATTUNE_DEVICE bool next_item(int &item, unsigned &round, const attune_arguments &problem, const mbarriers &) {
  if (item_of_round(round) >= count_items(problem)) return false;
  item = (int)item_of_round(round++);
  return true;
}
#endif

/* The block's next item that has keys to see. */
ATTUNE_DEVICE bool next_work(work &w, unsigned &round, const attune_arguments &problem, const mbarriers &at) {
  int item;
  while (next_item(item, round, problem, at))
    if (find_work(w, problem, item) && w.tiles > 0) return true;
  return false;
}

/* ---- the producer: one warp, whose first lane starts the copies ---- */

template <int panels, int panel_bytes>
ATTUNE_DEVICE void load_panels(shared_address to, const attune_tensor_map &map, int row, int head, int batch,
                               shared_address full, unsigned long long policy) {
#pragma unroll
  for (int p = 0; p < panels; p++)
    load_tile(to + p * panel_bytes, map, p * 64, row, head, batch, full, policy);
}

/* This block's part of K's or V's tile. */
template <int panels>
ATTUNE_DEVICE void load_keys(shared_address to, const attune_tensor_map &map, int tile, int head, int batch,
                             shared_address full) {
#if CLUSTER > 1
  constexpr int rows = tile_n / cluster;
  const int first = block_index() % cluster * rows;
#pragma unroll
  for (int p = 0; p < panels; p++)
    load_tile_multicast(to + p * kv_panel_bytes + first * row_bytes, map, p * 64, tile * tile_n + first, head, batch,
                        full, (1 << cluster) - 1, read_again);
#else
  load_panels<panels, kv_panel_bytes>(to, map, tile * tile_n, head, batch, full, read_again);
#endif
}

/* Clears the rows from `limit` on of V's tile: keys that a length in device memory leaves out may hold anything, and
 * 0 x NaN is NaN. */
ATTUNE_DEVICE void clear_tail(shared_address v, int limit) {
  const words zero = {};
  for (int at = limit * row_bytes + thread_index() % 32 * 16; at < kv_panel_bytes; at += 32 * 16)
#pragma unroll
    for (int p = 0; p < v_panels; p++)
      store_shared_128(v + p * kv_panel_bytes + at, zero);
  fence_async();
  warp_barrier();
}

#if PATTERN || LIST_BLOCK
/* A tile in a word, as it is told: its number, whether others follow, whether it is whole. */
ATTUNE_DEVICE unsigned word_of(const tile_walk &walk, bool more) {
  return (unsigned)(walk.tile * 4 + more * 2 + walk.whole);
}

/* The scout. A tile is told when it is known whether another follows. */
ATTUNE_DEVICE void find_tiles(const attune_arguments &problem, const mbarriers &at) {
  ring<found_slots> found;
  auto tell = [&](unsigned word) {
    if (thread_index() % 32 == 0) {
      mbarrier_wait(at.found_empty + 8 * found.slot, found.parity ^ 1);
      store_shared_32(at.found + 4 * found.slot, word);
      mbarrier_arrive(at.found_full + 8 * found.slot);
    }
    advance(found);
  };
  work w;
  for (unsigned round = 0; next_work(w, round, problem, at);) {
    tile_walk walk = start_walk(problem, w);
    bool any = false;
    while (has_unseen(walk, w)) {
      look(walk, problem, w);
      while (walk.kept != 0) {
        if (any) tell(word_of(walk, true));
        take_tile(walk);
        any = true;
      }
    }
    tell(word_of(walk, false));
  }
}
#endif

ATTUNE_DEVICE void produce(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                           const mbarriers &at) {
  const bool loads = thread_index() % 32 == 0;
  ring<stages> k, v;
  unsigned landed_parities = 0; // a bit for each slot
#if PATTERN || LIST_BLOCK
  ring<found_slots> found;
#endif
  work w;
  for (unsigned round = 0; next_work(w, round, problem, at);) {
    const int kv_head = w.head / problem.group;
    const bool ragged = problem.seqlens_k && w.last_tile * tile_n + tile_n > w.seqlen_k;
#if PATTERN || LIST_BLOCK
    // What the scout found next, in all lanes.
    auto next_found = [&]() {
      int told = 0;
      if (loads) {
        mbarrier_wait(at.found_full + 8 * found.slot, found.parity);
        told = load_shared_int(at.found + 4 * found.slot);
        mbarrier_arrive(at.found_empty + 8 * found.slot);
      }
      advance(found);
      return warp_uniform(told);
    };
    int told = next_found();
#endif
    auto load_k = [&](int tile) {
      if (loads) {
        mbarrier_wait(at.k_empty + 8 * k.slot, k.parity ^ 1);
#if PATTERN || LIST_BLOCK
        store_shared_32(at.tiles + 4 * k.slot, (unsigned)told);
#endif
        mbarrier_arrive_expect(at.k_full + 8 * k.slot, k_slot_bytes);
        load_keys<k_panels>(shared + k_offset + k.slot * k_slot_bytes, maps.k, tile, kv_head, w.batch,
                            at.k_full + 8 * k.slot);
      }
      advance(k);
    };
    auto load_v = [&](int tile) {
      const bool clears = ragged && tile == w.last_tile;
      const shared_address to = shared + v_offset + v.slot * v_slot_bytes;
      // One for each slot: the neighbour of a cluster may be a slot ahead.
      const shared_address full = at.v_full + 8 * v.slot, landed = at.v_landed + 8 * v.slot;
      const shared_address arrived = clears ? landed : full;
      if (loads) {
        mbarrier_wait(at.v_empty + 8 * v.slot, v.parity ^ 1);
        mbarrier_arrive_expect(arrived, v_slot_bytes);
        load_keys<v_panels>(to, maps.v, tile, kv_head, w.batch, arrived);
      }
      if (clears) {
        warp_barrier();
        mbarrier_wait(landed, landed_parities >> v.slot & 1);
        landed_parities ^= 1u << v.slot;
        clear_tail(to, w.seqlen_k - tile * tile_n);
        if (loads) mbarrier_arrive(full);
      }
      advance(v);
    };
#if PATTERN || LIST_BLOCK
    load_k(told >> 2);
#else
    load_k(w.last_tile);
#endif
#if PATTERN || LIST_BLOCK
    while (told & 2) {
      const int before = told >> 2;
      told = next_found();
      load_k(told >> 2);
      load_v(before);
    }
    load_v(told >> 2);
#else
    for (int i = 1; i < w.tiles; i++) {
      load_k(w.last_tile - i);
      load_v(w.last_tile - i + 1);
    }
    load_v(w.last_tile - w.tiles + 1);
#endif
  }
#if CLUSTER > 1
  // The block stays until its neighbour's consumers have told all that they tell.
  for (int i = 0; i < stages && loads; i++) {
    mbarrier_wait(at.k_empty + 8 * k.slot, k.parity ^ 1);
    mbarrier_wait(at.v_empty + 8 * v.slot, v.parity ^ 1);
    advance(k);
    advance(v);
  }
#endif
}

/* ---- the porter: one warp, which brings Q and, from the same slot, takes away the O that consumers leave there ----
 */

/* Those of the tile's rows that there are, where that is known in device memory only. */
ATTUNE_DEVICE void copy_rows(const attune_arguments &problem, const work &w, shared_address slot) {
  constexpr int chunks = head_dim_v / 8;
#pragma unroll 1
  for (int c = thread_index() % 32; c < (w.seqlen_q - w.row_begin) * chunks; c += 32) {
    const int row = c / chunks, chunk = c % chunks;
    store_global_128((char *)problem.o + 2 * (w.batch * problem.o_batch + w.head * problem.o_heads +
                                              (w.row_begin + row) * problem.o_seqlen + chunk * 8),
                     load_shared_128(slot + chunk / 8 * q_panel_bytes + row * row_bytes + (chunk % 8 ^ row % 8) * 16));
  }
  fence_async(); // the copy engine writes here next
  warp_barrier();
}

ATTUNE_DEVICE void carry_rows(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                              const mbarriers &at) {
  const bool moves = thread_index() % 32 == 0;
  ring<q_stages> coming, leaving;
  unsigned next_coming = 0; // round
#if PERSISTENT_DYNAMIC
  // An item is told once: those whose Q is here or on its way, the oldest first; -1: none.
  int brought[q_stages];
  bool more = true;
#pragma unroll
  for (int i = 0; i < q_stages; i++)
    brought[i] = -1;
#else
  unsigned next_leaving = 0;
#endif
  work w;
  auto next_to_come = [&]() {
#if PERSISTENT_DYNAMIC
    more = more && next_work(w, next_coming, problem, at);
#pragma unroll
    for (int i = 1; i < q_stages; i++)
      brought[i - 1] = brought[i];
    brought[q_stages - 1] = more ? w.item : -1;
    return more;
#else
    return next_work(w, next_coming, problem, at);
#endif
  };
  auto next_to_leave = [&]() {
#if PERSISTENT_DYNAMIC
    return brought[0] >= 0 && find_work(w, problem, brought[0]);
#else
    return next_work(w, next_leaving, problem, at);
#endif
  };
  auto bring = [&]() {
    if (!next_to_come()) return;
    if (moves) {
      const shared_address full = at.q_full + 8 * coming.slot;
      mbarrier_arrive_expect(full, k_panels * q_panel_bytes);
      load_panels<k_panels, q_panel_bytes>(shared + coming.slot * q_slot_bytes, maps.q, w.row_begin, w.head, w.batch,
                                           full, passes_once);
    }
    advance(coming);
  };
  for (int i = 0; i < q_stages; i++)
    bring();
  while (next_to_leave()) {
    const shared_address slot = shared + leaving.slot * q_slot_bytes;
    if (moves) mbarrier_wait(at.o_full + 8 * leaving.slot, leaving.parity);
    warp_barrier(); // a lane that waited by itself could come too late for this phase and the next
    if (problem.seqlens_q && w.row_begin + tile_m > w.seqlen_q) {
      copy_rows(problem, w, slot);
    } else if (moves) {
#pragma unroll
      for (int p = 0; p < v_panels; p++)
        store_tile(maps.o, p * 64, w.row_begin, w.head, w.batch, slot + p * q_panel_bytes, passes_once);
      finish_stores();
    }
    advance(leaving);
    bring();
  }
}

/* ---- a consumer: one warpgroup, 64 query rows ---- */

/* LAZY_RESCALE: O and the sum are rescaled only when some row's maximum has grown by more than a factor of 2^8: until
 * then P may exceed 1, which costs no accuracy in floating point, and the sum is taken against the same maximum. */
constexpr float growth = 8.0f;

/* What a thread holds of its two rows (lane / 4 and lane / 4 + 8 of its warp's 16). */
struct state {
  float o[head_dim_v / 2];
  float max[2];    // in units of q.k
  float sum[2];    // of this thread's columns only, until the end
  float factor[2]; // by which O is to be scaled
  bool grown;      // whether it is
};

/* Starts S = Q K, for as many keys as S has columns. */
template <int n> ATTUNE_DEVICE void start_scores(float (&s)[n], unsigned long long q, unsigned long long k) {
#pragma unroll
  for (int d = 0; d < depth / 16; d++)
    warpgroup_multiply(s, q + (d / 4 * q_panel_bytes + d % 4 * 32) / 16, k + (d / 4 * kv_panel_bytes + d % 4 * 32) / 16,
                       d > 0);
  warpgroup_commit();
}

/* P of a tile: of the thread, the A-operands of the products P V; or a place in shared memory, of which the warpgroup
 * owns 64 rows. The functions that take it are for as many of its columns as 16 steps. */
struct probabilities {
#if P_SHARED
  shared_address tile;
  int row; // the thread's first
#else
  unsigned fragments[tile_n / 16][4];
#endif
};

template <int steps> ATTUNE_DEVICE void hold_probabilities(probabilities &p) {
#if !P_SHARED
  hold((unsigned(&)[steps][4])p.fragments);
#endif
}

/* Starts O += P V. */
template <int steps> ATTUNE_DEVICE void start_values(state &row, probabilities &p, unsigned long long v) {
#if P_SHARED
  const unsigned long long matrix = matrix_k_major(p.tile + p.row / 64 * 64 * row_bytes);
#endif
#pragma unroll
  for (int n = 0; n < steps; n++)
#if P_SHARED
    warpgroup_multiply_n_major(row.o, matrix + (n / 4 * q_panel_bytes + n % 4 * 32) / 16, v + n * 16 * row_bytes / 16,
                               true);
#else
    warpgroup_multiply_registers(row.o, p.fragments[n], v + n * 16 * row_bytes / 16, true);
#endif
  warpgroup_commit();
}

/* Takes the rows' maxima along; the factors for O are left to be applied. */
template <int count> ATTUNE_DEVICE void update_maxima(state &row, const float (&s)[count], float log2_scale) {
  float high[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float h = row.max[half];
#pragma unroll
    for (int n = 0; n < count / 4; n++)
      h = maximum(h, maximum(s[4 * n + 2 * half], s[4 * n + 2 * half + 1]));
    h = maximum(h, shuffle_xor(h, 1)); // the four lanes of a row
    high[half] = maximum(h, shuffle_xor(h, 2));
  }
#if LAZY_RESCALE
  row.grown = any_lane((high[0] - row.max[0]) * log2_scale > growth || (high[1] - row.max[1]) * log2_scale > growth);
  if (row.grown)
#else
  row.grown = true;
#endif
  {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      // A row that has seen no key yet has maximum -inf, and -inf - -inf is not a number.
      row.factor[half] = high[half] == -infinity() ? 1.0f : exp2_approximate((row.max[half] - high[half]) * log2_scale);
      row.max[half] = high[half];
      row.sum[half] *= row.factor[half];
    }
  }
}

/* The same where few maxima grow: whether one might have is seen without the other lanes, and with the bits of floats,
 * which are in order where the larger one is positive: three of them in an instruction. */
template <int count>
ATTUNE_DEVICE void follow_maxima(state &row, const float (&s)[count], float log2_scale, float slack) {
#if LAZY_RESCALE
  bool grown = false;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float limit = row.max[half] + slack;
    int top = 0;
#pragma unroll
    for (int n = 0; n < count / 4; n++)
      top = maximum(top, maximum(float_bits(s[4 * n + 2 * half]), float_bits(s[4 * n + 2 * half + 1])));
    grown = grown || !(limit > 0) || top > float_bits(limit);
  }
  row.grown = false;
  if (!any_lane(grown)) return;
#endif
  update_maxima(row, s, log2_scale);
}

#if POLYNOMIAL
/* exp2(x) of x up to 127 on the FMA units: 2^i by the exponent's bits, 2^f for f from -1/2 to 1/2 by the polynomial of
 * degree 4 with the least relative error, 2.7e-6. 0 below 2^-127, and a NaN stays one. */
ATTUNE_DEVICE float exp2_polynomial(float x) {
  constexpr float to_integer = 12582912.0f; // 1.5 x 2^23: adding it rounds to an integer, in the lowest bits
  x = at_least(-127.0f, x);
  const float shifted = x + to_integer, f = x - (shifted - to_integer);
  const float power = float_of_bits(((unsigned)float_bits(shifted) << 23) + 0x3f800000u);
  return power * ((((0.00957010221f * f + 0.0559178591f) * f + 0.240247443f) * f + 0.693121791f) * f + 0.999999285f);
}
#endif

/* exp2 of a thread's i-th score. */
ATTUNE_DEVICE float exponential(float x, int i) {
#if POLYNOMIAL
  if (i % polynomial == polynomial - 1) return exp2_polynomial(x);
#endif
  return exp2_approximate(x);
}

/* From scores to probabilities, in place: columns 8 first to 8 end - 1. */
template <int first, int end, int count>
ATTUNE_DEVICE void exponentiate(state &row, float (&s)[count], float log2_scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float shift = row.max[half] == -infinity() ? 0.0f : row.max[half] * log2_scale;
    float sum = row.sum[half];
#pragma unroll
    for (int n = first; n < end; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float p = exponential(s[4 * n + 2 * half + e] * log2_scale - shift, 2 * n + e);
        s[4 * n + 2 * half + e] = p;
        sum += p;
      }
    row.sum[half] = sum;
  }
}

ATTUNE_DEVICE void rescale(state &row) {
  if (row.grown) {
#pragma unroll
    for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        row.o[4 * n + e] *= row.factor[e / 2];
  }
}

/* O is rescaled before P V is started, or once it has been. */
ATTUNE_DEVICE void rescale_before(state &row) {
#if RESCALE_BEFORE
  rescale(row);
  hold(row.o);
#endif
}

ATTUNE_DEVICE void rescale_after(state &row) {
#if !RESCALE_BEFORE
  rescale(row);
#endif
}

/* What a thread has of one of its rows of accumulators, times a factor, to that row of a tile of tile_m: chunks of 16
 * bytes, swizzled as the copy engine does it. */
template <int count>
ATTUNE_DEVICE void store_row(shared_address tile, int row, const float (&c)[count], int half, float factor) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int n = 0; n < count / 4; n++)
    store_shared_32(tile + n / 8 * q_panel_bytes + row * row_bytes + (n % 8 ^ row % 8) * 16 + lane % 4 * 4,
                    pack(c[4 * n + 2 * half] * factor, c[4 * n + 2 * half + 1] * factor));
}

/* The accumulator layout of S is, packed, the A-operand layout of P. */
template <int steps> ATTUNE_DEVICE void pack_probabilities(probabilities &p, const float (&s)[steps * 8]) {
#if P_SHARED
#pragma unroll
  for (int half = 0; half < 2; half++)
    store_row(p.tile, p.row + half * 8, s, half, 1.0f);
  fence_async(); // a product reads it
  named_barrier(1 + consumers + p.row / 64, 128);
#else
#pragma unroll
  for (int n = 0; n < steps; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      p.fragments[n][e] = pack(s[8 * n + 2 * e], s[8 * n + 2 * e + 1]);
#endif
}

/* O / sum to this warp's 16 rows of Q's slot; and LSE. */
ATTUNE_DEVICE void leave_rows(const state &row, const attune_arguments &problem, const work &w, shared_address slot,
                              int warp_row, float log2_scale) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = row.sum[half];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    const int at = warp_row + half * 8 + lane / 4;
    const row_result result = result_of(problem, w.head, row.max[half] * log2_scale, sum);
    store_row(slot, at, row.o, half, result.factor);
#if LSE
    if (lane % 4 == 0 && w.row_begin + at < w.seqlen_q)
      store_global_float(problem.lse + (long long)w.place * problem.seqlen_q + w.row_begin + at, result.lse);
#endif
  }
}

/* Rows that see no key. */
ATTUNE_DEVICE void store_nothing(const attune_arguments &problem, const work &w, int warp_row) {
  const int lane = thread_index() % 32;
  const words zero = {};
  constexpr int chunks = head_dim_v / 8;
  for (int c = lane; c < 16 * chunks; c += 32) {
    const int row = w.row_begin + warp_row + c / chunks;
    if (row < w.seqlen_q)
      store_global_128((char *)problem.o + 2 * (w.batch * problem.o_batch + w.head * problem.o_heads +
                                                row * problem.o_seqlen + c % chunks * 8),
                       zero);
  }
#if LSE
  const int row = w.row_begin + warp_row + lane;
  if (lane < 16 && row < w.seqlen_q)
    store_global_float(problem.lse + (long long)w.place * problem.seqlen_q + row,
                       result_of(problem, w.head, -infinity(), 0.0f).lse);
#endif
}

/* The block's next item that has keys to see; on the way, those that have none are answered: no Q was loaded for them.
 */
ATTUNE_DEVICE bool take_item(work &w, unsigned &round, const attune_arguments &problem, const mbarriers &at,
                             int warp_row) {
  int item;
  while (next_item(item, round, problem, at)) {
    if (!find_work(w, problem, item)) continue;
    if (w.tiles > 0) return true;
    store_nothing(problem, w, warp_row);
  }
  return false;
}

ATTUNE_DEVICE void clear(state &row) {
  row.max[0] = row.max[1] = -infinity();
  row.sum[0] = row.sum[1] = 0.0f;
#pragma unroll
  for (int n = 0; n < head_dim_v / 2; n++)
    row.o[n] = 0.0f;
}

ATTUNE_DEVICE void consume(const attune_arguments &problem, shared_address shared, const mbarriers &at, int group) {
  const int lane = thread_index() % 32;
  const int warp_row = thread_index() / 32 * 16 - 64;     // the producer's warpgroup comes before
  const int listener = thread_index() % (128 / speakers); // the block of the cluster that this thread tells
  const float log2_scale = problem.log2_scale, slack = growth / log2_scale;
  const unsigned long long k_first = matrix_k_major(shared + k_offset),
                           v_first = matrix_n_major(shared + v_offset, kv_panel_bytes);
  ring<q_stages> q;
  ring<stages> k, v;
  work w = {};
  state row;
  constexpr int all = tile_n / 16;
  probabilities p;
#if P_SHARED
  p.tile = shared + p_offset;
  p.row = warp_row + lane / 4;
#endif
  unsigned round = 0;
  int tile = 0;
  bool whole = false, more = true; // of this tile, after it
  tile_bias bias;
#if HALVES
  visible_keys seen = {}; // by the warpgroup's rows
#endif

  // To the next tile, once its K has arrived.
  auto meet_tile = [&]() {
    mbarrier_wait(at.k_full + 8 * k.slot, k.parity);
#if PATTERN || LIST_BLOCK
    const int told = warp_uniform(listener == 0 ? load_shared_int(at.tiles + 4 * k.slot) : 0);
    tile = told >> 2;
    more = told & 2;
    whole = told & 1;
#else
    tile--;
    more = tile > w.last_tile - w.tiles + 1;
    whole = tile < w.full_end && tile >= w.full_begin;
#endif
    fetch_bias(bias, problem, w, w.row_begin + warp_row + lane / 4, tile * tile_n);
  };
  auto begin_products = [&]() {
#if ROTATION_TURNS
    named_barrier(1 + group, 256);
#endif
  };
  auto end_products = [&]() {
#if ROTATION_TURNS
    named_barrier_arrive(1 + (group + 1) % consumers, 256);
#endif
  };
  auto begin_softmax = [&]() {
#if ROTATION_TOKENS
    named_barrier(1 + group, 256);
#endif
  };
  auto end_softmax = [&]() {
#if ROTATION_TOKENS
    named_barrier_arrive(1 + (group + 1) % consumers, 256);
#endif
  };
  auto q_operand = [&]() { return matrix_k_major(shared + q.slot * q_slot_bytes + group * 64 * row_bytes); };
  auto k_operand = [&]() { return k_first + k.slot * (k_slot_bytes / 16); };
  auto v_operand = [&]() { return v_first + v.slot * (v_slot_bytes / 16); };
  auto mask_scores = [&](auto &scores, int key) {
    const int own_row = w.row_begin + warp_row + lane / 4;
    change_scores(scores, problem, w, own_row, key, bias);
    if (!whole) hide_scores(scores, problem, w, own_row, key);
  };
  auto leave = [&](shared_address empty) {
#if CLUSTER > 1
    if (listener < cluster) mbarrier_arrive_at(empty, listener);
#else
    if (listener == 0) mbarrier_arrive(empty);
#endif
  };
  auto leave_k = [&]() {
    leave(at.k_empty + 8 * k.slot);
    advance(k);
  };
  auto leave_v = [&]() {
    leave(at.v_empty + 8 * v.slot);
    advance(v);
  };
  // Tiles go from the right bound to the left one.
  auto at_left_bound = [&]() {
#if HALVES && BOUND_WINDOW
    return seen.begin >= tile * tile_n + tile_n / 2;
#else
    return false;
#endif
  };
#if HALVES
  auto sees_half = [&]() { return seen.end <= tile * tile_n + tile_n / 2 || at_left_bound(); };
  // A tile of which this warpgroup sees one half at most, by itself.
  auto take_half = [&]() {
    const int half = seen.end <= tile * tile_n + tile_n / 2 ? 0 : 1, key = tile * tile_n + half * (tile_n / 2);
    const bool none = seen.end <= key || seen.begin >= key + tile_n / 2;
    float scores[tile_n / 4] = {}; // undefined ones would be held for, from the kernel's start on
    constexpr int steps = tile_n / 32;
    begin_products();
    if (!none) {
      hold(scores);
      warpgroup_fence();
      start_scores(scores, q_operand(), k_operand() + half * (tile_n / 2 * row_bytes / 16));
      warpgroup_wait<0>();
      hold(scores);
    }
    end_products();
    if (none) warp_barrier(); // no product has brought the lanes together
    leave_k();
    mbarrier_wait(at.v_full + 8 * v.slot, v.parity);
    begin_softmax();
    if (none) {
      warp_barrier();
    } else {
      fetch_bias(bias, problem, w, w.row_begin + warp_row + lane / 4, key); // the tile's began with its first half
      mask_scores(scores, key);
      update_maxima(row, scores, log2_scale);
      rescale(row);
      exponentiate<0, tile_n / 16>(row, scores, log2_scale);
      pack_probabilities<steps>(p, scores);
      hold(row.o);
      hold_probabilities<steps>(p);
      warpgroup_fence();
      start_values<steps>(row, p, v_operand() + half * (tile_n / 2 * row_bytes / 16));
      warpgroup_wait<0>();
      hold(row.o);
      hold_probabilities<steps>(p);
    }
    end_softmax();
    leave_v();
  };
#endif
  // From the tile that was met to the last one; or to one that was met and is a half at the left bound: true.
  auto take_wholes = [&]() {
    float s[tile_n / 2];
    bool met = false;
#if OVERLAP
    begin_products();
    hold(s);
    warpgroup_fence();
    start_scores(s, q_operand(), k_operand());
    warpgroup_wait<0>();
    end_products();
    hold(s);
    leave_k();
    begin_softmax();
    mask_scores(s, tile * tile_n);
    update_maxima(row, s, log2_scale);
#if HALVES
    rescale_after(row); // O is not 0 after a half
#endif
    exponentiate<0, tile_n / 8>(row, s, log2_scale);
    end_softmax();
    pack_probabilities<all>(p, s);
    while (more) {
      meet_tile();
      met = at_left_bound();
      if (met) break;
      begin_products();
      hold(s);
      hold(row.o);
      hold_probabilities<all>(p);
      warpgroup_fence();
      start_scores(s, q_operand(), k_operand());
      rescale_before(row);
      mbarrier_wait(at.v_full + 8 * v.slot, v.parity);
      warpgroup_fence();
      start_values<all>(row, p, v_operand());
      end_products();
      warpgroup_wait<1>();
      hold(s);
      leave_k();
      begin_softmax();
      mask_scores(s, tile * tile_n);
      follow_maxima(row, s, log2_scale, slack);
      exponentiate<0, tile_n / 16>(row, s, log2_scale);
      hold(s); // now, beside the product
      warpgroup_wait<0>();
      hold(row.o);
      hold_probabilities<all>(p);
      leave_v();
      rescale_after(row);
      exponentiate<tile_n / 16, tile_n / 8>(row, s, log2_scale);
      end_softmax();
      pack_probabilities<all>(p, s);
    }
    rescale_before(row);
    mbarrier_wait(at.v_full + 8 * v.slot, v.parity);
    hold(row.o);
    hold_probabilities<all>(p);
    warpgroup_fence();
    start_values<all>(row, p, v_operand());
    warpgroup_wait<0>();
    hold(row.o);
    leave_v();
#else
    do {
      begin_products();
      hold(s);
      warpgroup_fence();
      start_scores(s, q_operand(), k_operand());
      warpgroup_wait<0>();
      hold(s);
      leave_k();
      end_products();
      begin_softmax();
      mask_scores(s, tile * tile_n);
      follow_maxima(row, s, log2_scale, slack);
      rescale(row);
      exponentiate<0, tile_n / 8>(row, s, log2_scale);
      end_softmax();
      pack_probabilities<all>(p, s);
      mbarrier_wait(at.v_full + 8 * v.slot, v.parity);
      hold(row.o);
      hold_probabilities<all>(p);
      warpgroup_fence();
      start_values<all>(row, p, v_operand());
      warpgroup_wait<0>();
      hold(row.o);
      hold_probabilities<all>(p);
      leave_v();
      if (!more) break;
      meet_tile();
      met = at_left_bound();
    } while (!met);
#endif
    return met;
  };
#if HALVES
  // From the tile that was met to one that was met and is no half: true.
  auto take_halves = [&]() {
    while (sees_half()) {
      take_half();
      if (!more) return false;
      meet_tile();
    }
    return true;
  };
#endif
#if ROTATION_TURNS || ROTATION_TOKENS
  // A turn is the named barrier of its warpgroup: the one before arrives, it waits. The first turn is given away here.
  if (group == consumers - 1) named_barrier_arrive(1, 256);
#endif
  while (take_item(w, round, problem, at, warp_row)) {
    clear(row);
    tile = w.last_tile + 1;
#if HALVES
    seen = keys_of_rows(problem, w.row_begin + group * 64, w.row_begin + group * 64 + 63, w.shift, w.seqlen_k);
#endif
    mbarrier_wait(at.q_full + 8 * q.slot, q.parity);
    meet_tile();
#if HALVES
    if (take_halves() && take_wholes()) take_halves();
#else
    take_wholes();
#endif
    leave_rows(row, problem, w, shared + q.slot * q_slot_bytes, warp_row, log2_scale);
    fence_async(); // the copy engine reads it
    warp_barrier();
    if (lane == 0) mbarrier_arrive(at.o_full + 8 * q.slot);
    advance(q);
  }
}

ATTUNE_KERNEL(threads, blocks)
#if CLUSTER > 1
ATTUNE_CLUSTER(cluster)
#endif
KERNEL_NAME(const attune_arguments problem, ATTUNE_MAPS(maps)) {
  const shared_address shared = shared_memory();
  const mbarriers at = mbarriers_at(shared + mbarrier_offset);
  if (thread_index() == 0) {
    for (int i = 0; i < q_stages; i++) {
      mbarrier_init(at.q_full + 8 * i, 1);
      mbarrier_init(at.o_full + 8 * i, 4 * consumers); // every warp
    }
    for (int i = 0; i < stages; i++) {
      mbarrier_init(at.k_full + 8 * i, 1);
      mbarrier_init(at.v_full + 8 * i, 1);
      mbarrier_init(at.v_landed + 8 * i, 1);
      mbarrier_init(at.k_empty + 8 * i, speakers * consumers * cluster);
      mbarrier_init(at.v_empty + 8 * i, speakers * consumers * cluster);
    }
#if PATTERN || LIST_BLOCK
    for (int i = 0; i < found_slots; i++) {
      mbarrier_init(at.found_full + 8 * i, 1);
      mbarrier_init(at.found_empty + 8 * i, 1);
    }
#endif
#if PERSISTENT_DYNAMIC
    mbarrier_init(at.asked, 1);
    for (int i = 0; i < dealt_slots; i++) {
      mbarrier_init(at.dealt_full + 8 * i, 1);
      mbarrier_init(at.dealt_empty + 8 * i, told_warps);
    }
#endif
    mbarrier_init_fence();
  }
#if CLUSTER > 1
  cluster_barrier();
#else
  barrier();
#endif
  const int group = warp_uniform(thread_index() / 128) - 1;
  if (group < 0) {
#if TILE_M > 64 || BLOCKS > 1
    release_registers<producer_registers>();
#endif
    const int warp = warp_uniform(thread_index() / 32);
    if (warp == 0) produce(problem, maps, shared, at);
#if PATTERN || LIST_BLOCK
    if (warp == 1) find_tiles(problem, at);
#endif
    if (warp == 2) carry_rows(problem, maps, shared, at);
#if PERSISTENT_DYNAMIC
    if (warp == 3 && thread_index() % 32 == 0) deal_items(problem, at);
#endif
  } else {
#if TILE_M > 64 || BLOCKS > 1
    claim_registers<consumer_registers>();
#endif
    consume(problem, shared, at, group);
  }
}
