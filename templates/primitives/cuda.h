/* The primitives in PTX. Their meaning stands in templates/primitives/README.md; the instruction is named where it is
 * not obvious.
 */
#pragma once
#include "../parts/arguments.h"
#include "../parts/parameters.h"

#define ATTUNE_DEVICE __device__ __forceinline__
#define ATTUNE_MEMBER __device__ __forceinline__ // of a struct
#define ATTUNE_KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)

typedef unsigned shared_address;

struct alignas(8) vec64 {
  unsigned x[2];
};
struct alignas(16) vec128 {
  unsigned x[4];
};

ATTUNE_DEVICE int block_index() {
  return (int)blockIdx.x;
}

ATTUNE_DEVICE int thread_index() {
  return (int)threadIdx.x;
}

ATTUNE_DEVICE shared_address shared_memory() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
  unsigned long long address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(dynamic_shared_memory));
  return (shared_address)address;
}

ATTUNE_DEVICE void cp_async(shared_address to, const void *from, bool valid) {
  int bytes = valid ? 16 : 0; // the rest of the 16 is filled with zeros
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

ATTUNE_DEVICE void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int pending> ATTUNE_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

ATTUNE_DEVICE void barrier() {
  asm volatile("bar.sync 0;" ::: "memory");
}

ATTUNE_DEVICE void warp_barrier() {
  asm volatile("bar.warp.sync 0xffffffff;" ::: "memory");
}

ATTUNE_DEVICE void ldmatrix_x4(unsigned (&fragment)[4], shared_address row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(row)
               : "memory");
}

ATTUNE_DEVICE void ldmatrix_x4_trans(unsigned (&fragment)[4], shared_address row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(row)
               : "memory");
}

// From sm_90 on.
ATTUNE_DEVICE void stmatrix_x4(shared_address row, const unsigned (&fragment)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(fragment[0]),
               "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
               : "memory");
}

ATTUNE_DEVICE void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if DTYPE_BF16
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

ATTUNE_DEVICE float shuffle_xor(float value, int mask) {
  float result;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(result) : "f"(value), "r"(mask));
  return result;
}

ATTUNE_DEVICE float shuffle(float value, int lane) {
  float result;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(result) : "f"(value), "r"(lane));
  return result;
}
ATTUNE_DEVICE int shuffle(int value, int lane) {
  int result;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(result) : "r"(value), "r"(lane));
  return result;
}

ATTUNE_DEVICE bool warp_any(bool condition) {
  int result;
  asm volatile("{.reg .pred p, q; setp.ne.s32 p, %1, 0; vote.sync.any.pred q, p, 0xffffffff; selp.s32 %0, 1, 0, q;}"
               : "=r"(result)
               : "r"((int)condition));
  return result != 0;
}

ATTUNE_DEVICE float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

ATTUNE_DEVICE float log2_approximate(float x) {
  float result;
  asm("lg2.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

ATTUNE_DEVICE float reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

ATTUNE_DEVICE float float_of_bits(unsigned bits) {
  return __uint_as_float(bits);
}

ATTUNE_DEVICE float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}

ATTUNE_DEVICE float rounded_sum(float a, float b) {
  return __fadd_rn(a, b);
}

ATTUNE_DEVICE float rounded_difference(float a, float b) {
  return __fsub_rn(a, b);
}

ATTUNE_DEVICE float rounded_product(float a, float b) {
  return __fmul_rn(a, b);
}

ATTUNE_DEVICE float rounded_quotient(float a, float b) {
  return __fdiv_rn(a, b);
}

ATTUNE_DEVICE unsigned warp_ballot(bool condition) {
  return __ballot_sync(0xffffffffu, condition);
}

ATTUNE_DEVICE unsigned match_any(int x) {
  return __match_any_sync(0xffffffffu, x);
}

ATTUNE_DEVICE int highest_bit(unsigned x) {
  return 31 - __clz((int)x);
}

ATTUNE_DEVICE int popcount(unsigned x) {
  return __popc(x);
}

ATTUNE_DEVICE float square_root(float x) {
  return __fsqrt_rn(x);
}

ATTUNE_DEVICE float absolute(float x) {
  return fabsf(x);
}

ATTUNE_DEVICE float floor_of(float x) {
  return floorf(x);
}

ATTUNE_DEVICE int load_constant_int(const int *from) {
  return __ldg(from);
}

ATTUNE_DEVICE float load_constant_float(const float *from) {
  return __ldg(from);
}

ATTUNE_DEVICE vec128 load_constant_128(const void *from) {
  const uint4 four = __ldg((const uint4 *)from);
  return {{four.x, four.y, four.z, four.w}};
}

ATTUNE_DEVICE unsigned load_constant_16(const void *from) {
  return __ldg((const unsigned short *)from);
}

ATTUNE_DEVICE unsigned load_constant_8(const void *from) {
  return __ldg((const unsigned char *)from);
}

ATTUNE_DEVICE int load_shared_int(shared_address from) {
  int value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
  return value;
}

ATTUNE_DEVICE float infinity() {
  return __int_as_float(0x7f800000);
}

ATTUNE_DEVICE int minimum(int a, int b) {
  return a < b ? a : b;
}

ATTUNE_DEVICE int float_bits(float x) {
  int bits;
  asm("mov.b32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

ATTUNE_DEVICE float max_nan(float low, float x) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(low), "f"(x));
  return result;
}

ATTUNE_DEVICE int maximum(int a, int b) {
  return a > b ? a : b;
}
ATTUNE_DEVICE float maximum(float a, float b) {
  float result; // one instruction, and a NaN operand yields the other
  asm("max.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

ATTUNE_DEVICE unsigned pack(float low, float high) {
  unsigned word;
#if DTYPE_BF16
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
  return word;
}

ATTUNE_DEVICE float unpack_low(unsigned word) {
#if DTYPE_BF16
  return __uint_as_float(word << 16);
#else
  float value;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low;}" : "=f"(value) : "r"(word));
  return value;
#endif
}

ATTUNE_DEVICE float unpack_high(unsigned word) {
#if DTYPE_BF16
  return __uint_as_float(word & 0xffff0000u);
#else
  float value;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, high;}" : "=f"(value) : "r"(word));
  return value;
#endif
}

ATTUNE_DEVICE vec128 load_shared_128(shared_address from) {
  vec128 value;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x[0]), "=r"(value.x[1]), "=r"(value.x[2]), "=r"(value.x[3])
               : "r"(from)
               : "memory");
  return value;
}

ATTUNE_DEVICE vec64 load_shared_64(shared_address from) {
  vec64 value;
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(value.x[0]), "=r"(value.x[1]) : "r"(from) : "memory");
  return value;
}

ATTUNE_DEVICE void store_shared_64(shared_address to, vec64 value) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(to), "r"(value.x[0]), "r"(value.x[1]) : "memory");
}

ATTUNE_DEVICE void store_shared_32(shared_address to, unsigned value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

ATTUNE_DEVICE float load_shared_float(shared_address from) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(from) : "memory");
  return value;
}

ATTUNE_DEVICE void store_shared_float(shared_address to, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(value) : "memory");
}

ATTUNE_DEVICE vec128 load_global_128(const void *from) {
  vec128 value;
  asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x[0]), "=r"(value.x[1]), "=r"(value.x[2]), "=r"(value.x[3])
               : "l"(from));
  return value;
}

ATTUNE_DEVICE int load_global_int(const int *from) {
  int value;
  asm volatile("ld.global.b32 %0, [%1];" : "=r"(value) : "l"(from));
  return value;
}

ATTUNE_DEVICE float load_global_float(const float *from) {
  float value;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(value) : "l"(from));
  return value;
}

ATTUNE_DEVICE unsigned load_global_16(const void *from) {
  unsigned short value;
  asm volatile("ld.global.b16 %0, [%1];" : "=h"(value) : "l"(from));
  return value;
}

ATTUNE_DEVICE void store_global_16(void *to, unsigned word) {
  asm volatile("st.global.b16 [%0], %1;" ::"l"(to), "h"((unsigned short)word) : "memory");
}

ATTUNE_DEVICE void prefetch_l2(const void *at) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
}

ATTUNE_DEVICE int load_length(const int *from, int bound) {
  const int length = load_global_int(from);
  return length < 0 ? 0 : length < bound ? length : bound;
}

ATTUNE_DEVICE void store_global_128(void *to, vec128 value) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(value.x[0]), "r"(value.x[1]), "r"(value.x[2]),
               "r"(value.x[3])
               : "memory");
}

ATTUNE_DEVICE void store_global_float(float *to, float value) {
  asm volatile("st.global.f32 [%0], %1;" ::"l"(to), "f"(value) : "memory");
}

ATTUNE_DEVICE void store_global_int(int *to, int value) {
  asm volatile("st.global.s32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

// A vector of four from sm_90 on (PTX ISA, red).
ATTUNE_DEVICE void reduce_add_128(float *to, float a, float b, float c, float d) {
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(a), "f"(b), "f"(c), "f"(d)
               : "memory");
}

ATTUNE_DEVICE void reduce_add_float(float *to, float x) {
  asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory");
}

ATTUNE_DEVICE unsigned atomic_increment(unsigned *counter) {
  unsigned before;
  asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
}

ATTUNE_DEVICE void store_shared_128(shared_address to, vec128 value) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x[0]), "r"(value.x[1]), "r"(value.x[2]),
               "r"(value.x[3])
               : "memory");
}

ATTUNE_DEVICE int grid_size() {
  return (int)gridDim.x;
}

ATTUNE_DEVICE int warp_uniform(int value) {
  int result;
  asm volatile("shfl.sync.idx.b32 %0, %1, 0, 0x1f, 0xffffffff;" : "=r"(result) : "r"(value));
  return result;
}

#define ATTUNE_MAPS(name) const __grid_constant__ attune_tensor_maps name

#define ATTUNE_CLUSTER(blocks) __cluster_dims__(blocks, 1, 1)

// A release here would fence all of memory; for mbarriers mbarrier_init_fence is one (PTX ISA membar/fence).
ATTUNE_DEVICE void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.relaxed;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}

ATTUNE_DEVICE void mbarrier_init(shared_address barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

ATTUNE_DEVICE void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
}

ATTUNE_DEVICE void mbarrier_arrive(shared_address barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

ATTUNE_DEVICE void mbarrier_arrive_expect_tx(shared_address barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

ATTUNE_DEVICE void mbarrier_wait(shared_address barrier, int parity) {
  asm volatile("{\n\t.reg .pred done;\n\tagain:\n\t"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
               "@!done bra again;\n\t}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}

// Without a scope, so of the block's, as CUTLASS has it: a release to the cluster becomes MEMBAR.ALL.GPU at every slot.
// What the neighbour's TMA may overwrite then was read by products, which wgmma_wait has ended.
ATTUNE_DEVICE void mbarrier_arrive_cluster(shared_address barrier, int block) {
  asm volatile("{\n\t.reg .b32 there;\n\t"
               "mapa.shared::cluster.u32 there, %0, %1;\n\t"
               "mbarrier.arrive.shared::cluster.b64 _, [there];\n\t}" ::"r"(barrier),
               "r"(block)
               : "memory");
}

ATTUNE_DEVICE void tma_load(shared_address to, const attune_tensor_map &map, int column, int row, int head, int batch,
                            shared_address barrier, unsigned long long policy) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
               "[%0], [%1, {%2, %3, %4, %5}], [%6], %7;" ::"r"(to),
               "l"(&map), "r"(column), "r"(row), "r"(head), "r"(batch), "r"(barrier), "l"(policy)
               : "memory");
}

ATTUNE_DEVICE void tma_load_multicast(shared_address to, const attune_tensor_map &map, int column, int row, int head,
                                      int batch, shared_address barrier, unsigned short blocks,
                                      unsigned long long policy) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
               ".L2::cache_hint [%0], [%1, {%2, %3, %4, %5}], [%6], %7, %8;" ::"r"(to),
               "l"(&map), "r"(column), "r"(row), "r"(head), "r"(batch), "r"(barrier), "h"(blocks), "l"(policy)
               : "memory");
}

ATTUNE_DEVICE void tma_store(const attune_tensor_map &map, int column, int row, int head, int batch,
                             shared_address from, unsigned long long policy) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group.L2::cache_hint "
               "[%0, {%1, %2, %3, %4}], [%5], %6;" ::"l"(&map),
               "r"(column), "r"(row), "r"(head), "r"(batch), "r"(from), "l"(policy)
               : "memory");
}

ATTUNE_DEVICE void tma_store_wait_read() {
  asm volatile("cp.async.bulk.commit_group;\n\tcp.async.bulk.wait_group.read 0;" ::: "memory");
}

ATTUNE_DEVICE void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Programmatic dependent launch: the grid that follows may start once all blocks have said so. It waits until this grid
 * is complete and its writes are visible. PTX ISA, griddepcontrol. */
ATTUNE_DEVICE void launch_dependent_grid() {
  if constexpr (__CUDA_ARCH__ >= 900) asm volatile("griddepcontrol.launch_dependents;");
}

ATTUNE_DEVICE void wait_for_prior_grid() {
  if constexpr (__CUDA_ARCH__ >= 900) asm volatile("griddepcontrol.wait;" ::: "memory");
}

ATTUNE_DEVICE void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

ATTUNE_DEVICE void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

template <int registers> ATTUNE_DEVICE void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

template <int registers> ATTUNE_DEVICE void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

ATTUNE_DEVICE void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

ATTUNE_DEVICE void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int pending> ATTUNE_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

template <int n> ATTUNE_DEVICE void fence_registers(float (&x)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++)
    asm volatile("" : "+f"(x[i])::"memory");
}
template <int n> ATTUNE_DEVICE void fence_registers(unsigned (&x)[n][4]) {
#pragma unroll
  for (int i = 0; i < n; i++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      asm volatile("" : "+r"(x[i][e])::"memory");
}

ATTUNE_DEVICE unsigned long long descriptor_k_major(shared_address a) {
  return (unsigned long long)((a & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

ATTUNE_DEVICE unsigned long long descriptor_n_major(shared_address a, int panel_bytes) {
  return (unsigned long long)((a & 0x3ffff) >> 4) | (unsigned long long)(panel_bytes >> 4) << 16 | 64ull << 32 |
         1ull << 62;
}
