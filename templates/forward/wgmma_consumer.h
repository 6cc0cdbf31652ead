/* Forward wgmma: a consumer warpgroup, which computes 64 query rows of the block's tile.
 *
 * The steps of the main loop are lambdas over the consumer's state, not methods of a struct: with methods nvcc (13.0)
 * finds less of what stays the same from tile to tile, and emits up to 4% more instructions. */
#pragma once
#include "../parts/named_barriers.h"
#include "../parts/scores.h"
#include "../parts/wgmma_products.h"
#include "wgmma_loaders.h"

/* What a thread holds of its two rows. */
struct row_state {
  float o[head_dim_v / 2];
  softmax_rows softmax;
  float factor[2]; // by which O is to be scaled
  bool grown;      // whether it is
};

ATTUNE_DEVICE void clear(row_state &row) {
  clear(row.softmax);
#pragma unroll
  for (int n = 0; n < head_dim_v / 2; n++)
    row.o[n] = 0.0f;
}

/* Takes the maxima of a tile; the factors for O are left to be applied. */
template <int count> ATTUNE_DEVICE void update_max(row_state &row, const float (&s)[count], float log2_scale) {
  float high[2];
  find_maxima(high, row.softmax, s);
#if LAZY_RESCALE
  row.grown = warp_any(exceeds_threshold(row.softmax, high, log2_scale));
  if (row.grown)
#else
  row.grown = true;
#endif
  {
#pragma unroll
    for (int half = 0; half < 2; half++)
      row.factor[half] = take_max<true>(row.softmax, half, high[half], log2_scale);
  }
}

/* The same where few maxima grow. */
template <int count>
ATTUNE_DEVICE void update_max_lazy(row_state &row, const float (&s)[count], float log2_scale, float slack) {
#if LAZY_RESCALE
  row.grown = false;
  if (!warp_any(may_exceed_threshold(row.softmax, s, slack))) return;
#endif
  update_max(row, s, log2_scale);
}

ATTUNE_DEVICE void rescale_o(row_state &row) {
  if (row.grown) {
#pragma unroll
    for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        row.o[4 * n + e] *= row.factor[e / 2];
  }
}

/* O is rescaled before P V is started, or once it has been. */
ATTUNE_DEVICE void rescale_before_pv(row_state &row) {
#if RESCALE_BEFORE_PV
  rescale_o(row);
  fence_registers(row.o);
#endif
}
ATTUNE_DEVICE void rescale_after_pv(row_state &row) {
#if !RESCALE_BEFORE_PV
  rescale_o(row);
#endif
}

/* O / sum to this warp's 16 rows of a slot; and LSE. Of a split, its part to the workspace. */
ATTUNE_DEVICE void leave_o(const row_state &row, const attune_arguments &problem, const work_tile &w,
                           shared_address slot, int warp_row) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = sum_of_row(row.softmax.sum[half]);
    const int at = warp_row + half * 8 + lane / 4;
    const float max = row.softmax.max[half];
#if SPLITS > 1
    if (query_of(w, at) < w.seqlen_q) store_o_partial(problem, w, at, row.o, half, max, sum);
#else
    const row_result result = finish_row(problem, head_of(w, at), max, sum);
    store_row(slot, at, row.o, half, result.factor);
#if LSE
    if (lane % 4 == 0 && query_of(w, at) < w.seqlen_q) store_lse(problem, w, at, result.lse);
#endif
#endif
  }
}

/* The next tile that sees keys; on the way, those that see none are answered: no Q was loaded for them. */
ATTUNE_DEVICE bool next_work(work_tile &w, tile_scheduler &scheduler, const attune_arguments &problem, int warp_row) {
  int tile_index;
  while (scheduler.next_index(tile_index, problem)) {
    if (!decode_tile(w, problem, tile_index)) continue;
    if (w.tiles > 0) return true;
    store_zero<16>(problem, w, warp_row);
  }
  return false;
}

ATTUNE_DEVICE void run_consumer(const attune_arguments &problem, shared_address shared, const smem_map &smem,
                                int group) {
  constexpr int steps = tile_n / 16; // of the product P V
  const int lane = thread_index() % 32;
  const int warp_row = thread_index() / 32 * 16 - 64;              // of the tile; the loading warpgroup comes before
  const int arriver = thread_index() % (128 / warpgroup_arrivals); // 0: elected
  const float log2_scale = problem.log2_scale, slack = score_slack(log2_scale);
  const unsigned long long k_first = descriptor_k_major(shared + k_offset),
                           v_first = descriptor_n_major(shared + v_offset, kv_panel_bytes);
#if O_STAGING_Q
  pipeline<q_stages> q = {smem.q_full, 0}; // O leaves through it: it has no empty barrier
#else
  pipeline<q_stages> q = {smem.q_full, smem.q_empty};
  pipeline<1> o = {smem.o_full, smem.o_empty};
#endif
  pipeline<stages> k = {smem.k_full, smem.k_empty}, v = {smem.v_full, smem.v_empty};
  tile_scheduler scheduler = {smem};
  work_tile w = {};
  row_state row;
  probabilities p;
#if P_IN_SMEM
  p.tile = shared + p_offset;
  p.row = warp_row + lane / 4;
#endif
  tile_bias bias;
  float shift[2];
  int tile = 0;                   // of keys
  bool full = false, more = true; // nothing is masked in it; others follow
#if HALF_TILES
  visible_keys seen = {}; // by the warpgroup's rows
#endif

  /* ---- slots ---- */

  auto q_operand = [&]() {
    return descriptor_k_major(shared + q_offset + q.slot * q_slot_bytes + group * 64 * row_bytes);
  };
  auto k_operand = [&]() { return k_first + k.slot * (k_slot_bytes / 16); };
  auto v_operand = [&]() { return v_first + v.slot * (v_slot_bytes / 16); };
  // To the next tile, once its K is there.
  auto wait_k = [&]() {
    k.wait();
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    const int word = warp_uniform(lane == 0 ? load_shared_int(smem.k_tile + 4 * k.slot) : 0);
    tile = word >> 2;
    more = word & 2;
    full = word & 1;
#else
    tile--;
    more = tile > w.last_tile - w.tiles + 1;
    full = tile < w.full_end && tile >= w.full_begin;
#endif
    fetch_bias(bias, problem, w, query_of(w, warp_row + lane / 4), tile * tile_n);
  };
  auto release = [&](shared_address empty) {
#if CLUSTER > 1
    if (arriver < cluster) mbarrier_arrive_cluster(empty, arriver);
#else
    if (arriver == 0) mbarrier_arrive(empty);
#endif
  };
  auto release_k = [&]() {
    release(k.empty_barrier());
    k.advance();
  };
  auto release_v = [&](bool last) {
#if O_STAGING_V
    if (last) return; // O leaves through it
#endif
    release(v.empty_barrier());
    v.advance();
  };

  /* ---- ping-pong (FlashAttention-3, section 3.1): a turn is the named barrier of its warpgroup ---- */

  // A warpgroup starts its products only when the one before it has started its own.
  auto begin_products = [&]() {
#if PINGPONG_MMA
    named_barrier_sync(PINGPONG_BARRIER + group, 256);
#endif
  };
  auto end_products = [&]() {
#if PINGPONG_MMA
    named_barrier_arrive(PINGPONG_BARRIER + (group + 1) % consumers, 256);
#endif
  };
  // It begins its softmax only when the one before it has ended its own.
  auto begin_softmax = [&]() {
#if PINGPONG_SOFTMAX
    named_barrier_sync(PINGPONG_BARRIER + group, 256);
#endif
  };
  auto end_softmax = [&]() {
#if PINGPONG_SOFTMAX
    named_barrier_arrive(PINGPONG_BARRIER + (group + 1) % consumers, 256);
#endif
  };

  /* ---- tiles of keys ---- */

  auto mask_tile = [&](auto &s, int key) {
    const int query = query_of(w, warp_row + lane / 4); // the first of this thread's two
    change_scores(s, problem, w, query, key, bias);
    if (!full) mask_scores(s, problem, w, query, key);
  };

#if !INTRA_WG_OVERLAP
  auto step = [&](float(&s)[tile_n / 2]) {
    begin_products();
    multiply_qk(s, q_operand(), k_operand());
    release_k();
    end_products();
    begin_softmax();
    mask_tile(s, tile * tile_n);
    update_max_lazy(row, s, log2_scale, slack);
    rescale_o(row);
    find_shifts<true>(shift, row.softmax, s, log2_scale);
    exponentiate<0, tile_n / 8>(row.softmax, s, shift, log2_scale);
    end_softmax();
    pack_probabilities<steps>(p, s);
    v.wait();
    multiply_pv<steps>(row.o, p, v_operand());
    release_v(!more);
  };

#else
  /* ---- overlapped (FlashAttention-3, arXiv 2407.08608, algorithm 2): Q K(i) is started before P V(i - 1), and the
   * softmax of the one runs while the matrix units work on the other ---- */

  auto first_half = [&](float(&s)[tile_n / 2]) {
    begin_products();
    fence_registers(s);
    wgmma_fence();
    issue_qk(s, q_operand(), k_operand());
    wgmma_wait<0>();
    end_products();
    fence_registers(s);
    release_k();
    begin_softmax();
    mask_tile(s, tile * tile_n);
    update_max(row, s, log2_scale);
#if HALF_TILES
    rescale_after_pv(row); // O is not 0 after a half tile
#endif
    find_shifts<true>(shift, row.softmax, s, log2_scale);
    exponentiate<0, tile_n / 8>(row.softmax, s, shift, log2_scale);
    end_softmax();
    pack_probabilities<steps>(p, s);
  };
  auto step_overlapped = [&](float(&s)[tile_n / 2]) {
    begin_products();
    fence_registers(s);
    fence_registers(row.o);
    fence_probabilities<steps>(p);
    wgmma_fence();
    issue_qk(s, q_operand(), k_operand());
    rescale_before_pv(row);
    v.wait();
    wgmma_fence();
    issue_pv<steps>(row.o, p, v_operand());
    end_products();
    wgmma_wait<1>();
    fence_registers(s);
    release_k();
    begin_softmax();
    mask_tile(s, tile * tile_n);
    update_max_lazy(row, s, log2_scale, slack);
    find_shifts<true>(shift, row.softmax, s, log2_scale);
    exponentiate<0, tile_n / 16>(row.softmax, s, shift, log2_scale);
    fence_registers(s); // now, beside the product
    wgmma_wait<0>();
    fence_registers(row.o);
    fence_probabilities<steps>(p);
    release_v(false);
    rescale_after_pv(row);
    exponentiate<tile_n / 16, tile_n / 8>(row.softmax, s, shift, log2_scale);
    end_softmax();
    pack_probabilities<steps>(p, s);
  };
  auto last_half = [&](bool last_v) {
    rescale_before_pv(row);
    v.wait();
    fence_registers(row.o);
    fence_probabilities<steps>(p);
    wgmma_fence();
    issue_pv<steps>(row.o, p, v_operand());
    wgmma_wait<0>();
    fence_registers(row.o);
    release_v(last_v);
  };
#endif

  /* ---- runs of tiles, from the right bound to the left one ---- */

  auto is_at_left_bound = [&]() {
#if HALF_TILES && MASK_BOUNDS_WINDOW
    return seen.begin >= tile * tile_n + tile_n / 2;
#else
    return false;
#endif
  };

  // From the tile that was waited for to the last one; or to one that was waited for and is a half tile at the left
  // bound: true.
  auto run_full_tiles = [&]() {
    float s[tile_n / 2];
    bool met = false;
#if INTRA_WG_OVERLAP
    first_half(s);
    while (more) {
      wait_k();
      met = is_at_left_bound();
      if (met) break;
      step_overlapped(s);
    }
    last_half(!met);
#else
    do {
      step(s);
      if (!more) break;
      wait_k();
      met = is_at_left_bound();
    } while (!met);
#endif
    return met;
  };

#if HALF_TILES
  // Where no product has brought together those for whom one arrives.
  auto sync_warpgroup = [&]() {
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    warp_barrier();
#else
    named_barrier_sync(WARPGROUP_BARRIER + group, 128);
#endif
  };
  auto sees_half = [&]() { return seen.end <= tile * tile_n + tile_n / 2 || is_at_left_bound(); };

  // A tile of which this warpgroup sees one half at most: it takes that by itself.
  auto run_half_tile = [&]() {
    const int half = seen.end <= tile * tile_n + tile_n / 2 ? 0 : 1, key = tile * tile_n + half * (tile_n / 2);
    const bool none = seen.end <= key || seen.begin >= key + tile_n / 2;
    float s[tile_n / 4] = {}; // undefined ones would be held for, from the kernel's start on
    begin_products();
    if (!none) multiply_qk(s, q_operand(), k_operand() + half * (tile_n / 2 * row_bytes / 16));
    end_products();
    if (none) sync_warpgroup();
    release_k();
    v.wait();
    begin_softmax();
    if (none) {
      sync_warpgroup();
    } else {
      fetch_bias(bias, problem, w, query_of(w, warp_row + lane / 4), key); // the tile's began with its first half
      mask_tile(s, key);
      update_max(row, s, log2_scale);
      rescale_o(row);
      find_shifts<true>(shift, row.softmax, s, log2_scale);
      exponentiate<0, tile_n / 16>(row.softmax, s, shift, log2_scale);
      pack_probabilities<steps / 2>(p, s);
      multiply_pv<steps / 2>(row.o, p, v_operand() + half * (tile_n / 2 * row_bytes / 16));
    }
    end_softmax();
    release_v(!more);
  };

  // From the tile that was waited for to one that was waited for and is no half tile: true.
  auto run_half_tiles = [&]() {
    while (sees_half()) {
      run_half_tile();
      if (!more) return false;
      wait_k();
    }
    return true;
  };
#endif

  /* ---- tiles of queries ---- */

  auto run_tile = [&]() {
    clear(row);
    tile = w.last_tile + 1;
#if HALF_TILES
    seen = keys_of_rows(problem, query_of(w, group * 64), query_of(w, group * 64 + 63), w.shift, w.seqlen_k);
#endif
    q.wait();
    wait_k();
#if HALF_TILES
    if (run_half_tiles() && run_full_tiles()) run_half_tiles();
#else
    run_full_tiles();
#endif
  };

  // Hands O to the load-Q/store-O warp.
  auto finish_tile = [&]() {
#if !O_STAGING_Q
    warp_barrier(); // no product has brought the lanes together where all was left out
    if (lane == 0) q.release();
    o.acquire();
#endif
#if O_STAGING_V
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // all have read the last V
    if (group == 0 && thread_index() % 128 == 0) store_shared_32(smem.o_slot, (unsigned)v.slot);
    leave_o(row, problem, w, shared + v_offset + v.slot * v_slot_bytes, warp_row);
    v.advance();
#elif O_STAGING_OWN
    leave_o(row, problem, w, shared + o_offset, warp_row);
#else
    leave_o(row, problem, w, shared + q_offset + q.slot * q_slot_bytes, warp_row);
#endif
    fence_proxy_async(); // TMA reads it
    warp_barrier();
#if O_STAGING_Q
    if (lane == 0) mbarrier_arrive(smem.o_full + 8 * q.slot);
#else
    if (lane == 0) o.commit();
    o.advance();
#endif
    q.advance();
  };

#if PINGPONG_MMA || PINGPONG_SOFTMAX
  if (group == consumers - 1) named_barrier_arrive(PINGPONG_BARRIER, 256); // the first turn
#endif
  while (next_work(w, scheduler, problem, warp_row)) {
    run_tile();
    finish_tile();
  }
}
