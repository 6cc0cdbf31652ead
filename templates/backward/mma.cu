/* The backward pass on the tensor cores of sm_80 and later: mma.sync, ldmatrix, cp.async.
 *
 * A block owns a tile of rows and goes through tiles of the other side, which pass through shared memory. For the
 * gradients of K and V it owns keys, with their rows of K and V, and goes through rows of Q and dO of all heads that
 * share them; for that of Q it owns queries, with rows of Q and dO, and goes through rows of K and V. A warp owns
 * own_rows / warps rows and sees every row of the other side, so that P and dS stay in its registers: what accumulates
 * S is, packed, an operand of the next product. Each gradient is summed up by one warp, in an order that is always the
 * same.
 *
 * Recomputation: FlashAttention (arXiv 2205.14135, algorithm 4). Fragment layouts: PTX ISA, "Matrix fragments for
 * mma.m16n8k16". */
#include "../parts/gradients.h"
#include "../parts/load_cp_async.h"
#include "mma_products.h"
#include "position.h"

using step_operand = unsigned[atoms][step_rows / 16][4];

/* C += A B: the operand has a column for each row of the step. */
template <int columns, int pitch>
ATTUNE_DEVICE void add_product(float (&c)[atoms][columns / 8][4], const step_operand &a, shared_address b_rows) {
#pragma unroll
  for (int k = 0; k < step_rows / 16; k++)
#pragma unroll
    for (int n = 0; n < columns / 16; n++) {
      unsigned b[4];
      ldmatrix_x4_trans(b, b_rows + k * 16 * pitch + n * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
        mma_m16n8k16(c[m][2 * n], a[m][k], b[0], b[1]);
        mma_m16n8k16(c[m][2 * n + 1], a[m][k], b[2], b[3]);
      }
    }
}

/* The accumulator layout of 16 columns is, packed, the layout of operand A. */
ATTUNE_DEVICE void pack_operand(step_operand &a, const step_fragment &c) {
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int k = 0; k < step_rows / 16; k++) {
      a[m][k][0] = pack(c[m][2 * k][0], c[m][2 * k][1]);
      a[m][k][1] = pack(c[m][2 * k][2], c[m][2 * k][3]);
      a[m][k][2] = pack(c[m][2 * k + 1][0], c[m][2 * k + 1][1]);
      a[m][k][3] = pack(c[m][2 * k + 1][2], c[m][2 * k + 1][3]);
    }
}

/* Makes P and dS zero where the query does not see the key. own: the thread's first row, of the sequence; other: the
 * first row of the step. */
ATTUNE_DEVICE void mask_pairs(step_fragment &p, step_fragment &ds, const attune_arguments &problem, const position &at,
                              int own, int other) {
  const int column = other + 2 * (thread_index() % 4);
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = own + m * 16 + half * 8;
#if OPERATION_DQ
      const visible_keys seen = keys_of_rows(problem, row, row, at.at.shift, at.at.seqlen_k);
#else
      const visible_rows seen = rows_of_keys(problem, row, row, at.at.shift, at.at.seqlen_q);
#endif
      const int last = seen.end - 1 - column;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
      const int first = seen.begin - column;
#endif
#pragma unroll
      for (int n = 0; n < step_rows / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int c = n * 8 + e;
          bool hidden = c > last;
#if MASK_BOUNDS_CAUSAL || MASK_BOUNDS_WINDOW
          hidden = hidden || c < first;
#endif
#if HAS_MASK_EXPR && OPERATION_DQ
          hidden = hidden || !is_seen<integer, float>(problem, at.at.batch, at.at.head, row, integer(column, c),
                                                      at.at.seqlen_q, at.at.seqlen_k);
#elif HAS_MASK_EXPR
          hidden = hidden || !is_seen<integer, float>(problem, at.at.batch, at.at.head, integer(column, c), row,
                                                      at.at.seqlen_q, at.at.seqlen_k);
#endif
          if (hidden) p[m][n][2 * half + e] = ds[m][n][2 * half + e] = 0.0f;
        }
    }
}

/* A gradient's rows of the warp, staged in shared memory. to: the warp's first row; count: rows that exist. */
template <int columns>
ATTUNE_DEVICE void store_rows(char *to, long long row_bytes, int count, shared_address staged,
                              const float (&c)[atoms][(columns + 15) / 16 * 2][4], float scale) {
  const int lane = thread_index() % 32;
  constexpr int chunks = columns / 8;
  warp_barrier(); // what was staged before has left
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int n = 0; n < (columns + 15) / 16 * 2; n++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        store_shared_32(staged + (m * 16 + half * 8 + lane / 4) * staged_pitch + n * 16 + lane % 4 * 4,
                        pack(c[m][n][2 * half] * scale, c[m][n][2 * half + 1] * scale));
  warp_barrier();
#pragma unroll 4
  for (int i = lane; i < warp_rows * chunks; i += 32) {
    const int row = i / chunks, chunk = i % chunks;
    if (row < count)
      store_eight(to + row * row_bytes + chunk * 16, load_shared_128(staged + row * staged_pitch + chunk * 16));
  }
}

/* All steps of the block's tile. wants_k: the gradient of the rows that have head_dim columns; wants_v: of V. */
template <bool wants_k, bool wants_v>
ATTUNE_DEVICE void work(const attune_backward_arguments &a, const position &start) {
  const attune_arguments &problem = a.problem;
  const attune_gradients &g = a.gradients;
  const int lane = thread_index() % 32, warp_row = thread_index() / 32 * warp_rows;
  const int batch = start.at.batch;
  const shared_address shared = shared_memory();
  const long long q_row_bytes = 2 * problem.q_seqlen, k_row_bytes = 2 * problem.k_seqlen,
                  v_row_bytes = 2 * problem.v_seqlen, do_row_bytes = 2 * g.do_seqlen;
  auto q_at = [&](int head, int row) {
    return (const char *)problem.q + 2 * (batch * problem.q_batch + head * problem.q_heads) + row * q_row_bytes;
  };
  auto do_at = [&](int head, int row) {
    return (const char *)g.d_o + 2 * (batch * g.do_batch + head * g.do_heads) + row * do_row_bytes;
  };
  auto k_at = [&](int head, int row) {
    return (const char *)problem.k + 2 * (batch * problem.k_batch + head / problem.group * problem.k_heads) +
           row * k_row_bytes;
  };
  auto v_at = [&](int head, int row) {
    return (const char *)problem.v + 2 * (batch * problem.v_batch + head / problem.group * problem.v_heads) +
           row * v_row_bytes;
  };

  // Addresses that this lane gives to ldmatrix: for operand A rows 0-15 with two chunks; for B two groups of eight
  // rows, and rows 0-15 with two chunks where it is transposed.
  const shared_address own_k = shared + own_k_offset + (warp_row + lane % 16) * pitch_k + lane / 16 * 16;
  const shared_address own_v = shared + own_v_offset + (warp_row + lane % 16) * pitch_v + lane / 16 * 16;
  const shared_address step_k = shared + step_k_offset + (lane % 8 + lane / 16 * 8) * pitch_k + lane / 8 % 2 * 16;
  const shared_address step_v = shared + step_v_offset + (lane % 8 + lane / 16 * 8) * pitch_v + lane / 8 % 2 * 16;
  const shared_address turned_k = shared + step_k_offset + lane % 16 * pitch_k + lane / 16 * 16;
  const shared_address turned_v = shared + step_v_offset + lane % 16 * pitch_v + lane / 16 * 16;

  position working = start, copying = start;
  auto copy_step = [&](int slot) {
    const int first = copying.walk.tile * step_rows, head = copying.at.head;
#if OPERATION_DQ
    const char *k = k_at(head, first), *v = v_at(head, first);
    const long long k_bytes = k_row_bytes, v_bytes = v_row_bytes;
    const int limit = copying.at.seqlen_k - first;
#else
    const char *k = q_at(head, first), *v = do_at(head, first);
    const long long k_bytes = q_row_bytes, v_bytes = do_row_bytes;
    const int limit = copying.at.seqlen_q - first;
    for (int i = thread_index(); i < step_rows / 2; i += threads)
      cp_async(shared + terms_offset + slot * terms_slot_bytes + i * 16, terms_of_row(a, batch, head, first + 2 * i),
               first + 2 * i < g.rows_padded);
#endif
#if SCORE_EXPRESSION && OPERATION_DQ
    prefetch_bias<own_rows, step_rows, threads>(problem, batch, head, start.at.row_begin, first);
#elif SCORE_EXPRESSION
    prefetch_bias<step_rows, own_rows, threads>(problem, batch, head, first, start.at.key_begin);
#endif
    copy_tile<true, step_rows, head_dim>(shared + step_k_offset + slot * step_k_slot_bytes,
                                         copy_source<head_dim>(k, k_bytes), k_bytes, limit);
    copy_tile<true, step_rows, head_dim_v>(shared + step_v_offset + slot * step_v_slot_bytes,
                                           copy_source<head_dim_v>(v, v_bytes), v_bytes, limit);
  };

#if OPERATION_DQ
  const int own_begin = start.at.row_begin, own_length = start.at.seqlen_q, own_head = start.at.head;
  const char *k = q_at(own_head, own_begin), *v = do_at(own_head, own_begin);
  const long long k_bytes = q_row_bytes, v_bytes = do_row_bytes;
#else
  const int own_begin = start.at.key_begin, own_length = start.at.seqlen_k, own_head = start.at.head / problem.group;
  const char *k = k_at(start.at.head, own_begin), *v = v_at(start.at.head, own_begin);
  const long long k_bytes = k_row_bytes, v_bytes = v_row_bytes;
#endif
  copy_tile<true, own_rows, head_dim>(shared + own_k_offset, copy_source<head_dim>(k, k_bytes), k_bytes,
                                      own_length - own_begin);
  copy_tile<true, own_rows, head_dim_v>(shared + own_v_offset, copy_source<head_dim_v>(v, v_bytes), v_bytes,
                                        own_length - own_begin);

  float sums_k[atoms][depth / 8][4] = {}, sums_v[atoms][width / 8][4] = {};
  const int own = own_begin + warp_row + lane / 4; // the thread's first row
#if OPERATION_DQ
  float lse[atoms][2], delta[atoms][2];
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = own + m * 16 + half * 8;
      const float *terms = terms_of_row(a, batch, own_head, row);
      lse[m][half] = row < own_length ? load_constant_float(terms) : infinity();
      delta[m][half] = row < own_length ? load_constant_float(terms + 1) : 0.0f;
    }
#endif

  // One group of copies a step, empty past the end so that the wait counts stay constant. The first has the own rows.
  bool more = start.at.tiles > 0, copies = more;
  if (copies) copy_step(0);
  cp_async_commit();
#pragma unroll
  for (int t = 1; t < stages - 1; t++) {
    copies = copies && advance(copying, problem);
    if (copies) copy_step(t);
    cp_async_commit();
  }
  for (int slot = 0; more; slot = slot == stages - 1 ? 0 : slot + 1) {
    cp_async_wait<stages == 1 ? 0 : stages - 2>();
    barrier(); // the step's rows are here for all, and all have left the step before
#if STAGES > 1
    copies = copies && advance(copying, problem);
    if (copies) copy_step(slot == 0 ? stages - 1 : slot - 1);
    cp_async_commit();
#endif
    const shared_address k_slot = slot * step_k_slot_bytes, v_slot = slot * step_v_slot_bytes;
    const int first = working.walk.tile * step_rows;
    step_fragment p, ds;
    multiply_rows<depth, pitch_k>(p, own_k, step_k + k_slot);
    if (wants_k) multiply_rows<width, pitch_v>(ds, own_v, step_v + v_slot);
#pragma unroll
    for (int n = 0; n < step_rows / 8; n++) {
#if !OPERATION_DQ
      const vec128 terms =
          load_shared_128(shared + terms_offset + slot * terms_slot_bytes + (n * 8 + lane % 4 * 2) * 8);
#endif
#pragma unroll
      for (int m = 0; m < atoms; m++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float unused = 0.0f;
          float &slope = wants_k ? ds[m][n][e] : unused;
          const int row = own + m * 16 + e / 2 * 8;
          const auto column = place_in_step(first + 2 * (lane % 4), n * 8 + e % 2);
#if OPERATION_DQ
          differentiate(p[m][n][e], slope, problem, working.place, row, column, lse[m][e / 2], delta[m][e / 2]);
#else
          differentiate(p[m][n][e], slope, problem, working.place, column, row, float_of_bits(terms.x[e % 2 * 2]),
                        float_of_bits(terms.x[e % 2 * 2 + 1]));
#endif
        }
    }
    if (!working.walk.full) mask_pairs(p, ds, problem, working, own, first);
    step_operand operand;
    if (wants_v) {
      pack_operand(operand, p);
      add_product<width, pitch_v>(sums_v, operand, turned_v + v_slot);
    }
    if (wants_k) {
      pack_operand(operand, ds);
      add_product<depth, pitch_k>(sums_k, operand, turned_k + k_slot);
    }
    more = advance(working, problem);
#if STAGES == 1
    barrier(); // all have left the step
    copies = copies && advance(copying, problem);
    if (copies) copy_step(0);
    cp_async_commit();
#endif
  }
  cp_async_wait<0>();
  barrier(); // shared memory is free for the gradients

  const int first_row = own_begin + warp_row, count = own_length - first_row;
#if OPERATION_DQ
  store_rows<head_dim>((char *)g.dq + 2 * (batch * g.dq_batch + own_head * g.dq_heads + first_row * g.dq_seqlen),
                       2 * g.dq_seqlen, count, shared + warp_row * staged_pitch, sums_k, g.scale);
#else
  if (wants_k)
    store_rows<head_dim>((char *)g.dk + 2 * (batch * g.dk_batch + own_head * g.dk_heads + first_row * g.dk_seqlen),
                         2 * g.dk_seqlen, count, shared + warp_row * staged_pitch, sums_k, g.scale);
  if (wants_v)
    store_rows<head_dim_v>((char *)g.dv + 2 * (batch * g.dv_batch + own_head * g.dv_heads + first_row * g.dv_seqlen),
                           2 * g.dv_seqlen, count, shared + warp_row * staged_pitch, sums_v, 1.0f);
#endif
}

ATTUNE_KERNEL(threads, min_blocks_per_sm) KERNEL_NAME(const attune_backward_arguments a) {
  const attune_arguments &problem = a.problem;
#if OPERATION_DQ
  position start = {};
  if (!decode_tile(start.at, problem, block_index())) return;
  if (start.at.tiles > 0) begin_walk(start, problem);
  work<true, false>(a, start);
#else
  const int tiles = a.gradients.tiles_n * (problem.heads_q / problem.group) * problem.batch;
  position start;
  if (!find_position(start, a, block_index() % tiles)) return;
  if (start.at.tiles > 0) begin_walk(start, problem);
#if SPLIT_DKV
  if (block_index() < tiles)
    work<true, false>(a, start);
  else
    work<false, true>(a, start);
#else
  work<true, true>(a, start);
#endif
#endif
}
