/* Backward wgmma: head dims whose dK and dV do not fit the accumulators of one warpgroup. Two warpgroups work on the
 * same 64 keys. The first has S^T, P and dV; the second dP^T, dS and dK, for which the first leaves weights in shared
 * memory: P, times what its change of scores has as a derivative. Each computes half of the columns of dQ.
 *
 * One that comes to the barrier of a step has ended its products of the step before, so that behind the barrier the
 * slot of dS^T of that step is free. */
#pragma once
#include "wgmma_rows.h"

enum wide_barrier_id {
  WEIGHTS_BARRIER = WARPGROUP_BARRIER, // the weights are there
  VALUES_BARRIER,                      // the first warpgroup has come
  KEYS_BARRIER                         // the second one
};

/* Both warpgroups meet. Not at one barrier: compute-sanitizer objects to one that they sync at in different places. */
template <bool of_values> ATTUNE_DEVICE void meet() {
  named_barrier_arrive(of_values ? VALUES_BARRIER : KEYS_BARRIER, 256);
  named_barrier_sync(of_values ? KEYS_BARRIER : VALUES_BARRIER, 256);
}

/* A thread's weights (find_probabilities): where the same thread of the other warpgroup has the same pairs. 16 bytes
 * each, side by side. */
ATTUNE_DEVICE shared_address weights_of_thread(shared_address shared) {
  return shared + weights_offset + thread_index() % 128 * 16;
}

/* A step's weights to shared memory. */
ATTUNE_DEVICE void store_weights(const float (&weights)[tile_m / 2], shared_address shared) {
  const shared_address to = weights_of_thread(shared);
#pragma unroll
  for (int i = 0; i < tile_m / 8; i++)
    store_shared_128(to + i * 2048,
                     {{(unsigned)float_bits(weights[4 * i]), (unsigned)float_bits(weights[4 * i + 1]),
                       (unsigned)float_bits(weights[4 * i + 2]), (unsigned)float_bits(weights[4 * i + 3])}});
}

/* dS of a step, from dP^T. Where a weight is 0, so is dS, whatever V and dO are. */
ATTUNE_DEVICE void apply_weights(float (&dp)[tile_m / 2], shared_address shared, const pair_terms &deltas) {
  const shared_address from = weights_of_thread(shared);
  vec128 four = {};
  each_pair(deltas, [&](int n, int half, int e, float delta) {
    if (half == 0 && e == 0) four = load_shared_128(from + n * 2048);
    const float weight = float_of_bits(four.x[2 * half + e]);
    float &slope = score_at(dp, n, half, e);
    slope = weight == 0.0f ? 0.0f : weight * (slope - delta);
  });
}

/* One of the two. */
template <bool of_values>
ATTUNE_DEVICE void run_half(const attune_backward_arguments &a, shared_address shared, const smem_map &smem,
                            const position &start) {
  constexpr int columns = of_values ? head_dim_v : head_dim;
  constexpr int group = of_values ? 0 : 1;
  const attune_arguments &problem = a.problem;
  const int lane = thread_index() % 32, thread = thread_index() % 128, warp_row = thread / 32 * 16;
  const int key = start.at.key_begin + warp_row + lane / 4;
  // The low words of what K or V, and K for dQ, are as operands.
  unsigned operands[1][4] = {{(unsigned)descriptor_k_major(shared + (of_values ? k_offset : v_offset)),
                              (unsigned)descriptor_n_major(shared + k_offset, kv_panel_bytes) +
                                  group * (dq_columns / 64) * (kv_panel_bytes / 16),
                              0, 0}};
  auto operand_of = [&](int i) { return (descriptor_k_major(0) & ~0xffffffffull) | operands[0][i]; };
  pipeline<stages> steps = {smem.step_full, smem.step_empty};
  float sums[columns / 2] = {};
  int ds_slot = 0;
  [[maybe_unused]] score_place place = start.place;

  auto step = [&]() {
    steps.wait();
    const step_record record = load_record(smem, steps.slot);
    const shared_address q = shared + q_offset + steps.slot * q_slot_bytes,
                         d_o = shared + d_o_offset + steps.slot * d_o_slot_bytes,
                         terms = shared + terms_offset + steps.slot * terms_slot_bytes,
                         ds = shared + ds_offset + ds_slot * ds_slot_bytes;
    float pairs[tile_m / 2];
    pair_terms of_queries;
    step_operand operand;
    fence_registers(operands); // or the compiler keeps all that it derives from them in registers
    wgmma_fence();
    multiply_rows<of_values ? depth : width>(pairs, operand_of(0), descriptor_k_major(of_values ? q : d_o));
    load_terms(of_queries, terms + (of_values ? 0 : delta_bytes));
    wgmma_wait<0>();
    fence_registers(pairs);
    if constexpr (of_values) {
#if SCORE_EXPRESSION
      if (record.head != place.head)
        place = place_of(problem, start.at.batch, record.head, start.at.seqlen_q, start.at.seqlen_k);
#endif
      float weights[tile_m / 2];
      find_probabilities(pairs, weights, problem, place, start.at, record, key, of_queries);
      store_weights(has_weights ? weights : pairs, shared);
      named_barrier_arrive(WEIGHTS_BARRIER, 256);
    } else {
      named_barrier_sync(WEIGHTS_BARRIER, 256);
      apply_weights(pairs, shared, of_queries);
    }
    pack_operand(operand, pairs);
    if constexpr (!of_values) store_ds(ds, warp_row, operand);
    const unsigned long long turned = descriptor_n_major(of_values ? d_o : q, q_panel_bytes);
    if constexpr (of_values) add_product(sums, operand, turned);
    meet<of_values>(); // dS^T is there; the weights were read

    float dq[dq_columns / 2];
    multiply_ds(dq, descriptor_n_major(ds, kv_panel_bytes), operand_of(1));
    if constexpr (!of_values) add_product(sums, operand, turned);
    wgmma_wait<of_values ? 0 : 1>();
    fence_registers(dq);
    if (record.bits & ADDS_DQ) add_to_dq<dq_columns / 8>(dq_part(a, record.dq_tile, group, thread), dq);
    wgmma_wait<0>();
    fence_registers(sums);
    fence_registers(operand);
    if (thread == 0) steps.release();
    steps.advance();
    ds_slot ^= 1;
    return (record.bits & IS_LAST) != 0;
  };

  if (start.at.tiles > 0) {
    mbarrier_wait(smem.kv_full, 0);
    while (!step()) {
    }
    meet<of_values>(); // both have left K and V
  }
  if constexpr (of_values)
    store_dv(a, shared, start.at, warp_row, sums);
  else
    store_dk(a, shared, start.at, warp_row, sums);
}

ATTUNE_DEVICE void run_consumer(const attune_backward_arguments &a, shared_address shared, const smem_map &smem,
                                const position &start, int group) {
  if (group == 0)
    run_half<true>(a, shared, smem, start);
  else
    run_half<false>(a, shared, smem, start);
}
