/* Backward wgmma: the warp that loads. K and V once, then a tile of Q and dO with the terms of its rows into each slot.
 */
#pragma once
#include "../parts/gradients.h"
#include "../parts/load_tma.h"
#include "../parts/pipeline.h"
#include "dq_partial.h"
#include "position.h"

#if HEAD_DIM > 128 || HEAD_DIM_V > 128
constexpr int k_tile_panels = consumers * dq_columns / 64; // of K, of which each warpgroup takes as many columns for dQ
constexpr int empty_arrivals = consumers;
#else
constexpr int k_tile_panels = k_panels;
constexpr int empty_arrivals = 4 * consumers; // from each warp: in a step they meet at no barrier
#endif
constexpr int step_panels_bytes = (k_panels + v_panels) * q_panel_bytes; // of Q and dO
constexpr int full_arrivals = 2;                                         // for the copies, and for the terms
constexpr int ds_slots = 2;
constexpr int delta_bytes = tile_m * 4; // of a step's LSEs, behind which there are its deltas

/* What the load warp leaves of a step besides tiles and terms: the first query; its tile in dQ's sums, those of all
 * heads counted through; the head; and bits. */
enum step_bits {
  IS_MASKED = 1,
  IS_LAST = 2,
  ADDS_DQ = 4 // it is not a tile past the end, which a walk has where it found none
};
constexpr int NO_TILE = -1;
struct step_record {
  int query, dq_tile, head, bits;
};

ATTUNE_DEVICE step_record load_record(const smem_map &smem, int slot) {
  const vec128 words = load_shared_128(smem.record + 16 * slot);
  return {(int)words.x[0], (int)words.x[1], (int)words.x[2], (int)words.x[3]};
}

ATTUNE_DEVICE void load_kv(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                           const smem_map &smem, const position &start) {
  const bool elected = thread_index() % 32 == 0;
  const int head_kv = start.at.head / problem.group, first = start.at.key_begin;
  const bool clears = problem.seqlens_k && first + tile_n > start.at.seqlen_k;
  const shared_address arrived = clears ? smem.kv_landed : smem.kv_full;
  if (elected) {
    mbarrier_arrive_expect_tx(arrived, (k_tile_panels + v_panels) * kv_panel_bytes);
    load_panels<k_tile_panels, kv_panel_bytes>(shared + k_offset, maps.k, first, head_kv, start.at.batch, arrived,
                                               evict_first);
    load_panels<v_panels, kv_panel_bytes>(shared + v_offset, maps.v, first, head_kv, start.at.batch, arrived,
                                          evict_first);
  }
  if (!clears) return;
  warp_barrier();
  mbarrier_wait(smem.kv_landed, 0);
  zero_rows<k_tile_panels, kv_panel_bytes>(shared + k_offset, start.at.seqlen_k - first);
  zero_rows<v_panels, kv_panel_bytes>(shared + v_offset, start.at.seqlen_k - first);
  fence_proxy_async();
  warp_barrier();
  if (elected) mbarrier_arrive(smem.kv_full);
}

ATTUNE_DEVICE void run_load_warp(const attune_backward_arguments &a, const attune_tensor_maps &maps,
                                 shared_address shared, const smem_map &smem, const position &start) {
  const attune_arguments &problem = a.problem;
  const int lane = thread_index() % 32;
  const bool elected = lane == 0;
  pipeline<stages> steps = {smem.step_full, smem.step_empty};
  unsigned landed_parities = 0; // a bit for each slot
  load_kv(problem, maps, shared, smem, start);
  position p = start;
  begin_walk(p, problem); // while K and V come
  const bool ragged_keys = start.at.key_begin + tile_n > start.at.seqlen_k;
  do {
    const int first = p.walk.tile * tile_m, head = p.at.head, batch = p.at.batch;
    const int bits = (p.walk.full && !ragged_keys ? 0 : IS_MASKED) | (is_last(p) ? IS_LAST : 0) |
                     (first < p.at.seqlen_q ? ADDS_DQ : 0);
    const bool clears = problem.seqlens_q && first + tile_m > p.at.seqlen_q;
    const shared_address full = steps.full_barrier(), landed = smem.step_landed + 8 * steps.slot;
    const shared_address arrived = clears ? landed : full, q = shared + q_offset + steps.slot * q_slot_bytes,
                         d_o = shared + d_o_offset + steps.slot * d_o_slot_bytes;
    if (elected) {
      steps.acquire();
      mbarrier_arrive_expect_tx(arrived, step_panels_bytes);
      load_panels<k_panels, q_panel_bytes>(q, maps.q, first, head, batch, arrived, evict_last);
      load_panels<v_panels, q_panel_bytes>(d_o, maps.o, first, head, batch, arrived, evict_last);
    }
    warp_barrier(); // the slot is free for all lanes
    if (elected)
      store_shared_128(smem.record + 16 * steps.slot,
                       {{(unsigned)first, (unsigned)((batch * problem.heads_q + head) * problem.tiles_m + p.walk.tile),
                         (unsigned)head, (unsigned)bits}});
#if SCORE_EXPRESSION
    prefetch_bias<tile_m, tile_n, 32>(problem, batch, head, first, start.at.key_begin);
#endif
    for (int i = lane; i < tile_m / 2; i += 32) {
      vec128 terms = {};
      if (first + 2 * i < a.gradients.rows_padded) terms = load_global_128(terms_of_row(a, batch, head, first + 2 * i));
      const shared_address lse = shared + terms_offset + steps.slot * terms_slot_bytes + i * 8;
      store_shared_64(lse, {{terms.x[0], terms.x[2]}});
      store_shared_64(lse + delta_bytes, {{terms.x[1], terms.x[3]}});
    }
    if (clears) {
      mbarrier_wait(landed, landed_parities >> steps.slot & 1);
      landed_parities ^= 1u << steps.slot;
      const int limit = maximum(p.at.seqlen_q - first, 0);
      zero_rows<k_panels, q_panel_bytes>(q, limit);
      zero_rows<v_panels, q_panel_bytes>(d_o, limit);
      fence_proxy_async();
    }
    warp_barrier();
    if (elected && clears) mbarrier_arrive(full); // for the copies
    if (elected) mbarrier_arrive(full);
    steps.advance();
  } while (advance(p, problem));
}
