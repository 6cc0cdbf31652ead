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
 * next Q once O is out; or O has a slot of its own; or it leaves through the slot of the item's last V. A ring's parity
 * flips when it wraps, so that a wait names the passage it means; who waits must have seen it before those it waits
 * with let the next one pass.
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
 * Packed heads. The query heads on one key head see the same keys: rows of so many of them, query by query, make one
 * tile, so that a few queries fill it.
 *
 * Tiles lie in panels of 64 columns (128 bytes a row, 128-byte swizzle), padded with zeros by the copy engine. Layouts
 * of fragments and descriptors: PTX ISA, "Asynchronous warpgroup level matrix instructions". */
#include "wgmma_loaders.h"
#include "wgmma_rows.h"

/* ---- a consumer: one warpgroup, 64 query rows ---- */

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
  const int warp_row = thread_index() / 32 * 16 - 64;    // the producer's warpgroup comes before
  const int speaker = thread_index() % (128 / speakers); // 0: it tells that a slot is left
  const float log2_scale = problem.log2_scale, slack = growth / log2_scale;
  const unsigned long long k_first = matrix_k_major(shared + k_offset),
                           v_first = matrix_n_major(shared + v_offset, kv_panel_bytes);
  ring<q_stages> q;
#if !O_PLACE_OQ
  ring<1> o;
#endif
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
    const int told = warp_uniform(lane == 0 ? load_shared_int(at.tiles + 4 * k.slot) : 0);
    tile = told >> 2;
    more = told & 2;
    whole = told & 1;
#else
    tile--;
    more = tile > w.last_tile - w.tiles + 1;
    whole = tile < w.full_end && tile >= w.full_begin;
#endif
    fetch_bias(bias, problem, w, query_of(w, warp_row + lane / 4), tile * tile_n);
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
    const int own_row = query_of(w, warp_row + lane / 4);
    change_scores(scores, problem, w, own_row, key, bias);
    if (!whole) hide_scores(scores, problem, w, own_row, key);
  };
  auto leave = [&](shared_address empty) {
#if CLUSTER > 1
    if (speaker < cluster) mbarrier_arrive_at(empty, speaker);
#else
    if (speaker == 0) mbarrier_arrive(empty);
#endif
  };
  auto leave_k = [&]() {
    leave(at.k_empty + 8 * k.slot);
    advance(k);
  };
  auto leave_v = [&](bool last) {
#if O_PLACE_OV
    if (last) return; // O leaves through it
#endif
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
  // Where no product has brought together those for whom one speaks.
  auto meet = [&]() {
#if PATTERN || LIST_BLOCK
    warp_barrier();
#else
    named_barrier(1 + consumers + group, 128);
#endif
  };
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
    if (none) meet();
    leave_k();
    mbarrier_wait(at.v_full + 8 * v.slot, v.parity);
    begin_softmax();
    if (none) {
      meet();
    } else {
      fetch_bias(bias, problem, w, query_of(w, warp_row + lane / 4), key); // the tile's began with its first half
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
    leave_v(!more);
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
      leave_v(false);
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
    leave_v(!met);
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
      leave_v(!more);
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
    seen = keys_of_rows(problem, query_of(w, group * 64), query_of(w, group * 64 + 63), w.shift, w.seqlen_k);
#endif
    mbarrier_wait(at.q_full + 8 * q.slot, q.parity);
    meet_tile();
#if HALVES
    if (take_halves() && take_wholes()) take_halves();
#else
    take_wholes();
#endif
#if !O_PLACE_OQ
    warp_barrier(); // no product has brought the lanes together where all was left out
    if (lane == 0) mbarrier_arrive(at.q_empty + 8 * q.slot);
    mbarrier_wait(at.o_empty, o.parity ^ 1);
#endif
#if O_PLACE_OV
    named_barrier(1 + 2 * consumers, 128 * consumers); // all have read the last V
    if (group == 0 && thread_index() % 128 == 0) store_shared_32(at.o_slot, (unsigned)v.slot);
    leave_rows(row, problem, w, shared + v_offset + v.slot * v_slot_bytes, warp_row, log2_scale);
    advance(v);
#elif O_PLACE_OB
    leave_rows(row, problem, w, shared + o_offset, warp_row, log2_scale);
#else
    leave_rows(row, problem, w, shared + q.slot * q_slot_bytes, warp_row, log2_scale);
#endif
    fence_async(); // the copy engine reads it
    warp_barrier();
#if O_PLACE_OQ
    if (lane == 0) mbarrier_arrive(at.o_full + 8 * q.slot);
#else
    if (lane == 0) mbarrier_arrive(at.o_full);
    advance(o);
#endif
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
#if O_PLACE_OQ
      mbarrier_init(at.o_full + 8 * i, 4 * consumers); // every warp
#else
      mbarrier_init(at.q_empty + 8 * i, 4 * consumers); // every warp
#endif
    }
#if !O_PLACE_OQ
    mbarrier_init(at.o_full, 4 * consumers);
    mbarrier_init(at.o_empty, 1);
#endif
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
