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
  auto add_rest = [&]() {
#pragma unroll
    for (int n = 0; n < chunks - first_chunks; n++)
      reduce_add_128(rest_to + n * 512, rest[4 * n], rest[4 * n + 1], rest[4 * n + 2], rest[4 * n + 3]);
  };

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
    const shared_address ds_row = ds + swizzled_chunk(kv_panel_bytes, warp_row + lane % 16, lane / 16);
    const int query = record.query;
    const bool masked = record.bits & IS_MASKED;
    float s[tile_m / 2], dp[tile_m / 2];
    fence_registers(operands); // or the compiler keeps all that it derives from them in registers
    wgmma_fence();
    multiply_rows<depth>(s, operand_of(0), q_rows);
    add_rest();
    wgmma_fence();
    multiply_rows<width>(dp, operand_of(1), do_rows);

    // The two queries of a thread's columns, each with LSE and delta.
    auto terms_of = [&](int n) { return load_shared_128(terms + (n * 8 + lane % 4 * 2) * 8); };
    step_operand operand, slopes;
#if SCORE_SOFTCAP || SCORE_EXPRESSION
    wgmma_wait<0>();
    fence_registers(s);
    fence_registers(dp);
#pragma unroll
    for (int n = 0; n < tile_m / 8; n++) {
      const vec128 t = terms_of(n);
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int e = 0; e < 2; e++)
          differentiate(score_at(s, n, half, e), score_at(dp, n, half, e), problem, place,
                        place_in_step(query + 2 * (lane % 4), n * 8 + e), key + half * 8, float_of_bits(t.x[2 * e]),
                        float_of_bits(t.x[2 * e + 1]));
    }
#else
    wgmma_wait<1>();
    fence_registers(s);
#pragma unroll
    for (int n = 0; n < tile_m / 8; n++) {
      const vec128 t = terms_of(n);
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int e = 0; e < 2; e++)
          score_at(s, n, half, e) = probability_of(score_at(s, n, half, e), problem, float_of_bits(t.x[2 * e]));
    }
#endif
    if (masked) mask_pairs(s, problem, start.at, record.head, key, query);
    auto issue_dv = [&]() {
      pack_operand(operand, s);
      fence_registers(dv);
      fence_registers(operand);
      wgmma_fence();
#pragma unroll
      for (int n = 0; n < tile_m / 16; n++)
        wgmma_rs(dv, operand[n], do_turned + n * 16 * row_bytes / 16, true);
      wgmma_commit();
    };
    if constexpr (dv_before_ds) issue_dv();
#if !(SCORE_SOFTCAP || SCORE_EXPRESSION)
    wgmma_wait<dv_before_ds>();
    fence_registers(dp);
#pragma unroll
    for (int n = 0; n < tile_m / 8; n++) {
      const vec128 t = terms_of(n);
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int e = 0; e < 2; e++)
          score_at(dp, n, half, e) =
              score_at(s, n, half, e) * (score_at(dp, n, half, e) - float_of_bits(t.x[2 * e + 1]));
    }
#endif
    if (masked) { // where P is 0, so is dS, whatever V and dO are
#pragma unroll
      for (int i = 0; i < tile_m / 2; i++)
        if (s[i] == 0.0f) dp[i] = 0.0f;
    }
    pack_operand(slopes, dp);
    if constexpr (!dv_before_ds) issue_dv();
#pragma unroll
    for (int n = 0; n < tile_m / 16; n++) // chunk 2n swizzled is the first one's address with bits inverted
      stmatrix_x4((ds_row ^ n % 4 * 32) + n / 4 * kv_panel_bytes, slopes[n]);
    fence_proxy_async(); // products read it
    // Again, since registers were scarce; before the barrier, behind which one thread releases the slot for all.
    const step_record again = load_record(smem, steps.slot);
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // dS^T is there from all

    const unsigned long long ds_turned =
        descriptor_n_major(ds + (dq_by_rows ? group * kv_panel_bytes : 0), kv_panel_bytes);
    float dq[dq_columns / 2];
    multiply_ds(dq, ds_turned, operand_of(2));
    fence_registers(dk);
    fence_registers(slopes);
    wgmma_fence();
#pragma unroll
    for (int n = 0; n < tile_m / 16; n++)
      wgmma_rs(dk, slopes[n], q_turned + n * 16 * row_bytes / 16, true);
    wgmma_commit();
    wgmma_wait<1>();
    fence_registers(dv);
    fence_registers(operand);
    fence_registers(dq);
    if (again.bits & ADDS_DQ) {
      float *const to = dq_part(a, again.dq_tile, group, thread);
#pragma unroll
      for (int n = 0; n < first_chunks; n++)
        reduce_add_128(to + n * 512, dq[4 * n], dq[4 * n + 1], dq[4 * n + 2], dq[4 * n + 3]);
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
    add_rest();
    named_barrier_sync(CONSUMERS_BARRIER, 128 * consumers); // all have left K and V
  }
  store_dk(a, shared, start.at, warp_row, dk);
  store_dv(a, shared, start.at, warp_row, dv);
}
