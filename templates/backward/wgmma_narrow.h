/* Backward wgmma: a consumer that makes dK and dV of its own 64 keys. */
#pragma once
#include "wgmma_rows.h"

#if !SCORE_SOFTCAP && !SCORE_EXPRESSION
// Whether beside the accumulators P can be held packed: 24 registers are for addresses.
constexpr bool dv_before_ds = (head_dim + head_dim_v) / 2 + tile_m + tile_m / 4 + 24 <= consumer_registers;
#else
constexpr bool dv_before_ds = false;
#endif

ATTUNE_DEVICE void run_consumer(const attune_backward_arguments &a, shared_address shared, const smem_map &smem,
                                const position &start, int group) {
  const attune_arguments &problem = a.problem;
  const int lane = thread_index() % 32, thread = thread_index() % 128;
  const int warp_row = thread_index() / 32 * 16 - 64; // of the tile; the loading warpgroup comes before
  const int key = start.at.key_begin + warp_row + lane / 4;
  // The low words of what K and V are as operands.
  unsigned operands[1][4] = {
      {(unsigned)descriptor_k_major(shared + k_offset + group * 64 * row_bytes),
       (unsigned)descriptor_k_major(shared + v_offset + group * 64 * row_bytes),
       (unsigned)descriptor_n_major(shared + k_offset, kv_panel_bytes) + (dq_by_rows ? 0 : group * kv_panel_bytes / 16),
       0}};
  auto operand_of = [&](int i) { return (descriptor_k_major(0) & ~0xffffffffull) | operands[0][i]; };
  pipeline<stages> steps = {smem.step_full, smem.step_empty};
  float dk[head_dim / 2] = {}, dv[head_dim_v / 2] = {};
  int ds_slot = 0;
  [[maybe_unused]] score_place place = start.place;

  // Half of what a thread adds to dQ is left to the next step: all at once, the additions would hold up its products.
  // Without a branch there, or ptxas serializes products; the first step adds zeros to a tile of the block's.
  constexpr int chunks = dq_columns / 8, first_chunks = chunks / 2, rest_count = 4 * (chunks - first_chunks);
  const int flat_head = start.at.batch * problem.heads_q + start.at.head;
  float rest[rest_count] = {};
  float *rest_to =
      dq_part(a, flat_head * problem.tiles_m + minimum(start.walk.tile, problem.tiles_m - 1), group, thread);

  // Products run beside all else: dP^T beside P, dV (started before, where registers suffice) beside dS, dK beside the
  // adding of dQ. None may be in flight from one step to the next, or ptxas serializes all. True after the last.
  auto step = [&]() {
    steps.wait();
    const step_record record = load_record(smem, steps.slot);
#if SCORE_EXPRESSION
    if (record.head != place.head)
      place = place_of(problem, start.at.batch, record.head, start.at.seqlen_q, start.at.seqlen_k);
#endif
    const shared_address q = shared + q_offset + steps.slot * q_slot_bytes,
                         d_o = shared + d_o_offset + steps.slot * d_o_slot_bytes,
                         terms = shared + terms_offset + steps.slot * terms_slot_bytes,
                         ds = shared + ds_offset + ds_slot * ds_slot_bytes;
    const unsigned long long q_rows = descriptor_k_major(q), do_rows = descriptor_k_major(d_o),
                             q_turned = descriptor_n_major(q, q_panel_bytes),
                             do_turned = descriptor_n_major(d_o, q_panel_bytes);
    const int query = record.query;
    const bool masked = record.bits & IS_MASKED;
    float s[tile_m / 2], dp[tile_m / 2];
    fence_registers(operands); // or the compiler keeps all that it derives from them in registers
    wgmma_fence();
    multiply_rows<depth>(s, operand_of(0), q_rows);
    add_to_dq<rest_count / 4>(rest_to, rest);
    wgmma_fence();
    multiply_rows<width>(dp, operand_of(1), do_rows);

    step_operand operand, slopes;
#if SCORE_SOFTCAP || SCORE_EXPRESSION
    wgmma_wait<0>();
    fence_registers(s);
    fence_registers(dp);
    each_pair(terms, [&](int n, int half, int e, float lse, float delta) {
      differentiate(score_at(s, n, half, e), score_at(dp, n, half, e), problem, place,
                    place_in_step(query + 2 * (lane % 4), n * 8 + e), key + half * 8, lse, delta);
    });
#else
    wgmma_wait<1>();
    fence_registers(s);
    each_pair(terms, [&](int n, int half, int e, float lse, float) {
      score_at(s, n, half, e) = probability_of(score_at(s, n, half, e), problem, lse);
    });
#endif
    if (masked) mask_pairs(s, problem, start.at, record.head, key, query);
    if constexpr (dv_before_ds) {
      pack_operand(operand, s);
      add_product(dv, operand, do_turned);
    }
#if !SCORE_SOFTCAP && !SCORE_EXPRESSION
    wgmma_wait<dv_before_ds>();
    fence_registers(dp);
    each_pair(terms, [&](int n, int half, int e, float, float delta) {
      score_at(dp, n, half, e) = score_at(s, n, half, e) * (score_at(dp, n, half, e) - delta);
    });
#endif
    if (masked) { // where P is 0, so is dS, whatever V and dO are
#pragma unroll
      for (int i = 0; i < tile_m / 2; i++)
        if (s[i] == 0.0f) dp[i] = 0.0f;
    }
    pack_operand(slopes, dp);
    if constexpr (!dv_before_ds) {
      pack_operand(operand, s);
      add_product(dv, operand, do_turned);
    }
    store_ds(ds, warp_row, slopes);
    // Again, since registers were scarce; before the barrier, behind which one thread releases the slot for all.
    const step_record again = load_record(smem, steps.slot);
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // dS^T is there from all

    const unsigned long long ds_turned =
        descriptor_n_major(ds + (dq_by_rows ? group * kv_panel_bytes : 0), kv_panel_bytes);
    float dq[dq_columns / 2];
    multiply_ds(dq, ds_turned, operand_of(2));
    add_product(dk, slopes, q_turned);
    wgmma_wait<1>();
    fence_registers(dv);
    fence_registers(operand);
    fence_registers(dq);
    if (again.bits & ADDS_DQ) {
      float *const to = dq_part(a, again.dq_tile, group, thread);
      add_to_dq<first_chunks>(to, dq);
      rest_to = to + first_chunks * 512;
#pragma unroll
      for (int i = 0; i < rest_count; i++)
        rest[i] = dq[4 * first_chunks + i];
    } else {
#pragma unroll
      for (int i = 0; i < rest_count; i++)
        rest[i] = 0.0f;
    }
    wgmma_wait<0>();
    fence_registers(dk);
    fence_registers(slopes);
    if (thread == 0) steps.release();
    steps.advance();
    ds_slot ^= 1;
    return (again.bits & IS_LAST) != 0;
  };

  if (start.at.tiles > 0) {
    mbarrier_wait(smem.kv_full, 0);
    while (!step()) {
    }
    add_to_dq<rest_count / 4>(rest_to, rest);
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // all have left K and V
  }
  store_dk(a, shared, start.at, warp_row, dk);
  store_dv(a, shared, start.at, warp_row, dv);
}
