/* The text of the warpgroup products. One instruction names every accumulator of a thread, so that each width has a
 * text of its own (PTX ISA, wgmma.mma_async). */
#include "generator/families/wgmma_products.h"

#include "generator/generator.h"

enum { A_LINE = 12 };

/* %from, ..., inside a string literal. */
static void print_list(attune_buffer *out, int from, int count) {
  for (int i = 0; i < count; i++)
    attune_buffer_print(out, "%s%%%d", i == 0 ? "" : i % A_LINE ? ", " : ", \"\n               \"", from + i);
}

static void print_accumulators(attune_buffer *out, int count, bool first) {
  for (int i = 0; i < count; i++)
    attune_buffer_print(out, "%s\"%cf\"(c[%d])",
                        i == 0             ? ""
                        : i % (A_LINE / 2) ? ", "
                                           : ",\n                 ",
                        first ? '=' : '+', i);
}

/* first: the accumulators need not hold anything before. */
static void print_product(attune_buffer *out, int width, int dtype, attune_wgmma_kind product, bool first) {
  static const char *const names[] = {"wgmma_ss", "wgmma_ss_n_major", "wgmma_rs", "wgmma_ss_m_major"};
  const bool a_registers = product == ATTUNE_WGMMA_REGISTERS;
  const int accumulators = width / 2, inputs = a_registers ? 5 : 2;
  const char *type = dtype == ATTUNE_BF16 ? "bf16" : "f16";
  const char *operand = a_registers ? "const unsigned (&a)[4]" : "unsigned long long a";
  attune_buffer_print(out,
                      "\n"
                      "ATTUNE_DEVICE void %s%s(float (&c)[%d], %s, unsigned long long b%s) {\n"
                      "  asm volatile(\"{.reg .pred p; setp.ne.b32 p, ",
                      names[product], first ? "_first" : "", accumulators, operand, first ? "" : ", bool accumulate");
  if (first)
    attune_buffer_add_text(out, "0");
  else
    attune_buffer_print(out, "%%%d", accumulators + inputs);
  attune_buffer_print(out,
                      ", 0; \"\n"
                      "               \"wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s {",
                      width, type, type);
  print_list(out, 0, accumulators);
  attune_buffer_add_text(out, a_registers ? "}, {" : "}, ");
  print_list(out, accumulators, inputs - 1);
  /* then: B's descriptor, whether C is added to, signs of A and B, and which of those in shared memory is transposed */
  attune_buffer_print(out, "%s, %%%d, p, 1, 1, %s;}\"\n               : ", a_registers ? "}" : "",
                      accumulators + inputs - 1,
                      a_registers                       ? "1"
                      : product == ATTUNE_WGMMA_N_MAJOR ? "0, 1"
                      : product == ATTUNE_WGMMA_M_MAJOR ? "1, 1"
                                                        : "0, 0");
  print_accumulators(out, accumulators, first);
  attune_buffer_print(out, "\n               : %s, \"l\"(b)%s\n               : \"memory\");\n}\n",
                      a_registers ? "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])" : "\"l\"(a)",
                      first ? "" : ", \"r\"((int)accumulate)");
}

void attune_print_wgmma(attune_buffer *out, int width, int dtype, attune_wgmma_kind product) {
  print_product(out, width, dtype, product, false);
}

void attune_print_wgmma_first(attune_buffer *out, int width, int dtype, attune_wgmma_kind product) {
  print_product(out, width, dtype, product, true);
}
