/* Stand-ins for the shared-memory layout and the registers that the generator writes (generator/families/layout.c, from
 * the regions that the family names), so that an editor can parse the templates. Offsets are bytes from the start of
 * the block's dynamic shared memory; a region's slots follow each other. */
#pragma once
#include "../primitives/cuda.h"
constexpr int q_offset = 0;
constexpr int q_slot_bytes = 32768;
constexpr int k_offset = 32768;
constexpr int k_slot_bytes = 16384;
constexpr int v_offset = 65536;
constexpr int v_slot_bytes = 16384;
constexpr int p_offset = 98304;
constexpr int o_offset = 114688;
constexpr int work_slots = 2;
constexpr int queue_slots = 8;
constexpr int consumer_registers = 240;
constexpr int producer_registers = 24;
constexpr int pitch_k = 272;
constexpr int pitch_v = 272;
constexpr int own_k_offset = 0;
constexpr int own_v_offset = 34816;
constexpr int step_k_offset = 69632;
constexpr int step_k_slot_bytes = 17408;
constexpr int step_v_offset = 104448;
constexpr int step_v_slot_bytes = 17408;
constexpr int terms_offset = 139264;
constexpr int terms_slot_bytes = 512;
constexpr int staged_pitch = 272;
constexpr int rows_of_warp = 4;
constexpr int staged_offset = 0;
constexpr int d_o_offset = 65536;
constexpr int d_o_slot_bytes = 16384;
constexpr int ds_offset = 98304;
constexpr int ds_slot_bytes = 16384;
constexpr int dq_by_rows = 0;
constexpr int dq_columns = 64;
constexpr int dq_parts = 2;
constexpr int weights_offset = 98304;
constexpr int warp_offset = 0;
constexpr int sums_offset = 0;
constexpr int resident_blocks = 3;
constexpr int tables_offset = 0;
constexpr int tables_slot_bytes = 2560;
constexpr int lanes_offset = 10240;
constexpr int lanes_slot_bytes = 128;
constexpr int table_floats = 640;
constexpr int warp_slot_bytes = 1152;

/* Where they are in the block. */
struct smem_map {
  shared_address work_full, work_empty, work_index, work_requested;
  shared_address q_full, o_full, q_empty, o_empty, o_slot;
  shared_address k_full, k_empty, v_full, v_empty, v_landed;
  shared_address queue_full, queue_empty, queue, k_tile;
  shared_address record, kv_full, kv_landed, step_full, step_empty, step_landed, ds_full, ds_empty;
};
ATTUNE_DEVICE smem_map map_smem(shared_address start) {
  smem_map smem = {};
  smem.k_full = start + 147560; // and so on
  return smem;
}
