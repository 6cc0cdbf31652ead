/* Block masks (attune.h) built, transposed and checked where they lie. A warp works on a row of blocks, a lane on a
 * block at a time.
 *
 * Building takes two launches, since a row begins where all before it end: the first counts, the second adds up what
 * the rows before it count, and fills in. A third transposes, since a column may have blocks of every row. Nothing is
 * shared between blocks of the grid, and there is no memory for what is not kept. A tile of tiles.h is here a whole
 * block: sparse_block_size queries x sparse_block_size keys. */
#include "../parts/layout.h"
#include "../parts/tile_walk.h"

constexpr int threads = warps * 32;

/* The rows of blocks of all masks, one after the other. */
struct block_row : query_tile {
  int index, mask, row; // of all; row / rows, row % rows
  long long first;      // of blocks: the first of the source that is of this row
  int candidates;       // blocks that may be kept
};

ATTUNE_DEVICE int lane() {
  return thread_index() % 32;
}

ATTUNE_DEVICE int count_masks(const attune_block_mask_arguments &a) {
  return a.problem.block_mask_batch * a.problem.block_mask_heads;
}
ATTUNE_DEVICE int count_rows(const attune_block_mask_arguments &a) {
  return block_rows(a.problem) * count_masks(a);
}
ATTUNE_DEVICE int count_columns(const attune_block_mask_arguments &a) {
  return block_columns(a.problem) * count_masks(a);
}

/* Places in indices from begin to end - 1: a row's, or what is left of it where indices end. */
struct block_places {
  int begin, end;
};
ATTUNE_DEVICE block_places places_of_row(const attune_block_mask_arguments &a, const int *row_offsets, int index) {
  const int capacity = a.problem.block_mask_capacity;
  block_places row = {minimum(maximum(load_constant_int(row_offsets + index), 0), capacity),
                      minimum(load_constant_int(row_offsets + index + 1), capacity)};
  return row;
}

/* The first of these places whose column is at least that one. */
ATTUNE_DEVICE int find_column(const int *indices, const block_places &row, int column) {
  int low = row.begin, high = row.end;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (load_constant_int(indices + middle) >> 1 < column)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Of all lanes, at most 2^31 - 1; the terms are not negative. */
ATTUNE_DEVICE int saturated(int a, int b) {
  const unsigned sum = (unsigned)a + (unsigned)b;
  return sum > 0x7fffffffu ? 0x7fffffff : (int)sum;
}
ATTUNE_DEVICE int sum_of_lanes(int x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2)
    x = saturated(x, shuffle(x, lane() ^ mask));
  return x;
}

/* ---- the source ---- */

ATTUNE_DEVICE const int *block_of_source(const attune_block_mask_arguments &a, long long i) {
  return (const int *)a.work.source + 4 * i; // batch, head, row, column
}

/* Which row of all masks a block of the source is of. */
ATTUNE_DEVICE long long row_of_source(const attune_block_mask_arguments &a, long long i) {
  const int *block = block_of_source(a, i);
  return ((long long)load_constant_int(block) * a.problem.block_mask_heads + load_constant_int(block + 1)) *
             block_rows(a.problem) +
         load_constant_int(block + 2);
}

/* The first block of the source that is of the row or a later one. */
ATTUNE_DEVICE long long find_row(const attune_block_mask_arguments &a, int row) {
  long long low = 0, high = a.work.count;
  while (low < high) {
    const long long middle = (low + high) / 2;
    if (row_of_source(a, middle) < row)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

ATTUNE_DEVICE block_row find_block_row(const attune_block_mask_arguments &a, int index) {
  block_row at = {};
  at.index = index;
  at.mask = index / block_rows(a.problem);
  at.row = index % block_rows(a.problem);
  at.batch = at.mask / a.problem.block_mask_heads;
  at.head = at.mask % a.problem.block_mask_heads;
  find_keys(at, a.problem, at.row);
  at.candidates = at.tiles;
  if (a.work.kind == ATTUNE_BLOCK_MASK_FROM_BLOCKS) {
    at.first = find_row(a, index);
    const long long end = find_row(a, index + 1);
    at.candidates = end > at.first ? (int)(end - at.first < 0x7fffffff ? end - at.first : 0x7fffffff) : 0;
  }
  return at;
}

#if HAS_MASK_EXPR
/* What the mask expression says of a block, for all heads and batches that the block mask is for. */
ATTUNE_DEVICE sparse_block block_of_expression(const attune_block_mask_arguments &a, const block_row &at, int column) {
  const verdict seen = is_seen<range, unknown>(
      a.problem, a.problem.block_mask_batch > 1 ? range(at.batch) : range(0, a.problem.batch - 1),
      a.problem.block_mask_heads > 1 ? range(at.head) : range(0, a.problem.heads_q - 1),
      range(at.row_begin, minimum(at.row_begin + sparse_block_size, at.seqlen_q) - 1),
      range(column * sparse_block_size, minimum((column + 1) * sparse_block_size, at.seqlen_k) - 1), range(at.seqlen_q),
      range(at.seqlen_k));
  sparse_block found = {seen.maybe ? column : -1, seen.always};
  return found;
}
#endif

/* The i-th candidate. */
ATTUNE_DEVICE sparse_block find_block(const attune_block_mask_arguments &a, const block_row &at, int i) {
#if HAS_MASK_EXPR
  sparse_block found = {-1, false};
#else
  sparse_block found = {-1, true};
#endif
  if (i >= at.candidates) return found;
  if (a.work.kind == ATTUNE_BLOCK_MASK_FROM_BLOCKS) {
    const long long place = at.first + i;
    const int column = load_constant_int(block_of_source(a, place) + 3);
    const bool after = i == 0 || load_constant_int(block_of_source(a, place - 1) + 3) < column;
    if (after && is_within(at, column) && row_of_source(a, place) == at.index) found.index = column;
    return found;
  }
  const int column = at.last_tile - at.tiles + 1 + i;
  if (a.work.kind == ATTUNE_BLOCK_MASK_FROM_BYTES) {
    const long long columns = block_columns(a.problem);
    if (load_constant_8((const char *)a.work.source + at.index * columns + column)) found.index = column;
    return found;
  }
#if HAS_MASK_EXPR
  return block_of_expression(a, at, column);
#else
  found.index = column;
  return found;
#endif
}

/* ---- building ---- */

ATTUNE_DEVICE void count_blocks(const attune_block_mask_arguments &a, const block_row &at) {
  int count = 0;
  for (int first = 0; first < at.candidates; first += 32)
    count += popcount(warp_ballot(find_block(a, at, first + lane()).index >= 0));
  if (lane() == 0) store_global_int(a.work.counts + at.index, count);
}

/* How many blocks the rows before this one have. */
ATTUNE_DEVICE int blocks_before(const attune_block_mask_arguments &a, const block_row &at) {
  int sum = 0;
  for (int row = lane(); row < at.index; row += 32)
    sum = saturated(sum, load_constant_int(a.work.counts + row));
  return sum_of_lanes(sum);
}

/* How many rows of its mask come before this one: those that are longer, and of those as long the earlier ones. */
ATTUNE_DEVICE int rank_in_mask(const attune_block_mask_arguments &a, const block_row &at, int count) {
  const int rows = block_rows(a.problem), first = at.mask * rows;
  int rank = 0;
  for (int row = lane(); row < rows; row += 32) {
    const int other = load_constant_int(a.work.counts + first + row);
    rank += other > count || (other == count && row < at.row);
  }
  return sum_of_lanes(rank);
}

ATTUNE_DEVICE void fill_row(const attune_block_mask_arguments &a, const block_row &at) {
  const attune_block_mask_work &work = a.work;
  const int begin = blocks_before(a, at), count = load_constant_int(work.counts + at.index);
  if (work.row_order) {
    const int rank = rank_in_mask(a, at, count);
    if (lane() == 0) store_global_int(work.row_order + at.mask * block_rows(a.problem) + rank, at.index);
  }
  if (lane() == 0) store_global_int(work.row_offsets + at.index, begin);
  if (lane() == 0 && at.index == count_rows(a) - 1)
    store_global_int(work.row_offsets + at.index + 1, saturated(begin, count));
  int written = begin;
  for (int first = 0; first < at.candidates; first += 32) {
    const sparse_block block = find_block(a, at, first + lane());
    const unsigned kept = warp_ballot(block.index >= 0);
    const int place = saturated(written, popcount(kept & ((1u << lane()) - 1)));
    if (block.index >= 0 && place < a.problem.block_mask_capacity)
      store_global_int(work.indices + place, block.index * 2 + block.full);
    written = saturated(written, popcount(kept));
  }
}

/* ---- transposing ---- */

constexpr int strip = ATTUNE_BLOCK_MASK_STRIP;

/* Of a row's blocks those in a strip, a bit for each that is kept and for each that is full; how many come before. */
struct row_of_strip {
  int before;
  unsigned kept, full;
};

ATTUNE_DEVICE row_of_strip find_in_strip(const attune_block_mask_arguments &a, int mask, int row, int first_column) {
  row_of_strip found = {0, 0, 0};
  if (row >= block_rows(a.problem)) return found;
  const block_places places = places_of_row(a, a.work.row_offsets, mask * block_rows(a.problem) + row);
  int place = find_column(a.work.indices, places, first_column);
  found.before = place - places.begin;
  for (; place < places.end; place++) {
    const int block = load_constant_int(a.work.indices + place), i = (block >> 1) - first_column;
    if (i >= strip) break;
    found.kept |= 1u << i;
    found.full |= (unsigned)(block & 1) << i;
  }
  return found;
}

/* How many the lanes before this one have. */
ATTUNE_DEVICE int sum_of_lanes_before(int x) {
  int sum = x;
#pragma unroll
  for (int apart = 1; apart < 32; apart *= 2) {
    const int other = shuffle(sum, maximum(lane() - apart, 0));
    if (lane() >= apart) sum += other;
  }
  return sum - x;
}

/* The columns of a strip, a lane each; the rows come 32 at a time, a lane each, ascending. The blocks of a mask take
 * the same places in row_indices as in indices, and a strip begins behind all blocks of the columns before it: a row's
 * are found by a search. Two passes: the first counts, the second writes. */
ATTUNE_DEVICE void transpose_strip(const attune_block_mask_arguments &a, int index) {
  const int rows = block_rows(a.problem), columns = block_columns(a.problem);
  const int strips = (columns + strip - 1) / strip, mask = index / strips, first = index % strips * strip;
  int before = 0, count = 0;
  for (int row = 0; row < rows; row += 32) {
    const row_of_strip found = find_in_strip(a, mask, row + lane(), first);
    before += found.before;
    for (int i = 0; i < strip; i++) {
      const int kept = popcount(warp_ballot(found.kept >> i & 1));
      if (i == lane()) count += kept;
    }
  }
  int next =
      places_of_row(a, a.work.row_offsets, mask * rows).begin + sum_of_lanes(before) + sum_of_lanes_before(count);
  const int column = first + lane(), place = mask * columns + column;
  if (lane() < strip && column < columns) {
    store_global_int(a.work.column_offsets + place, next);
    if (place == count_columns(a) - 1) store_global_int(a.work.column_offsets + place + 1, next + count);
  }
  for (int row = 0; row < rows; row += 32) {
    const row_of_strip found = find_in_strip(a, mask, row + lane(), first);
    for (int i = 0; i < strip; i++) {
      const unsigned kept = warp_ballot(found.kept >> i & 1);
      const int to = shuffle(next, i) + popcount(kept & ((1u << lane()) - 1));
      if (found.kept >> i & 1)
        store_global_int(a.work.row_indices + to, (row + lane()) * 2 + (int)(found.full >> i & 1));
      if (i == lane()) next += popcount(kept);
    }
  }
}

/* ---- checking ---- */

ATTUNE_DEVICE int fault_of_blocks(const attune_block_mask_arguments &a, int begin, int end) {
  const int columns = block_columns(a.problem);
  bool outside = false, unsorted = false;
  for (int i = begin + lane(); i < end; i += 32) {
    const int column = load_constant_int(a.problem.block_mask_indices + i) >> 1;
    outside |= column < 0 || column >= columns;
    unsorted |= i > begin && load_constant_int(a.problem.block_mask_indices + i - 1) >> 1 >= column;
  }
  return warp_any(outside)    ? ATTUNE_BLOCK_MASK_BAD_COLUMN
         : warp_any(unsorted) ? ATTUNE_BLOCK_MASK_UNSORTED
                              : ATTUNE_BLOCK_MASK_SOUND;
}

ATTUNE_DEVICE bool is_ordered_once(const attune_block_mask_arguments &a, int index) {
  int times = 0;
  for (int i = lane(); i < count_rows(a); i += 32)
    times += load_constant_int(a.problem.block_mask_row_order + i) == index;
  return sum_of_lanes(times) == 1;
}

ATTUNE_DEVICE void check_row(const attune_block_mask_arguments &a, int index) {
  const int begin = load_constant_int(a.problem.block_mask_row_offsets + index),
            end = load_constant_int(a.problem.block_mask_row_offsets + index + 1);
  int fault = ATTUNE_BLOCK_MASK_SOUND;
  if (begin < 0 || end < begin || end > a.problem.block_mask_capacity || (index == 0 && begin != 0))
    fault = ATTUNE_BLOCK_MASK_BAD_ROW;
  else
    fault = fault_of_blocks(a, begin, end);
  if (fault == ATTUNE_BLOCK_MASK_SOUND && a.problem.block_mask_row_order && !is_ordered_once(a, index))
    fault = ATTUNE_BLOCK_MASK_BAD_ORDER;
  if (lane() == 0) store_global_int(a.work.counts + index, fault);
}

/* Whether the row of the mask has the column, as full as `block` says. */
ATTUNE_DEVICE bool has_block(const attune_block_mask_arguments &a, int mask, int column, int block) {
  const int row = block >> 1;
  if (row < 0 || row >= block_rows(a.problem)) return false;
  const block_places places = places_of_row(a, a.problem.block_mask_row_offsets, mask * block_rows(a.problem) + row);
  const int place = find_column(a.problem.block_mask_indices, places, column);
  return place < places.end && load_constant_int(a.problem.block_mask_indices + place) == column * 2 + (block & 1);
}

/* Where the offsets of rows and columns are sound, the lists have the same blocks if each of a column is one of a row,
 * none is there twice, and the masks have as many. */
ATTUNE_DEVICE void check_column(const attune_block_mask_arguments &a, int index) {
  const attune_arguments &p = a.problem;
  const int columns = block_columns(p), mask = index / columns, column = index % columns;
  const int begin = load_constant_int(p.block_mask_column_offsets + index),
            end = load_constant_int(p.block_mask_column_offsets + index + 1);
  const int *ends_of_mask = p.block_mask_row_offsets + mask * block_rows(p);
  bool sound = begin >= 0 && begin <= end && end <= p.block_mask_capacity;
  sound = sound && (column > 0 || begin == load_constant_int(ends_of_mask));
  sound = sound && (column < columns - 1 || end == load_constant_int(ends_of_mask + block_rows(p)));
  bool wrong = !sound;
  for (int i = begin + lane(); sound && i < end; i += 32) {
    const int block = load_constant_int(p.block_mask_row_indices + i);
    wrong |= !has_block(a, mask, column, block);
    wrong |= i > begin && load_constant_int(p.block_mask_row_indices + i - 1) >> 1 >= block >> 1;
  }
  const int fault = warp_any(wrong) ? ATTUNE_BLOCK_MASK_NOT_TRANSPOSED : ATTUNE_BLOCK_MASK_SOUND;
  if (lane() == 0) store_global_int(a.work.counts + count_rows(a) + index, fault);
}

ATTUNE_KERNEL(threads, 1) KERNEL_NAME(const attune_block_mask_arguments a) {
  const int index = warp_uniform(block_index() * warps + thread_index() / 32);
  if (a.work.step == ATTUNE_BLOCK_MASK_TRANSPOSE) {
    if (index < (block_columns(a.problem) + strip - 1) / strip * count_masks(a)) transpose_strip(a, index);
    return;
  }
  if (a.work.step == ATTUNE_BLOCK_MASK_CHECK_COLUMNS) {
    if (index < count_columns(a)) check_column(a, index);
    return;
  }
  if (index >= count_rows(a)) return;
  if (a.work.step == ATTUNE_BLOCK_MASK_CHECK_ROWS) {
    check_row(a, index);
    return;
  }
  const block_row at = find_block_row(a, index);
  if (a.work.step == ATTUNE_BLOCK_MASK_COUNT)
    count_blocks(a, at);
  else
    fill_row(a, at);
}
