/* The primitives in C++17, for the simulator: each hands what it is asked to the runner (runtime/simulator/block.c)
 * together with the line it was called from. Their meaning stands in templates/primitives/README.md. */
#pragma once
#include "../parts/arguments.h"
#include "../parts/parameters.h"
#include "simulator_interface.h"

#define ATTUNE_DEVICE static inline
#define ATTUNE_MEMBER
#define ATTUNE_KERNEL(threads, blocks) extern "C" __attribute__((visibility("default"))) void

static const attune_simulator_calls *host;
extern "C" __attribute__((visibility("default"))) void attune_simulator_bind(const attune_simulator_calls *calls) {
  host = calls;
}

typedef unsigned shared_address;

struct alignas(8) vec64 {
  unsigned x[2];
};
struct alignas(16) vec128 {
  unsigned x[4];
};

ATTUNE_DEVICE unsigned bits_of_float(float x) {
  unsigned bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
ATTUNE_DEVICE float float_of_bits(unsigned bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

ATTUNE_DEVICE int block_index() {
  return host->block_index();
}

ATTUNE_DEVICE int grid_size() {
  return host->grid_size();
}

#define ATTUNE_MAPS(maps) const attune_tensor_maps &maps

#define ATTUNE_CLUSTER(blocks)

ATTUNE_DEVICE void cluster_barrier(int line = __builtin_LINE()) {
  host->cluster_barrier(line);
}

ATTUNE_DEVICE int thread_index() {
  return host->thread_index();
}

ATTUNE_DEVICE shared_address shared_memory() {
  return ATTUNE_SIMULATOR_SHARED_BASE;
}

ATTUNE_DEVICE void cp_async(shared_address to, const void *from, bool valid, int line = __builtin_LINE()) {
  host->copy_async(to, from, valid, line);
}

ATTUNE_DEVICE void cp_async_commit(int line = __builtin_LINE()) {
  host->copy_async_commit(line);
}

template <int pending> ATTUNE_DEVICE void cp_async_wait(int line = __builtin_LINE()) {
  host->copy_async_wait(pending, line);
}

ATTUNE_DEVICE void barrier(int line = __builtin_LINE()) {
  host->barrier(line);
}

ATTUNE_DEVICE void warp_barrier(int line = __builtin_LINE()) {
  host->collective(ATTUNE_SIMULATOR_WARP_BARRIER, nullptr, nullptr, line);
}

ATTUNE_DEVICE void ldmatrix_x4(unsigned (&fragment)[4], shared_address row, int line = __builtin_LINE()) {
  host->collective(ATTUNE_SIMULATOR_LOAD_MATRIX, &row, fragment, line);
}

ATTUNE_DEVICE void ldmatrix_x4_trans(unsigned (&fragment)[4], shared_address row, int line = __builtin_LINE()) {
  host->collective(ATTUNE_SIMULATOR_LOAD_MATRIX_TRANSPOSED, &row, fragment, line);
}

ATTUNE_DEVICE void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                int line = __builtin_LINE()) {
  unsigned in[10] = {a[0], a[1], a[2], a[3], b0, b1}, out[4];
  __builtin_memcpy(in + 6, c, sizeof c);
#if DTYPE_BF16
  host->collective(ATTUNE_SIMULATOR_MULTIPLY_BF16, in, out, line);
#else
  host->collective(ATTUNE_SIMULATOR_MULTIPLY_FP16, in, out, line);
#endif
  __builtin_memcpy(c, out, sizeof c);
}

ATTUNE_DEVICE float shuffle_xor(float value, int mask, int line = __builtin_LINE()) {
  unsigned in[2] = {bits_of_float(value), (unsigned)mask}, out;
  host->collective(ATTUNE_SIMULATOR_SHUFFLE_XOR, in, &out, line);
  return float_of_bits(out);
}

ATTUNE_DEVICE float shuffle(float value, int lane, int line = __builtin_LINE()) {
  unsigned in[2] = {bits_of_float(value), (unsigned)lane}, out;
  host->collective(ATTUNE_SIMULATOR_SHUFFLE, in, &out, line);
  return float_of_bits(out);
}
ATTUNE_DEVICE int shuffle(int value, int lane, int line = __builtin_LINE()) {
  unsigned in[2] = {(unsigned)value, (unsigned)lane}, out;
  host->collective(ATTUNE_SIMULATOR_SHUFFLE, in, &out, line);
  return (int)out;
}

ATTUNE_DEVICE bool warp_any(bool condition, int line = __builtin_LINE()) {
  unsigned in = condition, out;
  host->collective(ATTUNE_SIMULATOR_ANY_LANE, &in, &out, line);
  return out != 0;
}

ATTUNE_DEVICE float exp2_approximate(float x) {
  return __builtin_exp2f(x);
}

ATTUNE_DEVICE float log2_approximate(float x) {
  return __builtin_log2f(x);
}

ATTUNE_DEVICE float reciprocal(float x) {
  return 1.0f / x;
}

ATTUNE_DEVICE float multiply_add(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}

ATTUNE_DEVICE float rounded_sum(float a, float b) {
  return a + b;
}

ATTUNE_DEVICE float rounded_difference(float a, float b) {
  return a - b;
}

ATTUNE_DEVICE float rounded_product(float a, float b) {
  return a * b;
}

ATTUNE_DEVICE float rounded_quotient(float a, float b) {
  return a / b;
}

ATTUNE_DEVICE unsigned warp_ballot(bool condition, int line = __builtin_LINE()) {
  unsigned in = condition, out;
  host->collective(ATTUNE_SIMULATOR_LANES_WHERE, &in, &out, line);
  return out;
}

ATTUNE_DEVICE unsigned match_any(int x, int line = __builtin_LINE()) {
  unsigned in = (unsigned)x, out;
  host->collective(ATTUNE_SIMULATOR_MATCH_ANY, &in, &out, line);
  return out;
}

ATTUNE_DEVICE int highest_bit(unsigned x) {
  return x == 0 ? -1 : 31 - __builtin_clz(x);
}

ATTUNE_DEVICE int popcount(unsigned x) {
  return __builtin_popcount(x);
}

ATTUNE_DEVICE float square_root(float x) {
  return __builtin_sqrtf(x);
}

ATTUNE_DEVICE float absolute(float x) {
  return __builtin_fabsf(x);
}

ATTUNE_DEVICE float floor_of(float x) {
  return __builtin_floorf(x);
}

ATTUNE_DEVICE int load_constant_int(const int *from, int line = __builtin_LINE()) {
  int value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE float input_float(float x) { // a NaN that is not taken for the poison of a product under way
  return x == x ? x : float_of_bits(bits_of_float(x) | 0x7fffffffu);
}

ATTUNE_DEVICE float load_constant_float(const float *from, int line = __builtin_LINE()) {
  float value;
  host->load_global(&value, from, sizeof value, line);
  return input_float(value);
}

ATTUNE_DEVICE vec128 load_constant_128(const void *from, int line = __builtin_LINE()) {
  vec128 value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE unsigned load_constant_16(const void *from, int line = __builtin_LINE()) {
  unsigned short value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE unsigned load_constant_8(const void *from, int line = __builtin_LINE()) {
  unsigned char value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE int load_shared_int(shared_address from, int line = __builtin_LINE()) {
  int value;
  host->load_shared(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE float infinity() {
  return __builtin_inff();
}

ATTUNE_DEVICE int minimum(int a, int b) {
  return a < b ? a : b;
}

ATTUNE_DEVICE int float_bits(float x) {
  return (int)bits_of_float(x);
}

ATTUNE_DEVICE float max_nan(float low, float x) {
  return x < low ? low : x;
}

ATTUNE_DEVICE int maximum(int a, int b) {
  return a > b ? a : b;
}
ATTUNE_DEVICE float maximum(float a, float b) {
  return a > b || b != b ? a : b; // a NaN operand yields the other
}

ATTUNE_DEVICE unsigned nan_element(unsigned magnitude) { // the poison of a product under way stays recognisable
  return magnitude == ATTUNE_SIMULATOR_POISON || magnitude == ATTUNE_SIMULATOR_POISON_HALF
             ? ATTUNE_SIMULATOR_POISON_ELEMENT
             : 0x7fffu;
}
ATTUNE_DEVICE unsigned pack_element(float x) {
  const unsigned bits = bits_of_float(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
#if DTYPE_BF16
  if (magnitude > 0x7f800000u) return sign | nan_element(magnitude);
  return sign | ((magnitude + 0x7fffu + (magnitude >> 16 & 1u)) >> 16);
#else
  if (magnitude > 0x7f800000u) return sign | nan_element(magnitude);
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) // subnormal: adding 0.5 leaves the rounded element in the low bits
    return sign | (bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u);
  return sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13);
#endif
}
ATTUNE_DEVICE unsigned pack(float low, float high) {
  return pack_element(low) | pack_element(high) << 16;
}

ATTUNE_DEVICE float unpack_low(unsigned word) {
#if DTYPE_BF16
  return input_float(float_of_bits(word << 16));
#else
  const unsigned magnitude = word & 0x7fffu;
  // The exponents differ by 112: a product moves them, subnormals included, and leaves only infinities and NaNs short.
  const float x = float_of_bits(magnitude << 13) * 0x1p112f;
  return input_float(
      float_of_bits(bits_of_float(x) | (magnitude >= 0x7c00u ? 0x7f800000u : 0u) | (word & 0x8000u) << 16));
#endif
}

ATTUNE_DEVICE float unpack_high(unsigned word) {
#if DTYPE_BF16
  return input_float(float_of_bits(word & 0xffff0000u));
#else
  const unsigned magnitude = word >> 16 & 0x7fffu;
  const float x = float_of_bits(magnitude << 13) * 0x1p112f; // as in unpack_low
  return input_float(
      float_of_bits(bits_of_float(x) | (magnitude >= 0x7c00u ? 0x7f800000u : 0u) | (word & 0x80000000u)));
#endif
}

ATTUNE_DEVICE vec128 load_shared_128(shared_address from, int line = __builtin_LINE()) {
  vec128 value;
  host->load_shared(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE vec64 load_shared_64(shared_address from, int line = __builtin_LINE()) {
  vec64 value;
  host->load_shared(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE void store_shared_64(shared_address to, vec64 value, int line = __builtin_LINE()) {
  host->store_shared(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void store_shared_32(shared_address to, unsigned value, int line = __builtin_LINE()) {
  host->store_shared(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void stmatrix_x4(shared_address row, const unsigned (&fragment)[4], int line = __builtin_LINE()) {
  for (int m = 0; m < 4; m++) {
    const shared_address to = (shared_address)shuffle((int)row, 8 * m + thread_index() % 32 / 4, line);
    store_shared_32(to + thread_index() % 4 * 4, fragment[m], line);
  }
}

ATTUNE_DEVICE float load_shared_float(shared_address from, int line = __builtin_LINE()) {
  float value;
  host->load_shared(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE void store_shared_float(shared_address to, float value, int line = __builtin_LINE()) {
  host->store_shared(to, &value, sizeof value, line);
}

ATTUNE_DEVICE vec128 load_global_128(const void *from, int line = __builtin_LINE()) {
  vec128 value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE int load_global_int(const int *from, int line = __builtin_LINE()) {
  int value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE float load_global_float(const float *from, int line = __builtin_LINE()) {
  float value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE unsigned load_global_16(const void *from, int line = __builtin_LINE()) {
  unsigned short value;
  host->load_global(&value, from, sizeof value, line);
  return value;
}

ATTUNE_DEVICE void store_global_16(void *to, unsigned word, int line = __builtin_LINE()) {
  const unsigned short value = (unsigned short)word;
  host->store_global(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void prefetch_l2(const void *) {}

ATTUNE_DEVICE int load_length(const int *from, int bound, int line = __builtin_LINE()) {
  const int length = load_global_int(from, line);
  if (length < 0 || length > bound) host->length_beyond(length, bound, line);
  return length;
}

ATTUNE_DEVICE void store_global_128(void *to, vec128 value, int line = __builtin_LINE()) {
  host->store_global(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void store_global_float(float *to, float value, int line = __builtin_LINE()) {
  host->store_global(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void store_global_int(int *to, int value, int line = __builtin_LINE()) {
  host->store_global(to, &value, sizeof value, line);
}

ATTUNE_DEVICE void reduce_add_128(float *to, float a, float b, float c, float d, int line = __builtin_LINE()) {
  const float values[4] = {a, b, c, d};
  host->add_global(to, values, 4, line);
}

ATTUNE_DEVICE void reduce_add_float(float *to, float x, int line = __builtin_LINE()) {
  host->add_global(to, &x, 1, line);
}

ATTUNE_DEVICE unsigned atomic_increment(unsigned *counter, int line = __builtin_LINE()) {
  return host->count_up(counter, line);
}

ATTUNE_DEVICE int warp_uniform(int x, int line = __builtin_LINE()) {
  unsigned in = (unsigned)x, out;
  host->collective(ATTUNE_SIMULATOR_WARP_UNIFORM, &in, &out, line);
  return (int)out;
}

ATTUNE_DEVICE void mbarrier_init(shared_address barrier, int arrivals, int line = __builtin_LINE()) {
  host->mbarrier_init(barrier, arrivals, line);
}

ATTUNE_DEVICE void mbarrier_init_fence(int line = __builtin_LINE()) {
  host->mbarrier_init_fence(line);
}

ATTUNE_DEVICE void mbarrier_arrive(shared_address barrier, int line = __builtin_LINE()) {
  host->mbarrier_arrive(barrier, 0, line);
}

ATTUNE_DEVICE void mbarrier_arrive_expect_tx(shared_address barrier, int bytes, int line = __builtin_LINE()) {
  host->mbarrier_arrive(barrier, bytes, line);
}

ATTUNE_DEVICE void mbarrier_wait(shared_address barrier, int parity, int line = __builtin_LINE()) {
  host->mbarrier_wait(barrier, parity, line);
}

ATTUNE_DEVICE void mbarrier_arrive_cluster(shared_address barrier, int block, int line = __builtin_LINE()) {
  host->mbarrier_arrive_at(barrier, block, line);
}

ATTUNE_DEVICE void tma_load(shared_address to, const attune_tensor_map &map, int column, int row, int head, int batch,
                            shared_address barrier, unsigned long long, int line = __builtin_LINE()) {
  const int at[4] = {column, row, head, batch};
  host->load_tile(to, &map, at, barrier, line);
}

ATTUNE_DEVICE void tma_load_multicast(shared_address to, const attune_tensor_map &map, int column, int row, int head,
                                      int batch, shared_address barrier, unsigned short blocks, unsigned long long,
                                      int line = __builtin_LINE()) {
  const int at[4] = {column, row, head, batch};
  host->load_tile_multicast(to, &map, at, barrier, blocks, line);
}

ATTUNE_DEVICE void tma_store(const attune_tensor_map &map, int column, int row, int head, int batch,
                             shared_address from, unsigned long long, int line = __builtin_LINE()) {
  const int at[4] = {column, row, head, batch};
  host->store_tile(&map, at, from, line);
}

ATTUNE_DEVICE void tma_store_wait_read(int line = __builtin_LINE()) {
  host->finish_stores(line);
}

ATTUNE_DEVICE void fence_proxy_async(int line = __builtin_LINE()) {
  host->fence_async(line);
}

/* One grid runs after the other here. */
ATTUNE_DEVICE void launch_dependent_grid() {}
ATTUNE_DEVICE void wait_for_prior_grid() {}

ATTUNE_DEVICE void named_barrier_sync(int id, int threads, int line = __builtin_LINE()) {
  const unsigned in[3] = {(unsigned)id, (unsigned)threads, 0};
  host->collective(ATTUNE_SIMULATOR_NAMED_BARRIER, in, nullptr, line);
}

ATTUNE_DEVICE void named_barrier_arrive(int id, int threads, int line = __builtin_LINE()) {
  const unsigned in[3] = {(unsigned)id, (unsigned)threads, 1};
  host->collective(ATTUNE_SIMULATOR_NAMED_BARRIER, in, nullptr, line);
}

template <int registers> ATTUNE_DEVICE void setmaxnreg_dec(int line = __builtin_LINE()) {
  const unsigned in = registers;
  host->collective(ATTUNE_SIMULATOR_RELEASE_REGISTERS, &in, nullptr, line);
}

template <int registers> ATTUNE_DEVICE void setmaxnreg_inc(int line = __builtin_LINE()) {
  const unsigned in = registers;
  host->collective(ATTUNE_SIMULATOR_CLAIM_REGISTERS, &in, nullptr, line);
}

ATTUNE_DEVICE void wgmma_fence(int line = __builtin_LINE()) {
  host->collective(ATTUNE_SIMULATOR_PRODUCT_FENCE, nullptr, nullptr, line);
}

ATTUNE_DEVICE void wgmma_commit(int line = __builtin_LINE()) {
  host->collective(ATTUNE_SIMULATOR_PRODUCT_COMMIT, nullptr, nullptr, line);
}

template <int pending> ATTUNE_DEVICE void wgmma_wait(int line = __builtin_LINE()) {
  const unsigned in = pending;
  host->collective(ATTUNE_SIMULATOR_PRODUCT_WAIT, &in, nullptr, line);
}

template <int n> ATTUNE_DEVICE void fence_registers(float (&x)[n], int line = __builtin_LINE()) {
  host->hold_registers(x, n, line);
}
template <int n> ATTUNE_DEVICE void fence_registers(unsigned (&x)[n][4], int line = __builtin_LINE()) {
  host->hold_registers(x, n * 4, line);
}

ATTUNE_DEVICE unsigned long long descriptor_k_major(shared_address a) {
  return (unsigned long long)((a & 0x3ffffu) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

ATTUNE_DEVICE unsigned long long descriptor_n_major(shared_address a, int panel_bytes) {
  return (unsigned long long)((a & 0x3ffffu) >> 4) | (unsigned long long)(panel_bytes >> 4) << 16 | 64ull << 32 |
         1ull << 62;
}

template <int n>
ATTUNE_DEVICE void wgmma_ss(float (&c)[n], unsigned long long a, unsigned long long b, bool accumulate,
                            int line = __builtin_LINE()) {
#if DTYPE_BF16
  const attune_simulator_product product = {c, nullptr, a, b, 0, n, accumulate, 1};
#else
  const attune_simulator_product product = {c, nullptr, a, b, 0, n, accumulate, 0};
#endif
  host->warpgroup_multiply(&product, line);
}

template <int n>
ATTUNE_DEVICE void wgmma_ss_first(float (&c)[n], unsigned long long a, unsigned long long b,
                                  int line = __builtin_LINE()) {
  wgmma_ss(c, a, b, false, line);
}

template <int n>
ATTUNE_DEVICE void wgmma_ss_n_major(float (&c)[n], unsigned long long a, unsigned long long b, bool accumulate,
                                    int line = __builtin_LINE()) {
#if DTYPE_BF16
  const attune_simulator_product product = {c, nullptr, a, b, 1, n, accumulate, 1};
#else
  const attune_simulator_product product = {c, nullptr, a, b, 1, n, accumulate, 0};
#endif
  host->warpgroup_multiply(&product, line);
}

template <int n>
ATTUNE_DEVICE void wgmma_rs(float (&c)[n], const unsigned (&a)[4], unsigned long long b, bool accumulate,
                            int line = __builtin_LINE()) {
#if DTYPE_BF16
  const attune_simulator_product product = {c, a, 0, b, 1, n, accumulate, 1};
#else
  const attune_simulator_product product = {c, a, 0, b, 1, n, accumulate, 0};
#endif
  host->warpgroup_multiply(&product, line);
}

template <int n>
ATTUNE_DEVICE void wgmma_ss_m_major(float (&c)[n], unsigned long long a, unsigned long long b, bool accumulate,
                                    int line = __builtin_LINE()) {
#if DTYPE_BF16
  const attune_simulator_product product = {c, nullptr, a, b, 1, n, accumulate, 1, 1};
#else
  const attune_simulator_product product = {c, nullptr, a, b, 1, n, accumulate, 0, 1};
#endif
  host->warpgroup_multiply(&product, line);
}

template <int n>
ATTUNE_DEVICE void wgmma_ss_m_major_first(float (&c)[n], unsigned long long a, unsigned long long b,
                                          int line = __builtin_LINE()) {
  wgmma_ss_m_major(c, a, b, false, line);
}

ATTUNE_DEVICE void store_shared_128(shared_address to, vec128 value, int line = __builtin_LINE()) {
  host->store_shared(to, &value, sizeof value, line);
}
