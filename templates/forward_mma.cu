/* Forward attention on the tensor cores of sm_80 and later: mma.sync, ldmatrix, cp.async.
 *
 * A block computes tile_m query rows of one head; each warp owns tile_m / warps of them and sees every key. K and V
 * pass through shared memory in tiles of tile_n rows, `stages` of each, from the last visible tile to the first, so
 * that the ragged and the diagonal tiles come first and the tiles between the masked ends pay for no mask.
 *
 * FlashAttention-2 (arXiv 2307.08691, section 3): O stays unnormalised, a running maximum and sum per row, one division
 * at the end. Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16". */
#include "arguments.h"
#include "mask.h"
#include "parameters.h"
#include "primitives.h"

constexpr int threads = warps * 32;
constexpr int rows = tile_m / warps;               // query rows of a warp
constexpr int atoms = rows / 16;                   // 16-row fragments of a warp
constexpr int depth = (head_dim + 15) / 16 * 16;   // of Q and K in shared memory, padded with zeros
constexpr int width = (head_dim_v + 15) / 16 * 16; // of V and O
constexpr int pitch_k = 2 * depth + 16;            // bytes of a row: an odd number of 16-byte chunks, so that the eight
constexpr int pitch_v = 2 * width + 16;            // rows of an ldmatrix fall on different banks
constexpr int tile_k_bytes = tile_n * pitch_k;
constexpr int tile_v_bytes = tile_n * pitch_v;
constexpr int k_offset = tile_m * pitch_k; // after Q
constexpr int v_offset = k_offset + stages * tile_k_bytes;

/* How a block's threads share the copy of a tile: `across` neighbours take one row, 16 bytes each, again and again. */
template <int columns> struct copy_shape {
  static constexpr int chunks = (columns + 15) / 16 * 2; // of 16 bytes in a row, with the padding to 16 elements
  static constexpr int across = chunks >= 8 ? 8 : chunks >= 4 ? 4 : 2;
  static constexpr int down = threads / across;
};

/* This thread's first 16 bytes of a tile that starts at `tile`. */
template <int columns> ATTUNE_DEVICE const char *copy_source(const char *tile, long long row_bytes) {
  using shape = copy_shape<columns>;
  return tile + thread_index() / shape::across * row_bytes + thread_index() % shape::across * 16;
}

/* Copies `count` rows of `columns` elements to shared memory. Bounded: rows from `limit` on become zeros. The padding
 * always does. */
template <bool bounded, int count, int columns>
ATTUNE_DEVICE void copy_tile(shared_address tile, const char *source, long long row_bytes, int limit) {
  using shape = copy_shape<columns>;
  constexpr int pitch = shape::chunks * 16 + 16;
  const int row = thread_index() / shape::across;
  const int column = thread_index() % shape::across;
  const shared_address target = tile + row * pitch + column * 16;
#pragma unroll
  for (int r = 0; r < count; r += shape::down) {
    if (count % shape::down == 0 || r + row < count) {
#pragma unroll
      for (int c = 0; c < shape::chunks; c += shape::across)
        if (shape::chunks % shape::across == 0 || c + column < shape::chunks)
          copy_async(target + r * pitch + c * 16, source + c * 16,
                     (!bounded || r + row < limit) && (columns % 16 == 0 || c + column < columns / 8));
    }
    source += shape::down * row_bytes;
  }
}

/* The block's place in the problem, and the warp's running state. */
struct state {
  unsigned q[atoms][depth / 16][4]; // used if Q lives in registers
  float o[atoms][width / 8][4];
  float max[atoms][2]; // of rows lane / 4 and lane / 4 + 8, in units of q.k
  float sum[atoms][2]; // of this thread's columns only, until the end
};

/* Scores and probabilities of one tile of keys, from `key` on, and what they do to the state. row: the thread's first.
 */
template <bool masked>
ATTUNE_DEVICE void attend(state &warp, shared_address q_rows, shared_address k_rows, const attune_arguments &problem,
                          const row_tile &at, int row, int key, float (&s)[atoms][tile_n / 8][4]) {
  const float log2_scale = problem.log2_scale;
#if SCORE_EXPRESSION
  constexpr bool may_hide = true; // an expression may give -inf
#else
  constexpr bool may_hide = masked;
#endif
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[m][n][e] = 0.0f;

#pragma unroll
  for (int k = 0; k < depth / 16; k++) {
#if !Q_REGISTERS
#pragma unroll
    for (int m = 0; m < atoms; m++)
      load_matrix(warp.q[m][0], q_rows + m * 16 * pitch_k + k * 32);
#endif
#pragma unroll
    for (int n = 0; n < tile_n / 16; n++) {
      unsigned keys[4];
      load_matrix(keys, k_rows + n * 16 * pitch_k + k * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
#if Q_REGISTERS
        const unsigned(&q)[4] = warp.q[m][k];
#else
        const unsigned(&q)[4] = warp.q[m][0];
#endif
        multiply_accumulate(s[m][2 * n], q, keys[0], keys[1]);
        multiply_accumulate(s[m][2 * n + 1], q, keys[2], keys[3]);
      }
    }
  }

#pragma unroll
  for (int m = 0; m < atoms; m++) {
    tile_bias bias;
    fetch_bias(bias, problem, at, row + m * 16, key);
    change_scores(s[m], problem, at, row + m * 16, key, bias);
    if (masked) hide_scores(s[m], problem, at, row + m * 16, key);
  }

  float high[atoms][2];
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float h = warp.max[m][half];
#pragma unroll
      for (int n = 0; n < tile_n / 8; n++)
        h = maximum(h, maximum(s[m][n][2 * half], s[m][n][2 * half + 1]));
      h = maximum(h, shuffle_xor(h, 1)); // the four lanes of a row
      high[m][half] = maximum(h, shuffle_xor(h, 2));
    }
#if LAZY_RESCALE
  // O and the sum are rescaled only when some row's maximum has grown by more than a factor of 2^8: until then P may
  // exceed 1, which costs no accuracy in floating point, and the sum is taken against the same maximum.
  bool grown = false;
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++)
      grown |= (high[m][half] - warp.max[m][half]) * log2_scale > 8.0f;
  if (any_lane(grown))
#endif
  {
#pragma unroll
    for (int m = 0; m < atoms; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // A row that has seen no key yet has maximum -inf, and -inf - -inf is not a number.
        const float factor = may_hide && high[m][half] == -infinity()
                                 ? 1.0f
                                 : exp2_approximate((warp.max[m][half] - high[m][half]) * log2_scale);
        warp.max[m][half] = high[m][half];
        warp.sum[m][half] *= factor;
#pragma unroll
        for (int n = 0; n < width / 8; n++) {
          warp.o[m][n][2 * half] *= factor;
          warp.o[m][n][2 * half + 1] *= factor;
        }
      }
  }
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float shift = (may_hide && warp.max[m][half] == -infinity() ? 0.0f : warp.max[m][half]) * log2_scale;
      float sum = warp.sum[m][half];
#pragma unroll
      for (int n = 0; n < tile_n / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const float p = exp2_approximate(s[m][n][2 * half + e] * log2_scale - shift);
          s[m][n][2 * half + e] = p;
          sum += p;
        }
      warp.sum[m][half] = sum;
    }
}

/* O += P V. The accumulator layout of S is, packed, the A-operand layout of P. */
ATTUNE_DEVICE void accumulate(state &warp, shared_address v_rows, const float (&p)[atoms][tile_n / 8][4]) {
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
      load_matrix_transposed(values, v_rows + k * 16 * pitch_v + n * 32);
#pragma unroll
      for (int m = 0; m < atoms; m++) {
        multiply_accumulate(warp.o[m][2 * n], a[m], values[0], values[1]);
        multiply_accumulate(warp.o[m][2 * n + 1], a[m], values[2], values[3]);
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

/* What the block works on. */
ATTUNE_DEVICE void find_usual(int &place, int &tile, const attune_arguments &problem, int index) {
#if ORDER_HEADS || ORDER_LONGEST
  const int heads = problem.heads_q * problem.batch;
  place = index % heads;
  tile = index / heads;
#else
  place = index / problem.tiles_m;
  tile = index % problem.tiles_m;
#endif
#if ORDER_REVERSED || ORDER_LONGEST
  tile = problem.tiles_m - 1 - tile;
#endif
}

ATTUNE_KERNEL(threads, blocks) KERNEL_NAME(const attune_arguments problem) {
  int place, tile;
  row_tile at;
#if SPLITS > 1
  at.split = divide(block_index(), problem.by_work_tiles);
  const int index = block_index() - at.split * problem.work_tiles;
#else
  const int index = block_index();
#endif
#if LIST_BLOCK
  if (problem.list_order) {
    if (!find_ordered(place, tile, problem, index)) return;
  } else
#endif
    find_usual(place, tile, problem, index);
  at.head = place % problem.heads_q;
  at.batch = place / problem.heads_q;
  if (!find_keys(at, problem, tile)) return;
  const int head = at.head, batch = at.batch, row_begin = at.row_begin;

  const int lane = thread_index() % 32;
  const int warp_row = thread_index() / 32 * rows;
  const long long q_row_bytes = 2 * problem.q_seqlen, k_row_bytes = 2 * problem.k_seqlen,
                  v_row_bytes = 2 * problem.v_seqlen;
  const char *q =
      (const char *)problem.q + 2 * (batch * problem.q_batch + head * problem.q_heads + row_begin * problem.q_seqlen);
  const char *k = (const char *)problem.k + 2 * (batch * problem.k_batch + head / problem.group * problem.k_heads);
  const char *v = (const char *)problem.v + 2 * (batch * problem.v_batch + head / problem.group * problem.v_heads);
  const shared_address shared = shared_memory();

  state warp;
#pragma unroll
  for (int m = 0; m < atoms; m++) {
    warp.max[m][0] = warp.max[m][1] = -infinity();
    warp.sum[m][0] = warp.sum[m][1] = 0.0f;
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
#if PATTERN || LIST_BLOCK
  tile_walk working = first_tile(problem, at), copying = working;
  auto another = [&]() {
    if (copying.more) {
      next_tile(copying, problem, at);
      return true;
    }
    return false;
  };
  auto load_k = [&](auto, int slot) {
    copy_tile<true, tile_n, head_dim>(shared + k_offset + slot * tile_k_bytes,
                                      k_first + (long long)copying.tile * tile_n * k_row_bytes, k_row_bytes,
                                      at.seqlen_k - copying.tile * tile_n);
  };
  auto load_v = [&](auto, int slot) {
    copy_tile<true, tile_n, head_dim_v>(shared + v_offset + slot * tile_v_bytes,
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
    copy_tile<decltype(ragged)::value, tile_n, head_dim>(shared + k_offset + slot * tile_k_bytes, k_next, k_row_bytes,
                                                         at.seqlen_k - at.last_tile * tile_n);
    k_next -= tile_n * k_row_bytes;
  };
  auto load_v = [&](auto ragged, int slot) {
    copy_tile<decltype(ragged)::value, tile_n, head_dim_v>(shared + v_offset + slot * tile_v_bytes, v_next, v_row_bytes,
                                                           at.seqlen_k - at.last_tile * tile_n);
    v_next -= tile_n * v_row_bytes;
  };
#endif

  copy_tile<true, tile_m, head_dim>(shared, copy_source<head_dim>(q, q_row_bytes), q_row_bytes,
                                    at.seqlen_q - row_begin);
  copy_async_commit();
  // One group of copies a tile, K and V together, empty past the end so that the wait counts stay constant. With one
  // stage K and V are groups of their own, each copied while the other is used.
#if STAGES == 1
  if (at.tiles > 0) load_k(yes(), 0);
  copy_async_commit();
  if (at.tiles > 0) load_v(yes(), 0);
  copy_async_commit();
#else
  if (at.tiles > 0) {
    load_k(yes(), 0);
    load_v(yes(), 0);
  }
  copy_async_commit();
#pragma unroll
  for (int t = 1; t < stages - 1; t++) {
    if (another()) {
      load_k(no(), t);
      load_v(no(), t);
    }
    copy_async_commit();
  }
#endif
#if Q_REGISTERS
  copy_async_wait<stages == 1 ? 2 : stages - 1>(); // all but Q, which is the oldest group
  barrier();
#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int d = 0; d < depth / 16; d++)
      load_matrix(warp.q[m][d], q_rows + m * 16 * pitch_k + d * 32);
#endif

  const int own_row = row_begin + warp_row + lane / 4;
  int i = 0, slot = 0;
  auto step = [&](auto masked) {
    float s[atoms][tile_n / 8][4];
#if PATTERN || LIST_BLOCK
    const int key = working.tile * tile_n;
#else
    const int key = (at.last_tile - i) * tile_n;
#endif
#if STAGES == 1
    if (i == 0)
      copy_async_wait<1>();
    else
      copy_async_wait<0>();
    barrier(); // K(i) is here for all, and all have left V(i - 1)
    if (i > 0) {
      load_v(no(), 0);
      copy_async_commit();
    }
#else
    copy_async_wait<stages - 2>();
    barrier(); // K(i) and V(i) are here for all, and all have left K(i - 1) and V(i - 1)
    if (another()) {
      const int previous = slot == 0 ? stages - 1 : slot - 1;
      load_k(no(), previous);
      load_v(no(), previous);
    }
    copy_async_commit();
#endif
    attend<decltype(masked)::value>(warp, q_rows, k_lane + slot * tile_k_bytes, problem, at, own_row, key, s);
#if STAGES == 1
    copy_async_wait<0>();
    barrier(); // V(i) is here for all, and all have left K(i)
    if (another()) load_k(no(), 0);
    copy_async_commit();
#endif
    accumulate(warp, v_lane + slot * tile_v_bytes, s);
    i++;
    slot = slot == stages - 1 ? 0 : slot + 1;
  };
#if PATTERN || LIST_BLOCK
  for (bool left = at.tiles > 0; left;) {
    if (working.whole)
      step(no());
    else
      step(yes());
    left = working.more;
    if (left) next_tile(working, problem, at);
  }
#else
  while (i < at.tiles && at.last_tile - i >= at.full_end)
    step(yes());
  while (i < at.tiles && at.last_tile - i >= at.full_begin)
    step(no());
#endif
#if BOUND_WINDOW && !PATTERN && !LIST_BLOCK
  while (i < at.tiles)
    step(yes());
#endif
  copy_async_wait<0>();
  barrier(); // shared memory is free for O

#pragma unroll
  for (int m = 0; m < atoms; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float sum = warp.sum[m][half];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      const row_result result = result_of(problem, head, warp.max[m][half] * problem.log2_scale, sum);
#if SPLITS > 1
      if (row_begin + row >= at.seqlen_q) continue;
      const long long part = partial_row(problem, at.split, place, row_begin + row);
#pragma unroll
      for (int n = 0; n < head_dim_v / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++)
          store_global_float(problem.o_partial + part * head_dim_v + n * 8 + lane % 4 * 2 + e,
                             warp.o[m][n][2 * half + e] * result.factor);
      if (lane % 4 == 0) store_global_float(problem.lse_partial + part, result.lse);
#else
#pragma unroll
      for (int n = 0; n < width / 8; n++)
        store_shared_32(shared + row * pitch_v + n * 16 + lane % 4 * 4,
                        pack(warp.o[m][n][2 * half] * result.factor, warp.o[m][n][2 * half + 1] * result.factor));
#if LSE
      if (lane % 4 == 0 && row_begin + row < at.seqlen_q)
        store_global_float(problem.lse + (long long)place * problem.seqlen_q + row_begin + row, result.lse);
#endif
#endif
    }
#if SPLITS == 1
  warp_barrier(); // a warp stores the rows that it computed
  constexpr int chunks = head_dim_v / 8;
#pragma unroll 4
  for (int c = lane; c < rows * chunks; c += 32) {
    const int row = warp_row + c / chunks;
    if (row_begin + row < at.seqlen_q)
      store_global_128((char *)problem.o + 2 * (batch * problem.o_batch + head * problem.o_heads +
                                                (row_begin + row) * problem.o_seqlen + c % chunks * 8),
                       load_shared_128(shared + row * pitch_v + c % chunks * 16));
  }
#endif
}
