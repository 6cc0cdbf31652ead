/* Texts of stores of earlier versions. */
#ifndef STORE_RENAMED_H
#define STORE_RENAMED_H

/* Texts that versions 1 and 2 wrote, and what they are now: every word that became another. */
typedef struct {
  const char *problem, *config, *problem_now, *config_now;
} renamed_row;
static const renamed_row renamed_rows[] = {
    {"forward.bf16.d64.b1.h8.kv8.q64.k64.list64.in2.pattern.x7",
     "forward.mma.bf16.d64.list64.pattern.x7.m64.n64.w4.s1.qr.lazy.longest.b2",
     "forward.bf16.d64.b1.h8.kv8.q64.k64.block_mask64.in2.mask_expr.x7",
     "forward.mma.bf16.d64.block_mask64.mask_expr.x7.m64.n64.w4.s1.q_in_regs.lazy.lpt.b2"},
    {"forward.bf16.d64.b1.h8.kv8.q64.k64.causal",
     "forward.wgmma.bf16.d64.causal.m128.n64.w12.s2.lazy.qq.overlap.turns.halves.ob.persistent.reversed.b1",
     "forward.bf16.d64.b1.h8.kv8.q64.k64.causal",
     "forward.wgmma.bf16.d64.causal.m128.n64.w12.s2.lazy.q_prefetch.intra_wg_overlap.pingpong_mma.half_tiles.o_staging_"
     "own.persistent_static.reversed.b1"},
    {"forward.fp16.d64.b1.h8.kv2.q64.k64.causal.w31,0.lse",
     "forward.wgmma.fp16.d64.window.lse.m128.n64.w12.s2.overlap.tokens.before.ps.ov.poly4.dynamic.sections.pack2."
     "split2.b1",
     "forward.fp16.d64.b1.h8.kv2.q64.k64.causal.w31,0.lse",
     "forward.wgmma.fp16.d64.window.lse.m128.n64.w12.s2.intra_wg_overlap.pingpong_softmax.rescale_before_pv.p_in_smem."
     "o_staging_v.exp2_emulation4.persistent_dynamic.l2_sections.pack_gqa2.split2.b1"},
    {"forward.bf16.d64.b1.h8.kv8.q64.k64.expression.x9", "forward.reference.bf16.d64.expression.x9.m4.n32.w4.s1.b1",
     "forward.bf16.d64.b1.h8.kv8.q64.k64.expression.x9", "forward.reference.bf16.d64.expression.x9.m4.n32.w4.s1.b1"},
};
enum { RENAMED_ROWS = sizeof renamed_rows / sizeof *renamed_rows };

#endif
