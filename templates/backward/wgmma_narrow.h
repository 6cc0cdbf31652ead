/* Backward wgmma: a consumer that makes dK and dV of its own 64 keys.
 *
 * dQ of a step is computed in the next one, so that nobody waits for the others' dS^T, and a product runs beside all
 * else: dQ or dP beside P, dV beside dS, dP and dV or dK beside the additions to dQ. */
#pragma once
#include "wgmma_rows.h"

// Whether registers suffice for dQ beside P and dP. Else dP runs beside P, and dQ starts when dS^T is stored.
constexpr bool dq_beside_p = head_dim + head_dim_v <= 128 && !has_weights;

/* Of a pair, from P packed. */
ATTUNE_DEVICE float probability_at(const step_operand &p, int n, int half, int e) {
  const unsigned word = p[n / 2][n % 2 * 2 + half];
#if DTYPE_BF16
  return e ? unpack_high(word) : unpack_low(word);
#else
  // By shifts and the difference of the exponents' biases. For a conversion ptxas would hold P a second time, in
  // halves.
  return float_of_bits(e ? word >> 3 & 0x0fffe000u : (word & 0xffffu) << 13) * 0x1p112f;
#endif
}

ATTUNE_DEVICE void run_consumer(const attune_backward_arguments &a, shared_address shared, const smem_map &smem,
                                const position &start, int group) {
  const attune_arguments &problem = a.problem;
  const int lane = thread_index() % 32, thread = thread_index() % 128;
  const int warp_row = thread_index() / 32 * 16 - 64; // of the tile; the loading warpgroup comes before
  const int key = start.at.key_begin + warp_row + lane / 4;
  // The low words of what K and V, and K for dQ, are as operands.
  unsigned operands[1][4] = {
      {(unsigned)descriptor_k_major(shared + k_offset + group * 64 * row_bytes),
       (unsigned)descriptor_k_major(shared + v_offset + group * 64 * row_bytes),
       (unsigned)descriptor_n_major(shared + k_offset, kv_panel_bytes) + (dq_by_rows ? 0 : group * kv_panel_bytes / 16),
       0}};
  auto operand_of = [&](int i) { return (descriptor_k_major(0) & ~0xffffffffull) | operands[0][i]; };
  pipeline<stages> steps = {smem.step_full, smem.step_empty};
  pipeline<ds_slots> before = {smem.ds_full, smem.ds_empty}; // dS^T of the step before
  int dq_tile = NO_TILE;                                     // of the step before
  float dk[head_dim / 2] = {}, dv[head_dim_v / 2] = {};
  [[maybe_unused]] score_place place = start.place;

  auto ds_slot = [&](int slot) { return shared + ds_offset + slot * ds_slot_bytes; };
  auto commit_ds = [&](const pipeline<ds_slots> &ring, const step_operand &slopes) {
    ring.acquire();
    store_ds(ds_slot(ring.slot), warp_row, slopes);
    warp_barrier();
    if (lane == 0) ring.commit();
  };
  auto start_dq = [&](float(&dq)[dq_columns / 2]) {
    before.wait();
    const shared_address ds = ds_slot(before.slot) + (dq_by_rows ? group * kv_panel_bytes : 0);
    multiply_ds(dq, descriptor_n_major(ds, kv_panel_bytes), operand_of(2));
  };
  auto finish_dq = [&](float(&dq)[dq_columns / 2]) {
    fence_registers(dq);
    if (lane == 0) before.release();
    if (dq_tile != NO_TILE) add_to_dq<dq_columns / 8>(dq_part(a, dq_tile, group, thread), dq);
  };

  // No product may be in flight from one step to the next, nor start in a branch, or ptxas serializes all. The first
  // step therefore multiplies a dS^T of zeros. True after the last.
  auto step = [&]() {
    steps.wait();
    const step_record record = load_record(smem, steps.slot);
#if SCORE_EXPRESSION
    if (record.head != place.head)
      place = place_of(problem, start.at.batch, record.head, start.at.seqlen_q, start.at.seqlen_k);
#endif
    const shared_address q = shared + q_offset + steps.slot * q_slot_bytes,
                         d_o = shared + d_o_offset + steps.slot * d_o_slot_bytes,
                         terms = shared + terms_offset + steps.slot * terms_slot_bytes;
    float s[tile_m / 2], dp[tile_m / 2], dq[dq_columns / 2];
    [[maybe_unused]] float weights[tile_m / 2];
    pair_terms lse, deltas; // read long before they are used: additions to dQ hold up what is read behind them
    auto start_dp = [&]() {
      wgmma_fence();
      multiply_rows<width>(dp, operand_of(1), descriptor_k_major(d_o));
    };
    load_terms(lse, terms);
    fence_registers(operands); // or the compiler keeps all that it derives from them in registers
    wgmma_fence();
    multiply_rows<depth>(s, operand_of(0), descriptor_k_major(q));
    if constexpr (dq_beside_p)
      start_dq(dq);
    else
      start_dp();
    wgmma_wait<1>();
    fence_registers(s);
    find_probabilities(s, weights, problem, place, start.at, record, key, lse);
    step_operand p, slopes;
    pack_operand(p, s);
    load_terms(deltas, terms + delta_bytes);
    if constexpr (dq_beside_p) start_dp();
    add_product(dv, p, descriptor_n_major(d_o, q_panel_bytes));
    if constexpr (dq_beside_p) {
      wgmma_wait<2>();
      finish_dq(dq);
    }
    wgmma_wait<1>();
    fence_registers(dp);
    auto weight_of = [&](int n, int half, int e) {
      return has_weights ? score_at(weights, n, half, e) : probability_at(p, n, half, e);
    };
    each_pair(deltas, [&](int n, int half, int e, float delta) {
      score_at(dp, n, half, e) = weight_of(n, half, e) * (score_at(dp, n, half, e) - delta);
    });
    if (record.bits & IS_MASKED) // where P is 0, so is dS, whatever V and dO are
      each_pair(deltas, [&](int n, int half, int e, float) {
        if (weight_of(n, half, e) == 0.0f) score_at(dp, n, half, e) = 0.0f;
      });
    pack_operand(slopes, dp);
    pipeline<ds_slots> now = before;
    now.advance();
    commit_ds(now, slopes);
    if constexpr (!dq_beside_p) start_dq(dq);
    add_product(dk, slopes, descriptor_n_major(q, q_panel_bytes));
    if constexpr (!dq_beside_p) {
      wgmma_wait<1>();
      finish_dq(dq);
    }
    before = now;
    dq_tile = record.bits & ADDS_DQ ? record.dq_tile : NO_TILE;
    wgmma_wait<0>();
    fence_registers(dk);
    fence_registers(slopes);
    fence_registers(dv);
    fence_registers(p);
    if (lane == 0) steps.release();
    steps.advance();
    return (record.bits & IS_LAST) != 0;
  };

  if (start.at.tiles > 0) {
    const step_operand zeros = {};
    commit_ds(before, zeros);
    mbarrier_wait(smem.kv_full, 0);
    while (!step()) {
    }
    float dq[dq_columns / 2];
    start_dq(dq);
    wgmma_wait<0>();
    finish_dq(dq);
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // all have left K and V
  }
  store_dk(a, shared, start.at, warp_row, dk);
  store_dv(a, shared, start.at, warp_row, dv);
}
