/* Tiles that go from shared memory to a tensor by themselves. Their bytes are taken at once: whether somebody could
 * have overwritten them until their thread has waited is known from the order of accesses. */
#include <string.h>

#include "runtime/simulator/state.h"

/* Of the box's row, how many chunks of 16 bytes are in the tensor, whose rows are whole chunks. */
static int chunks_inside(const attune_simulator_tensor_map *map, const int at[4], int row) {
  const int64_t columns = map->size[0] - at[0];
  int64_t place[3];
  if (at[0] < 0 || !attune_simulator_tensor_map_row(place, map, at, row)) return 0;
  return columns >= 64 ? 8 : columns > 0 ? (int)columns / 8 : 0;
}

/* Row `row` of the box, as it lies in shared memory. */
static void write_row(const attune_simulator_block *block, const unsigned char *from,
                      const attune_simulator_tensor_map *map, const int at[4], int row, int line) {
  const int chunks = chunks_inside(map, at, row);
  int64_t place[3];
  if (!attune_simulator_tensor_map_row(place, map, at, row)) return;
  unsigned char *to = (unsigned char *)(uintptr_t)map->base + place[2] * map->stride[2] + place[1] * map->stride[1] +
                      place[0] * map->stride[0] + (int64_t)at[0] * 2;
  if (block->grid->outputs && chunks > 0)
    attune_simulator_outputs_write(block->grid->outputs, to, chunks * 16, block->index + block->running->part,
                                   block->running->thread, line);
  for (int chunk = 0; chunk < chunks; chunk++)
    memcpy(to + chunk * 16, from + (chunk ^ (row & 7)) * 16, 16);
}

void attune_simulator_store_tile(const struct attune_tensor_map *map, const int at[4], unsigned from, int line) {
  attune_simulator_block *block = attune_simulator_current;
  const int thread = block->running->index;
  const uint32_t offset = attune_simulator_offset(block, block->running->part, from);
  const attune_simulator_tensor_map m = attune_simulator_tensor_map_of(map);
  attune_simulator_conflict conflict;
  attune_simulator_start_order(block, line);
  attune_simulator_check_box(block, map, from, "a tile's store", line);
  const uint32_t bytes = (uint32_t)m.box_rows * 128;
  /* What is dropped, being outside of the tensor, may be anything. */
  for (int row = 0; row < m.box_rows; row++)
    for (int chunk = 0; chunk < chunks_inside(&m, at, row); chunk++) {
      const uint32_t place = offset + (uint32_t)(row * 128 + (chunk ^ (row & 7)) * 16);
      if (!attune_simulator_shared_start_store(&block->shared, &conflict, place, 16, thread, line))
        attune_simulator_fault_conflict(block, &conflict, line, "a tile's store", from + (place - offset), 16);
    }
  if (block->store_count == ATTUNE_SIMULATOR_STORES_MAX)
    attune_simulator_fault(block, thread, line,
                           "more than %d tiles' stores under way, which the simulator cannot model",
                           block->store_count);
  block->stores[block->store_count++] =
      (attune_simulator_stored_tile){.from = offset, .bytes = bytes, .line = line, .thread = thread};
  for (int row = 0; row < m.box_rows; row++)
    write_row(block, block->shared.bytes + offset + row * 128, &m, at, row, line);
}

void attune_simulator_finish_stores(int line) {
  (void)line;
  attune_simulator_block *block = attune_simulator_current;
  int kept = 0;
  for (int i = 0; i < block->store_count; i++) {
    const attune_simulator_stored_tile *store = &block->stores[i];
    if (store->thread == block->running->index)
      attune_simulator_shared_end_store(&block->shared, store->from, store->bytes, store->thread);
    else
      block->stores[kept++] = *store;
  }
  block->store_count = kept;
}
