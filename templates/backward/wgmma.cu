/* The gradients of K and V, and sums for that of Q, on Hopper (sm_90a): wgmma, tiles by TMA.
 *
 * A block owns a tile of keys and goes through the rows of Q and dO of all heads that share them. The first warpgroup
 * gives its registers away; its first warp loads: K and V once, then a tile of Q and dO with the terms of its rows into
 * each slot. Every other warpgroup is a consumer: it owns 64 of the keys, as rows of S^T = K Q^T and dP^T = V dO^T, so
 * that P^T and dS^T are, packed, operands of dV += P^T dO and dK += dS^T Q. For dQ = dS K the consumers leave dS^T in
 * shared memory, which all of them then read: each computes its part of the tile's dQ (dq_partial.h) and adds it to
 * sums in device memory, in whichever order blocks come.
 *
 * dS^T has two slots: a consumer that comes to the barrier of a step has ended its products of the step before, so that
 * behind the barrier the slot of that step is free. */
#include "../parts/fragment.h"
#include "../parts/gradients.h"
#include "../parts/load_tma.h"
#include "../parts/named_barriers.h"
#include "../parts/pipeline.h"
#include "dq_partial.h"
#include "position.h"

constexpr int width = (head_dim_v + 15) / 16 * 16;                       // of the product V dO
constexpr int step_panels_bytes = (k_panels + v_panels) * q_panel_bytes; // of Q and dO
constexpr int full_arrivals = 2;                                         // for the copies, and for the terms
#if !SCORE_SOFTCAP && !SCORE_EXPRESSION
// Whether beside the accumulators P can be held packed: 24 registers are for addresses.
constexpr bool dv_before_ds = (head_dim + head_dim_v) / 2 + tile_m + tile_m / 4 + 24 <= consumer_registers;
#else
constexpr bool dv_before_ds = false;
#endif

/* What the load warp leaves of a step besides tiles and terms: the first query; its tile in dQ's sums, those of all
 * heads counted through; the head; and bits. */
enum step_bits {
  IS_MASKED = 1,
  IS_LAST = 2,
  ADDS_DQ = 4 // it is not a tile past the end, which a walk has where it found none
};
struct step_record {
  int query, dq_tile, head, bits;
};

ATTUNE_DEVICE step_record load_record(const smem_map &smem, int slot) {
  const vec128 words = load_shared_128(smem.record + 16 * slot);
  return {(int)words.x[0], (int)words.x[1], (int)words.x[2], (int)words.x[3]};
}

/* ---- the load warp ---- */

ATTUNE_DEVICE void load_kv(const attune_arguments &problem, const attune_tensor_maps &maps, shared_address shared,
                           const smem_map &smem, const position &start) {
  const bool elected = thread_index() % 32 == 0;
  const int head_kv = start.at.head / problem.group, first = start.at.key_begin;
  const bool clears = problem.seqlens_k && first + tile_n > start.at.seqlen_k;
  const shared_address arrived = clears ? smem.kv_landed : smem.kv_full;
  if (elected) {
    mbarrier_arrive_expect_tx(arrived, (k_panels + v_panels) * kv_panel_bytes);
    load_panels<k_panels, kv_panel_bytes>(shared + k_offset, maps.k, first, head_kv, start.at.batch, arrived,
                                          evict_first);
    load_panels<v_panels, kv_panel_bytes>(shared + v_offset, maps.v, first, head_kv, start.at.batch, arrived,
                                          evict_first);
  }
  if (!clears) return;
  warp_barrier();
  mbarrier_wait(smem.kv_landed, 0);
  zero_rows<k_panels, kv_panel_bytes>(shared + k_offset, start.at.seqlen_k - first);
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
    for (int i = lane; i < tile_m / 2; i += 32) {
      vec128 terms = {};
      if (first + 2 * i < a.gradients.rows_padded) terms = load_global_128(terms_of_row(a, batch, head, first + 2 * i));
      store_shared_128(shared + terms_offset + steps.slot * terms_slot_bytes + i * 16, terms);
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

/* ---- a consumer ---- */

/* Makes P zero where the query does not see the key. key: the thread's first; query: the step's first. */
ATTUNE_DEVICE void mask_pairs(float (&p)[tile_m / 2], const attune_arguments &problem, const key_tile &at, int head,
                              int key, int query) {
  const int column = query + 2 * (thread_index() % 4);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = key + half * 8;
    const visible_rows seen = rows_of_keys(problem, row, row, at.shift, at.seqlen_q);
    const int last = (row < at.seqlen_k ? seen.end : 0) - 1 - column;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
    const int first = seen.begin - column;
#endif
#pragma unroll
    for (int n = 0; n < tile_m / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int c = n * 8 + e;
        bool hidden = c > last;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
        hidden = hidden || c < first;
#endif
#if HAS_MASK_EXPR
        hidden = hidden ||
                 !is_seen<integer, float>(problem, at.batch, head, integer(column, c), row, at.seqlen_q, at.seqlen_k);
#endif
        if (hidden) score_at(p, n, half, e) = 0.0f;
      }
  }
}

/* The accumulators of 64 keys and a step's queries are, packed, operand A of products with as many rows. */
using step_operand = unsigned[tile_m / 16][4];
ATTUNE_DEVICE void pack_operand(step_operand &out, const float (&c)[tile_m / 2]) {
#pragma unroll
  for (int n = 0; n < tile_m / 16; n++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      out[n][e] = pack(c[8 * n + 2 * e], c[8 * n + 2 * e + 1]);
}

/* Starts C = A B^T, of 64 keys and a step's queries. */
template <int columns>
ATTUNE_DEVICE void multiply_rows(float (&c)[tile_m / 2], unsigned long long keys, unsigned long long queries) {
  wgmma_ss_first(c, keys, queries);
#pragma unroll
  for (int d = 1; d < columns / 16; d++)
    wgmma_ss(c, keys + (d / 4 * kv_panel_bytes + d % 4 * 32) / 16, queries + (d / 4 * q_panel_bytes + d % 4 * 32) / 16,
             true);
  wgmma_commit();
}

/* A gradient's rows of this warp, by way of the tile of K or V, whose products have all ended. */
template <int columns, int count>
ATTUNE_DEVICE void store_gradient(char *to, long long row_bytes_out, int rows, shared_address tile, int warp_row,
                                  const float (&c)[count], float scale) {
  const int lane = thread_index() % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = warp_row + half * 8 + lane / 4;
#pragma unroll
    for (int n = 0; n < columns / 8; n++)
      store_shared_32(tile + swizzled_chunk(kv_panel_bytes, row, n) + lane % 4 * 4,
                      pack(score_at(c, n, half, 0) * scale, score_at(c, n, half, 1) * scale));
  }
  warp_barrier();
  constexpr int chunks = columns / 8;
#pragma unroll 4
  for (int i = lane; i < 16 * chunks; i += 32) {
    const int row = i / chunks, chunk = i % chunks;
    if (row < rows)
      store_global_128(to + row * row_bytes_out + chunk * 16,
                       load_shared_128(tile + swizzled_chunk(kv_panel_bytes, warp_row + row, chunk)));
  }
}

ATTUNE_DEVICE void run_consumer(const attune_backward_arguments &a, shared_address shared, const smem_map &smem,
                                const position &start, int group) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
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
    const unsigned long long k_turned = operand_of(2);
    wgmma_fence();
    wgmma_ss_m_major_first(dq, ds_turned, k_turned);
#pragma unroll
    for (int n = 1; n < tile_n / 16; n++)
      wgmma_ss_m_major(dq, ds_turned + n * 16 * row_bytes / 16, k_turned + n * 16 * row_bytes / 16, true);
    wgmma_commit();
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
  const int first = start.at.key_begin + warp_row, head_kv = start.at.head / problem.group;
  store_gradient<head_dim>((char *)g.dk +
                               2 * (start.at.batch * g.dk_batch + head_kv * g.dk_heads + first * g.dk_seqlen),
                           2 * g.dk_seqlen, start.at.seqlen_k - first, shared + k_offset, warp_row, dk, g.scale);
  store_gradient<head_dim_v>((char *)g.dv +
                                 2 * (start.at.batch * g.dv_batch + head_kv * g.dv_heads + first * g.dv_seqlen),
                             2 * g.dv_seqlen, start.at.seqlen_k - first, shared + v_offset, warp_row, dv, 1.0f);
}

ATTUNE_KERNEL(threads, min_blocks_per_sm) KERNEL_NAME(const attune_backward_arguments a, ATTUNE_MAPS(maps)) {
  const shared_address shared = shared_memory();
  const smem_map smem = map_smem(shared);
  position start;
  if (!find_position(start, a, block_index())) return;
  if (thread_index() == 0) {
    init_barriers(smem.kv_full, 1, 1);
    init_barriers(smem.kv_landed, 1, 1);
    init_barriers(smem.step_full, stages, full_arrivals);
    init_barriers(smem.step_empty, stages, consumers);
    init_barriers(smem.step_landed, stages, 1);
    mbarrier_init_fence();
  }
  barrier();
  const int group = warp_uniform(thread_index() / 128) - 1;
  if (group < 0) {
#if TILE_N > 64 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_dec<producer_registers>();
#endif
    if (warp_uniform(thread_index() / 32) == 0 && start.at.tiles > 0) run_load_warp(a, maps, shared, smem, start);
  } else {
#if TILE_N > 64 || MIN_BLOCKS_PER_SM > 1
    setmaxnreg_inc<consumer_registers>();
#endif
    run_consumer(a, shared, smem, start, group);
  }
}
