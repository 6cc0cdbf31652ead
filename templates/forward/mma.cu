/* Forward attention on the tensor cores of sm_80 and later: mma.sync, ldmatrix, cp.async.
 *
 * A block computes tile_m query rows of one head; each warp owns tile_m / warps of them and sees every key. K and V
 * pass through shared memory in tiles of tile_n rows, `stages` of each, from the last visible tile to the first, so
 * that the ragged and the diagonal tiles come first and the tiles between the masked ends pay for no mask.
 *
 * FlashAttention-2 (arXiv 2307.08691, section 3): O stays unnormalised, a running maximum and sum per row, one division
 * at the end. Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16". */
#include "../parts/epilogue.h"
#include "../parts/load_cp_async.h"
#include "../parts/scores.h"
#include "../parts/tile_walk.h"

constexpr int threads = warps * 32;
constexpr int warp_rows = tile_m / warps;          // query rows of a warp
constexpr int atoms = warp_rows / 16;              // 16-row fragments of a warp
constexpr int depth = (head_dim + 15) / 16 * 16;   // of Q and K in shared memory, padded with zeros
constexpr int width = (head_dim_v + 15) / 16 * 16; // of V and O
#if SCORE_UNBOUNDED
constexpr bool score_may_mask = true; // an expression may give -inf
#else
constexpr bool score_may_mask = false;
#endif

/* What a thread holds of its warp's rows. */
struct warp_state {
  unsigned q[atoms][depth / 16][4]; // used if Q lives in registers
  float o[atoms][width / 8][4];
  softmax_rows rows[atoms];
};

/* S = Q K. */
ATTUNE_DEVICE void multiply_qk(float (&s)[atoms][tile_n / 8][4], warp_state &warp, shared_address q_rows,
                               shared_address k_rows) {
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[m][n][e] = 0.0f;

#pragma unroll
  for (int k = 0; k < depth / 16; k++) {
#if !Q_IN_REGS
#pragma unroll
    for (int m = 0; m < atoms; m++)
      ldmatrix_x4(warp.q[m][0], q_rows + m * 16 * pitch_k + k * 32);
#endif
#pragma unroll
    for (int n = 0; n < tile_n / 16; n++) {
      unsigned keys[4];
      ldmatrix_x4(keys, k_rows + n * 16 * pitch_k + k * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
#if Q_IN_REGS
        const unsigned(&q)[4] = warp.q[m][k];
#else
        const unsigned(&q)[4] = warp.q[m][0];
#endif
        mma_m16n8k16(s[m][2 * n], q, keys[0], keys[1]);
        mma_m16n8k16(s[m][2 * n + 1], q, keys[2], keys[3]);
      }
    }
  }
}

template <bool may_mask>
ATTUNE_DEVICE void update_max(warp_state &warp, const float (&s)[atoms][tile_n / 8][4], float log2_scale) {
  float high[atoms][2];
#pragma unroll
  for (int m = 0; m < atoms; m++)
    find_maxima(high[m], warp.rows[m], s[m]);
#if LAZY_RESCALE
  bool grown = false;
#pragma unroll
  for (int m = 0; m < atoms; m++)
    grown |= exceeds_threshold(warp.rows[m], high[m], log2_scale);
  if (!warp_any(grown)) return;
#endif
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float factor = take_max<may_mask>(warp.rows[m], half, high[m][half], log2_scale);
#pragma unroll
      for (int n = 0; n < width / 8; n++) {
        warp.o[m][n][2 * half] *= factor;
        warp.o[m][n][2 * half + 1] *= factor;
      }
    }
}

/* Scores and probabilities of one tile of keys, from `key` on, and what they do to the state. row: the thread's first.
 */
template <bool masked>
ATTUNE_DEVICE void attend(warp_state &warp, shared_address q_rows, shared_address k_rows,
                          const attune_arguments &problem, const query_tile &at, int row, int key,
                          float (&s)[atoms][tile_n / 8][4]) {
  constexpr bool may_mask = masked || score_may_mask;
  multiply_qk(s, warp, q_rows, k_rows);
#pragma unroll
  for (int m = 0; m < atoms; m++) {
    tile_bias bias;
    fetch_bias(bias, problem, at, row + m * 16, key);
    change_scores(s[m], problem, at, row + m * 16, key, bias);
    if (masked) mask_scores(s[m], problem, at, row + m * 16, key);
  }
  update_max<may_mask>(warp, s, problem.log2_scale);
#pragma unroll
  for (int m = 0; m < atoms; m++) {
    float shift[2];
    find_shifts<may_mask>(shift, warp.rows[m], s[m], problem.log2_scale);
    exponentiate<0, tile_n / 8>(warp.rows[m], s[m], shift, problem.log2_scale);
  }
}

/* O += P V. The accumulator layout of S is, packed, the A-operand layout of P. */
ATTUNE_DEVICE void multiply_pv(warp_state &warp, shared_address v_rows, const float (&p)[atoms][tile_n / 8][4]) {
#pragma unroll
  for (int k = 0; k < tile_n / 16; k++) {
    unsigned a[atoms][4];
#pragma unroll
    for (int m = 0; m < atoms; m++) {
      a[m][0] = pack(p[m][2 * k][0], p[m][2 * k][1]);
      a[m][1] = pack(p[m][2 * k][2], p[m][2 * k][3]);
      a[m][2] = pack(p[m][2 * k + 1][0], p[m][2 * k + 1][1]);
      a[m][3] = pack(p[m][2 * k + 1][2], p[m][2 * k + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < width / 16; n++) {
      unsigned values[4];
      ldmatrix_x4_trans(values, v_rows + k * 16 * pitch_v + n * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
        mma_m16n8k16(warp.o[m][2 * n], a[m], values[0], values[1]);
        mma_m16n8k16(warp.o[m][2 * n + 1], a[m], values[2], values[3]);
      }
    }
  }
}

/* A choice made by a type, so that a lambda can be compiled for either. */
struct yes {
  static constexpr bool value = true;
};
struct no {
  static constexpr bool value = false;
};

ATTUNE_KERNEL(threads, min_blocks_per_sm) KERNEL_NAME(const attune_arguments problem) {
#if SPLITS > 1
  launch_dependent_grid(); // the splits' combination
#endif
  work_tile at;
  if (!decode_tile(at, problem, block_index())) return;
  const int head = at.head, batch = at.batch, row_begin = at.row_begin;

  const int lane = thread_index() % 32;
  const int warp_row = thread_index() / 32 * warp_rows;
  const long long q_row_bytes = 2 * problem.q_seqlen, k_row_bytes = 2 * problem.k_seqlen,
                  v_row_bytes = 2 * problem.v_seqlen;
  const char *q =
      (const char *)problem.q + 2 * (batch * problem.q_batch + head * problem.q_heads + row_begin * problem.q_seqlen);
  const char *k = (const char *)problem.k + 2 * (batch * problem.k_batch + head / problem.group * problem.k_heads);
  const char *v = (const char *)problem.v + 2 * (batch * problem.v_batch + head / problem.group * problem.v_heads);
  const shared_address shared = shared_memory();

  warp_state warp;
#pragma unroll
  for (int m = 0; m < atoms; m++) {
    clear(warp.rows[m]);
#pragma unroll
    for (int n = 0; n < width / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        warp.o[m][n][e] = 0.0f;
  }

  // Addresses that this lane gives to ldmatrix: rows 0-15 with two chunks for Q and V; for K two groups of eight keys.
  const shared_address q_rows = shared + (warp_row + lane % 16) * pitch_k + lane / 16 * 16;
  const shared_address k_lane = shared + k_offset + (lane % 8 + lane / 16 * 8) * pitch_k + lane / 8 % 2 * 16;
  const shared_address v_lane = shared + v_offset + lane % 16 * pitch_v + lane / 16 * 16;

  // load_k and load_v copy the tile that copying is at, which another() moves on; false: there is none.
  const char *k_first = copy_source<head_dim>(k, k_row_bytes), *v_first = copy_source<head_dim_v>(v, v_row_bytes);
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  tile_walk working = first_of_walk(problem, at), copying = working;
  auto another = [&]() {
    if (copying.more) {
      step_walk(copying, problem, at);
      return true;
    }
    return false;
  };
  auto load_k = [&](auto, int slot) {
    copy_tile<true, tile_n, head_dim>(shared + k_offset + slot * k_slot_bytes,
                                      k_first + (long long)copying.tile * tile_n * k_row_bytes, k_row_bytes,
                                      at.seqlen_k - copying.tile * tile_n);
  };
  auto load_v = [&](auto, int slot) {
    copy_tile<true, tile_n, head_dim_v>(shared + v_offset + slot * v_slot_bytes,
                                        v_first + (long long)copying.tile * tile_n * v_row_bytes, v_row_bytes,
                                        at.seqlen_k - copying.tile * tile_n);
  };
#else
  const char *k_next = k_first + (long long)at.last_tile * tile_n * k_row_bytes;
  const char *v_next = v_first + (long long)at.last_tile * tile_n * v_row_bytes;
  int copied = 0;
  auto another = [&]() { return ++copied < at.tiles; };
  // Only the last tile of the keys can be ragged, and it is the first to be copied.
  auto load_k = [&](auto ragged, int slot) {
    copy_tile<decltype(ragged)::value, tile_n, head_dim>(shared + k_offset + slot * k_slot_bytes, k_next, k_row_bytes,
                                                         at.seqlen_k - at.last_tile * tile_n);
    k_next -= tile_n * k_row_bytes;
  };
  auto load_v = [&](auto ragged, int slot) {
    copy_tile<decltype(ragged)::value, tile_n, head_dim_v>(shared + v_offset + slot * v_slot_bytes, v_next, v_row_bytes,
                                                           at.seqlen_k - at.last_tile * tile_n);
    v_next -= tile_n * v_row_bytes;
  };
#endif

  copy_tile<true, tile_m, head_dim>(shared, copy_source<head_dim>(q, q_row_bytes), q_row_bytes,
                                    at.seqlen_q - row_begin);
  cp_async_commit();
  // One group of copies a tile, K and V together, empty past the end so that the wait counts stay constant. With one
  // stage K and V are groups of their own, each copied while the other is used.
#if STAGES == 1
  if (at.tiles > 0) load_k(yes(), 0);
  cp_async_commit();
  if (at.tiles > 0) load_v(yes(), 0);
  cp_async_commit();
#else
  if (at.tiles > 0) {
    load_k(yes(), 0);
    load_v(yes(), 0);
  }
  cp_async_commit();
#pragma unroll
  for (int t = 1; t < stages - 1; t++) {
    if (another()) {
      load_k(no(), t);
      load_v(no(), t);
    }
    cp_async_commit();
  }
#endif
#if Q_IN_REGS
  cp_async_wait<stages == 1 ? 2 : stages - 1>(); // all but Q, which is the oldest group
  barrier();
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int d = 0; d < depth / 16; d++)
      ldmatrix_x4(warp.q[m][d], q_rows + m * 16 * pitch_k + d * 32);
#endif

  const int own_row = row_begin + warp_row + lane / 4;
  int i = 0, slot = 0;
  auto step = [&](auto masked) {
    float s[atoms][tile_n / 8][4];
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
    const int key = working.tile * tile_n;
#else
    const int key = (at.last_tile - i) * tile_n;
#endif
#if STAGES == 1
    if (i == 0)
      cp_async_wait<1>();
    else
      cp_async_wait<0>();
    barrier(); // K(i) is here for all, and all have left V(i - 1)
    if (i > 0) {
      load_v(no(), 0);
      cp_async_commit();
    }
#else
    cp_async_wait<stages - 2>();
    barrier(); // K(i) and V(i) are here for all, and all have left K(i - 1) and V(i - 1)
    if (another()) {
      const int previous = slot == 0 ? stages - 1 : slot - 1;
      load_k(no(), previous);
      load_v(no(), previous);
    }
    cp_async_commit();
#endif
    attend<decltype(masked)::value>(warp, q_rows, k_lane + slot * k_slot_bytes, problem, at, own_row, key, s);
#if STAGES == 1
    cp_async_wait<0>();
    barrier(); // V(i) is here for all, and all have left K(i)
    if (another()) load_k(no(), 0);
    cp_async_commit();
#endif
    multiply_pv(warp, v_lane + slot * v_slot_bytes, s);
    i++;
    slot = slot == stages - 1 ? 0 : slot + 1;
  };
#if HAS_MASK_EXPR || SPARSE_BLOCK_SIZE
  for (bool left = at.tiles > 0; left;) {
    if (working.full)
      step(no());
    else
      step(yes());
    left = working.more;
    if (left) step_walk(working, problem, at);
  }
#else
  while (i < at.tiles && at.last_tile - i >= at.full_end)
    step(yes());
  while (i < at.tiles && at.last_tile - i >= at.full_begin)
    step(no());
#endif
#if MASK_BOUNDS_WINDOW && !HAS_MASK_EXPR && !SPARSE_BLOCK_SIZE
  while (i < at.tiles)
    step(yes());
#endif
  cp_async_wait<0>();
  barrier(); // shared memory is free for O

#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float sum = sum_of_row(warp.rows[m].sum[half]);
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      const float max = warp.rows[m].max[half];
#if SPLITS > 1
      if (query_of(at, row) < at.seqlen_q) store_o_partial(problem, at, row, warp.o[m], half, max, sum);
#else
      const row_result result = finish_row(problem, head, max, sum);
#pragma unroll
      for (int n = 0; n < width / 8; n++)
        store_shared_32(shared + row * pitch_v + n * 16 + lane % 4 * 4,
                        pack(warp.o[m][n][2 * half] * result.factor, warp.o[m][n][2 * half + 1] * result.factor));
#if LSE
      if (lane % 4 == 0 && query_of(at, row) < at.seqlen_q) store_lse(problem, at, row, result.lse);
#endif
#endif
    }
#if SPLITS == 1
  warp_barrier(); // a warp stores the rows that it computed
  constexpr int chunks = head_dim_v / 8;
#pragma unroll 4
  for (int c = lane; c < warp_rows * chunks; c += 32) {
    const int row = warp_row + c / chunks;
    if (query_of(at, row) < at.seqlen_q)
      store_global_128(o_address(problem, at, row, c % chunks),
                       load_shared_128(shared + row * pitch_v + c % chunks * 16));
  }
#endif
}
